//! A load of LiveKit clients for any server that speaks LiveKit's protocol, on one thread.
//!
//! Their WebRTC is str0m's, so that a mistake of rtpcore's is not made on both ends. `rtpcore bench load` is the front: it
//! makes the plan, with a token for each client, gives it to standard input, and shows the lines that are printed
//! ([`report`]).
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // counters and nanoseconds into ratios

pub mod client;
pub mod count;
pub mod media;
pub mod messages;
pub mod peer;
pub mod plan;
pub mod report;
pub mod run;
pub mod sdp;
pub mod signal;
pub mod socket;

use std::io::Read;
use std::process::ExitCode;

use report::{Told, tell};

fn main() -> ExitCode {
    match run() {
        Ok(outcome) => {
            tell(&Told::Result(Box::new(outcome)));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            tell(&Told::Error { reason: &reason });
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<report::Outcome, String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| format!("no plan: {error}"))?;
    let plan = serde_json::from_str(&text).map_err(|error| format!("not a plan: {error}"))?;
    raise_descriptor_limit();
    let load = run::Load::new(plan).map_err(|error| error.to_string())?;
    load.run().map_err(|error| error.to_string())
}

/// A client has up to three sockets; the usual limit of 1,024 would do for 340.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives over both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
