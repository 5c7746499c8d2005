//! `rtpcore._core`: convert, raise, enqueue. Every decision is taken in the crates below or in Python above.
//!
//! The interpreter is never touched by a worker: commands go in over queues, events come out in batches that the event loop
//! fetches when a descriptor says so.

mod convert;
mod errors;
mod forwarder;
mod hub;
mod stats;
mod testing;
mod turn;

use pyo3::prelude::*;

/// The binary half of `rtpcore`; use the classes of `rtpcore` instead.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("MAX_MESSAGE", rtpcore_core::sctp::MAX_MESSAGE)?;
    module.add("MAX_MEMBERS", rtpcore_core::data::MAX_MEMBERS)?;
    module.add_class::<forwarder::Forwarder>()?;
    module.add_class::<hub::Hub>()?;
    module.add_class::<turn::TurnServer>()?;
    module.add_function(wrap_pyfunction!(turn::stun_request, module)?)?;
    module.add_function(wrap_pyfunction!(turn::stun_answer, module)?)?;
    module.add_class::<testing::SrtpInbound>()?;
    module.add_class::<testing::SrtpOutbound>()?;
    module.add_function(wrap_pyfunction!(testing::parse_rtp, module)?)?;
    module.add_function(wrap_pyfunction!(testing::write_rtp, module)?)?;
    module.add_function(wrap_pyfunction!(testing::parse_rtcp, module)?)?;
    module.add_function(wrap_pyfunction!(testing::write_rtcp, module)?)?;
    Ok(())
}
