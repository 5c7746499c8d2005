//! What the benchmarks share: a room with one publisher and many subscribers, sockets, and the accounts of CPU and memory.
//!
//! [`room`] is the load, the same for every benchmark: [`table`] gives it to a bare router, [`stage`] to a forwarder with
//! threads and sockets. [`floor`] is the least that such a load can cost. [`socket`] and [`account`] are the machine's side.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // counters into test data, nanoseconds into ratios

pub mod account;
pub mod floor;
pub mod room;
pub mod socket;
pub mod stage;
pub mod table;
