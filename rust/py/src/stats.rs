//! Snapshots of all workers as one dictionary of plain values.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use rtpcore_core::histogram::Histogram;
use rtpcore_core::send::Layer;
use rtpcore_core::stats::{
    BandwidthStats, EncodingStats, MemberStats, ReceiverStats, SenderStats, Snapshot, Traffic, TransportStats,
};
use rtpcore_core::{Bitrate, DropCounts};

use crate::forwarder::state_name;

pub(crate) fn merged<'py>(py: Python<'py>, snapshots: &[Arc<Snapshot>]) -> PyResult<Bound<'py, PyAny>> {
    let mut total = Snapshot::default();
    let transports = PyDict::new(py);
    let receivers = PyDict::new(py);
    let senders = PyDict::new(py);
    for snapshot in snapshots {
        total.received.add(snapshot.received);
        total.sent.add(snapshot.sent);
        total.forwarded += snapshot.forwarded;
        total.drops.add(&snapshot.drops);
        total.added_delay.add(&snapshot.added_delay);
        total.keyframe_wait.add(&snapshot.keyframe_wait);
        for transport in &snapshot.transports {
            transports.set_item(transport.transport.as_u64(), transport_dict(py, transport)?)?;
        }
        for receiver in &snapshot.receivers {
            receivers.set_item(receiver.receiver.as_u64(), receiver_dict(py, receiver)?)?;
        }
        for sender in &snapshot.senders {
            senders.set_item(sender.sender.as_u64(), sender_dict(py, sender)?)?;
        }
    }
    let dict = PyDict::new(py);
    set_traffic(&dict, "received", total.received)?;
    set_traffic(&dict, "sent", total.sent)?;
    dict.set_item("packets_forwarded", total.forwarded)?;
    dict.set_item("drops", drops_dict(py, &total.drops)?)?;
    dict.set_item("added_delay", histogram_pair(&total.added_delay))?;
    dict.set_item("keyframe_wait", histogram_pair(&total.keyframe_wait))?;
    dict.set_item("transports", transports)?;
    dict.set_item("receivers", receivers)?;
    dict.set_item("senders", senders)?;
    Ok(dict.into_any())
}

fn set_traffic(dict: &Bound<'_, PyDict>, direction: &str, traffic: Traffic) -> PyResult<()> {
    dict.set_item(format!("packets_{direction}"), traffic.packets)?;
    dict.set_item(format!("bytes_{direction}"), traffic.bytes)
}

/// Counts by bucket, and the sum in nanoseconds.
fn histogram_pair(histogram: &Histogram) -> (Vec<u64>, u64) {
    (histogram.counts().to_vec(), histogram.nanos())
}

fn drops_dict<'py>(py: Python<'py>, drops: &DropCounts) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (reason, count) in drops.iter() {
        dict.set_item(reason.label(), count)?;
    }
    Ok(dict)
}

fn transport_dict<'py>(py: Python<'py>, stats: &TransportStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("state", state_name(stats.state))?;
    set_traffic(&dict, "received", stats.received)?;
    set_traffic(&dict, "sent", stats.sent)?;
    dict.set_item("drops", drops_dict(py, &stats.drops)?)?;
    dict.set_item("srtp_profile", stats.srtp_profile)?;
    dict.set_item("bandwidth", stats.bandwidth.as_ref().map(|stats| bandwidth_dict(py, stats)).transpose()?)?;
    Ok(dict)
}

fn bandwidth_dict<'py>(py: Python<'py>, stats: &BandwidthStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("estimate_bps", stats.estimate.as_bps())?;
    dict.set_item("cause", stats.cause)?;
    dict.set_item("video_budget_bps", stats.video_budget.map(Bitrate::as_bps))?;
    dict.set_item("granted_bps", stats.granted.as_bps())?;
    dict.set_item("packets_queued", stats.queued)?;
    Ok(dict)
}

pub(crate) fn member_dict<'py>(py: Python<'py>, stats: &MemberStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("last_sequence", stats.last_sequence)?;
    dict.set_item("messages_received", stats.received.packets)?;
    dict.set_item("bytes_received", stats.received.bytes)?;
    dict.set_item("messages_sent", stats.sent.packets)?;
    dict.set_item("bytes_sent", stats.sent.bytes)?;
    Ok(dict)
}

fn receiver_dict<'py>(py: Python<'py>, stats: &ReceiverStats) -> PyResult<Bound<'py, PyDict>> {
    let encodings = PyList::empty(py);
    for encoding in &stats.encodings {
        encodings.append(encoding_dict(py, encoding)?)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("encodings", encodings)?;
    dict.set_item("followers", stats.followers)?;
    Ok(dict)
}

fn encoding_dict<'py>(py: Python<'py>, stats: &EncodingStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    set_traffic(&dict, "received", stats.received)?;
    dict.set_item("lost", stats.lost)?;
    dict.set_item("jitter_ms", stats.jitter_ms)?;
    dict.set_item("bitrate_bps", stats.bitrate.as_bps())?;
    dict.set_item("frames_per_second", stats.frames_per_second)?;
    dict.set_item("size", stats.size)?;
    dict.set_item("recovered", stats.recovered)?;
    dict.set_item("nacks", stats.nacks)?;
    dict.set_item("keyframe_requests", stats.keyframe_requests)?;
    Ok(dict)
}

fn sender_dict<'py>(py: Python<'py>, stats: &SenderStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    set_traffic(&dict, "sent", stats.sent)?;
    let pair = |layer: Option<Layer>| layer.map(|layer| (layer.spatial, layer.temporal));
    dict.set_item("nacks", stats.nacks)?;
    dict.set_item("fec_packets", stats.fec_packets)?;
    dict.set_item("playout_delay_ms", stats.playout_delay_ms)?;
    dict.set_item("retransmitted", stats.retransmitted)?;
    dict.set_item("wished", pair(stats.wished))?;
    dict.set_item("granted", pair(stats.granted))?;
    dict.set_item("limit", stats.limit.label())?;
    dict.set_item("keyframe_wait_ms", stats.keyframe_wait_ms)?;
    dict.set_item("dropped", stats.dropped)?;
    dict.set_item("layer", pair(stats.layer))?;
    dict.set_item("fraction_lost", f64::from(stats.fraction_lost) / 256.0)?;
    dict.set_item("round_trip_ms", stats.round_trip_ms)?;
    Ok(dict)
}
