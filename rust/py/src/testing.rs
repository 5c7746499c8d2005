//! The core's packet code on its own: for tests that compare it with other implementations. Nothing in `rtpcore` calls it.
//!
//! What a peer would have sent comes back parsed, or as the label of the [`Drop`] reason it would have been counted under.

use std::sync::{Mutex, PoisonError};

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rtpcore_core::rtcp::report::{ReceiverReport, ReportBlock, SenderInfo, SenderReport};
use rtpcore_core::rtcp::sdes::Item;
use rtpcore_core::rtcp::{self, Compound, Full, RtcpPacket, Writer, fir, tmmbr, xr};
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap, ExtensionWriter, Extensions, FixedHeader, Header, NtpTime};
use rtpcore_core::srtp::{ClearHeader, Inbound, Master, Outbound, Profile};
use rtpcore_core::store::MAX_PACKET;
use rtpcore_core::{Bitrate, Drop, Pt, Ssrc};

use crate::errors::Error;

/// Takes one peer's SRTP and SRTCP out of protection.
#[pyclass(frozen, module = "rtpcore._core")]
pub(crate) struct SrtpInbound(Mutex<Inbound>);

/// Puts RTP and RTCP for one peer into protection.
#[pyclass(frozen, module = "rtpcore._core")]
pub(crate) struct SrtpOutbound(Mutex<Outbound>);

#[pymethods]
impl SrtpInbound {
    /// Keys it with the sender's master. Raises ParametersError for another length than the profile's.
    #[new]
    #[pyo3(signature = (profile, key, salt, *, max_ssrcs=64))]
    fn new(profile: &str, key: &[u8], salt: &[u8], max_ssrcs: usize) -> Result<Self, Error> {
        let inbound = Inbound::new(profile_named(profile)?, Master { key, salt }, max_ssrcs).ok_or_else(bad_master)?;
        Ok(Self(Mutex::new(inbound)))
    }

    /// The RTP in an SRTP packet, or why it is dropped.
    fn unprotect_rtp<'py>(&self, py: Python<'py>, packet: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let mut out = [0; MAX_PACKET];
        let unprotected = Header::parse_clear(packet).and_then(|header| {
            let len = usize::from(header.payload_offset);
            let clear = ClearHeader { ssrc: header.ssrc, sequence_number: header.sequence_number, len };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).unprotect_rtp(packet, clear, &mut out)
        });
        bytes_or_reason(py, unprotected.map(|len| &out[..len]))
    }

    /// The RTCP in an SRTCP packet, or why it is dropped.
    fn unprotect_rtcp<'py>(&self, py: Python<'py>, packet: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        let mut packet = packet;
        bytes_or_reason(py, self.0.lock().unwrap_or_else(PoisonError::into_inner).unprotect_rtcp(&mut packet))
    }
}

#[pymethods]
impl SrtpOutbound {
    /// Keys it with our master. Raises ParametersError for another length than the profile's.
    #[new]
    fn new(profile: &str, key: &[u8], salt: &[u8]) -> Result<Self, Error> {
        let outbound = Outbound::new(profile_named(profile)?, Master { key, salt }).ok_or_else(bad_master)?;
        Ok(Self(Mutex::new(outbound)))
    }

    /// The SRTP packet for an RTP packet whose 48-bit index is known; None if it cannot be sent.
    fn protect_rtp<'py>(&self, py: Python<'py>, packet: &[u8], index: u64) -> Option<Bound<'py, PyBytes>> {
        let header = Header::parse_clear(packet).ok().filter(|header| header.sequence_number == low_bits(index))?;
        let (header, payload) = packet.split_at_checked(usize::from(header.payload_offset))?;
        // As on the forwarding path, where a payload's descriptor is rewritten and its rest is shared.
        let (head, body) = payload.split_at(payload.len().min(3));
        let mut out = vec![0; packet.len() + 64];
        out[..header.len()].copy_from_slice(header);
        let outbound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let len = outbound.protect_rtp(index, header.len(), head, body, &mut out)?;
        Some(PyBytes::new(py, &out[..len]))
    }

    /// The SRTCP packet for an RTCP packet; None if it cannot be sent.
    fn protect_rtcp<'py>(&self, py: Python<'py>, packet: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let mut out = vec![0; packet.len() + 64];
        let len = self.0.lock().unwrap_or_else(PoisonError::into_inner).protect_rtcp(packet, &mut out)?;
        Some(PyBytes::new(py, &out[..len]))
    }
}

/// The fields of an RTP packet that is not encrypted, or why it is dropped.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // PyO3 hands out owned lists
pub(crate) fn parse_rtp<'py>(
    py: Python<'py>,
    packet: &[u8],
    extensions: Vec<(String, u8)>,
) -> PyResult<Bound<'py, PyAny>> {
    let header = match Header::parse(packet) {
        Ok(header) => header,
        Err(reason) => return reason.label().into_bound_py_any(py),
    };
    let map = extension_map(&extensions);
    let found = Extensions::parse(&header, packet, &map);
    let elements = PyDict::new(py);
    for (kind, _) in map.iter() {
        if let Some(value) = found.find(kind, packet) {
            elements.set_item(kind.uri(), PyBytes::new(py, value))?;
        }
    }
    let csrcs: Vec<u32> = header.csrcs(packet).as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
    let fields = PyDict::new(py);
    fields.set_item("marker", header.marker)?;
    fields.set_item("payload_type", header.payload_type.0)?;
    fields.set_item("sequence_number", header.sequence_number)?;
    fields.set_item("timestamp", header.timestamp)?;
    fields.set_item("ssrc", header.ssrc.0)?;
    fields.set_item("csrcs", csrcs)?;
    fields.set_item("payload", PyBytes::new(py, header.payload(packet)))?;
    fields.set_item("padding_len", header.padding_len)?;
    fields.set_item("extensions", elements)?;
    fields.set_item("mid", found.mid(packet).map(|mid| mid.as_str().to_owned()))?;
    fields.set_item("rid", found.rid(packet).map(|rid| rid.as_str().to_owned()))?;
    fields.set_item("repaired_rid", found.repaired_rid(packet).map(|rid| rid.as_str().to_owned()))?;
    fields.set_item("audio_level", found.audio_level(packet).map(|level| (level.voice, level.level)))?;
    fields
        .set_item("abs_send_time", found.abs_send_time(packet).map(rtpcore_core::rtp::extension::AbsSendTime::units))?;
    fields.set_item("transport_cc", found.transport_cc(packet))?;
    Ok(fields.into_any())
}

/// An RTP packet as this core writes one: fixed header, extension elements by id, payload. None where it does not fit.
#[pyfunction]
#[pyo3(signature = (*, payload_type, sequence_number, timestamp, ssrc, marker, extensions, payload))]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // the fields of RFC 3550 §5.1, by keyword
pub(crate) fn write_rtp<'py>(
    py: Python<'py>,
    payload_type: u8,
    sequence_number: u16,
    timestamp: u32,
    ssrc: u32,
    marker: bool,
    extensions: Vec<(u8, Vec<u8>)>,
    payload: &[u8],
) -> Option<Bound<'py, PyBytes>> {
    let mut out = vec![0; FixedHeader::LEN + 4 * usize::from(u16::MAX)];
    let mut writer = ExtensionWriter::new(out.get_mut(FixedHeader::LEN..)?);
    for (id, value) in &extensions {
        writer.push(*id, value)?;
    }
    let extension_len = writer.finish();
    let header = FixedHeader {
        marker,
        payload_type: Pt(payload_type),
        sequence_number,
        timestamp,
        ssrc: Ssrc(ssrc),
        csrc_count: 0,
        has_extension: extension_len > 0,
        has_padding: false,
    };
    header.write(&mut out)?;
    out.truncate(FixedHeader::LEN + extension_len);
    out.extend_from_slice(payload);
    Some(PyBytes::new(py, &out))
}

/// The packets of an RTCP datagram that is not encrypted; where it breaks, the last one is a drop reason.
#[pyfunction]
pub(crate) fn parse_rtcp<'py>(py: Python<'py>, datagram: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let packets = PyList::empty(py);
    for packet in Compound::new(datagram) {
        match packet {
            Ok(packet) => packets.append(rtcp_fields(py, packet)?)?,
            Err(reason) => packets.append(reason.label())?,
        }
    }
    Ok(packets)
}

/// An RTCP datagram of what [`parse_rtcp`] returned, as this core writes it; raises ParametersError where it cannot.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // PyO3 hands out owned lists
pub(crate) fn write_rtcp<'py>(py: Python<'py>, packets: Vec<Bound<'py, PyDict>>) -> Result<Bound<'py, PyBytes>, Error> {
    let mut buffer = vec![0; 65_536];
    let mut writer = Writer::new(&mut buffer);
    for packet in &packets {
        put_rtcp(&mut writer, packet)?
            .map_err(|Full| Error::Parameters("an RTCP packet does not fit its datagram or its own fields".into()))?;
    }
    Ok(PyBytes::new(py, writer.as_bytes()))
}

fn rtcp_fields<'py>(py: Python<'py>, packet: RtcpPacket<'_>) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    let set_type = |name: &str| fields.set_item("type", name);
    match packet {
        RtcpPacket::SenderReport(SenderReport { ssrc, info, .. }) => {
            set_type("sr")?;
            fields.set_item("ssrc", ssrc.0)?;
            fields.set_item("ntp_time", info.ntp_time.0)?;
            fields.set_item("rtp_timestamp", info.rtp_timestamp)?;
            fields.set_item("packet_count", info.packet_count)?;
            fields.set_item("octet_count", info.octet_count)?;
            let RtcpPacket::SenderReport(report) = packet else { return Ok(fields) };
            fields.set_item("blocks", report.blocks().map(block_tuple).collect::<Vec<_>>())?;
        }
        RtcpPacket::ReceiverReport(report) => {
            set_type("rr")?;
            let ReceiverReport { ssrc, .. } = report;
            fields.set_item("ssrc", ssrc.0)?;
            fields.set_item("blocks", report.blocks().map(block_tuple).collect::<Vec<_>>())?;
        }
        RtcpPacket::Sdes(sdes) => {
            set_type("sdes")?;
            let chunks = PyList::empty(py);
            for chunk in sdes.chunks() {
                let items: Vec<_> = chunk.items().map(|item| (item.kind, PyBytes::new(py, item.value))).collect();
                chunks.append((chunk.ssrc.0, items))?;
            }
            fields.set_item("chunks", chunks)?;
        }
        RtcpPacket::Bye(bye) => {
            set_type("bye")?;
            fields.set_item("sources", bye.sources().map(|ssrc| ssrc.0).collect::<Vec<_>>())?;
            fields.set_item("reason", bye.reason.map(|reason| PyBytes::new(py, reason)))?;
        }
        RtcpPacket::App(app) => {
            set_type("app")?;
            fields.set_item("subtype", app.subtype)?;
            fields.set_item("ssrc", app.ssrc.0)?;
            fields.set_item("name", PyBytes::new(py, &app.name))?;
            fields.set_item("data", PyBytes::new(py, app.data))?;
        }
        RtcpPacket::Nack(nack) => {
            set_type("nack")?;
            set_parties(&fields, nack.sender_ssrc, nack.media_ssrc)?;
            fields.set_item("lost", nack.iter().collect::<Vec<_>>())?;
        }
        RtcpPacket::Tmmbr(tmmbr) => {
            set_type("tmmbr")?;
            fields.set_item("sender_ssrc", tmmbr.sender_ssrc.0)?;
            let limits = tmmbr.limits().map(|limit| (limit.ssrc.0, limit.bitrate.as_bps(), limit.overhead));
            fields.set_item("limits", limits.collect::<Vec<_>>())?;
        }
        RtcpPacket::TransportCc(feedback) => {
            set_type("transport_cc")?;
            set_parties(&fields, feedback.sender_ssrc, feedback.media_ssrc)?;
            fields.set_item("base", feedback.base)?;
            fields.set_item("count", feedback.count)?;
            fields.set_item("feedback_count", feedback.feedback_count)?;
            let start = feedback.reference_time();
            let arrivals = feedback.arrivals().map(|arrival| (arrival.sequence_number, arrival.at.micros_since(start)));
            fields.set_item("arrivals", arrivals.collect::<Vec<_>>())?;
        }
        RtcpPacket::Pli(pli) => {
            set_type("pli")?;
            set_parties(&fields, pli.sender_ssrc, pli.media_ssrc)?;
        }
        RtcpPacket::Fir(fir) => {
            set_type("fir")?;
            fields.set_item("sender_ssrc", fir.sender_ssrc.0)?;
            let requests = fir.requests().map(|request| (request.ssrc.0, request.sequence_number));
            fields.set_item("requests", requests.collect::<Vec<_>>())?;
        }
        RtcpPacket::Remb(remb) => {
            set_type("remb")?;
            fields.set_item("sender_ssrc", remb.sender_ssrc.0)?;
            fields.set_item("bitrate_bps", remb.bitrate.as_bps())?;
            fields.set_item("ssrcs", remb.ssrcs().map(|ssrc| ssrc.0).collect::<Vec<_>>())?;
        }
        RtcpPacket::Xr(report) => {
            set_type("xr")?;
            fields.set_item("ssrc", report.ssrc.0)?;
            let blocks = PyList::empty(py);
            for block in report.blocks() {
                match block {
                    xr::Block::ReceiverReferenceTime(time) => blocks.append(("rrtr", time.0))?,
                    xr::Block::Dlrr(dlrr) => {
                        blocks.append(("dlrr", dlrr.iter().map(dlrr_tuple).collect::<Vec<_>>()))?;
                    }
                    xr::Block::Other { block_type } => blocks.append(("other", block_type))?,
                }
            }
            fields.set_item("blocks", blocks)?;
        }
        RtcpPacket::Other { packet_type, format } => {
            set_type("other")?;
            fields.set_item("packet_type", packet_type)?;
            fields.set_item("format", format)?;
        }
    }
    Ok(fields)
}

fn put_rtcp(writer: &mut Writer<'_>, packet: &Bound<'_, PyDict>) -> PyResult<Result<(), Full>> {
    let kind: String = required(packet, "type")?;
    let ssrc = |name: &str| -> PyResult<Ssrc> { Ok(Ssrc(required(packet, name)?)) };
    Ok(match kind.as_str() {
        "sr" => {
            let info = SenderInfo {
                ntp_time: NtpTime(required(packet, "ntp_time")?),
                rtp_timestamp: required(packet, "rtp_timestamp")?,
                packet_count: required(packet, "packet_count")?,
                octet_count: required(packet, "octet_count")?,
            };
            rtcp::report::write_sender_report(writer, ssrc("ssrc")?, &info, &blocks_of(packet)?)
        }
        "rr" => rtcp::report::write_receiver_report(writer, ssrc("ssrc")?, &blocks_of(packet)?),
        "sdes" => {
            let chunks: Vec<SdesChunk> = required(packet, "chunks")?;
            let items: Vec<(Ssrc, Vec<Item<'_>>)> = chunks
                .iter()
                .map(|(ssrc, items)| {
                    (Ssrc(*ssrc), items.iter().map(|(kind, value)| Item { kind: *kind, value }).collect())
                })
                .collect();
            let chunks: Vec<(Ssrc, &[Item<'_>])> =
                items.iter().map(|(ssrc, items)| (*ssrc, items.as_slice())).collect();
            rtcp::sdes::write(writer, &chunks)
        }
        "bye" => {
            let reason: Option<Vec<u8>> = required(packet, "reason")?;
            rtcp::bye::write(writer, &ssrcs_of(packet, "sources")?, reason.as_deref())
        }
        "app" => {
            let (name, data): ([u8; 4], Vec<u8>) = (required(packet, "name")?, required(packet, "data")?);
            rtcp::App { subtype: required(packet, "subtype")?, ssrc: ssrc("ssrc")?, name, data: &data }.write(writer)
        }
        "nack" => {
            let lost: Vec<u16> = required(packet, "lost")?;
            let taken = rtcp::nack::write(writer, ssrc("sender_ssrc")?, ssrc("media_ssrc")?, lost.iter().copied());
            taken.and_then(|taken| if taken == lost.len() { Ok(()) } else { Err(Full) })
        }
        "tmmbr" => {
            let limits: Vec<(u32, u64, u16)> = required(packet, "limits")?;
            let limits: Vec<_> = limits
                .into_iter()
                .map(|(ssrc, bps, overhead)| tmmbr::Limit {
                    ssrc: Ssrc(ssrc),
                    bitrate: Bitrate::from_bps(bps),
                    overhead,
                })
                .collect();
            tmmbr::write(writer, ssrc("sender_ssrc")?, &limits)
        }
        "pli" => rtcp::pli::write(writer, ssrc("sender_ssrc")?, ssrc("media_ssrc")?),
        "fir" => {
            let requests: Vec<(u32, u8)> = required(packet, "requests")?;
            let requests: Vec<_> = requests
                .into_iter()
                .map(|(ssrc, sequence_number)| fir::Request { ssrc: Ssrc(ssrc), sequence_number })
                .collect();
            fir::write(writer, ssrc("sender_ssrc")?, &requests)
        }
        "remb" => {
            let bitrate = Bitrate::from_bps(required(packet, "bitrate_bps")?);
            rtcp::remb::write(writer, ssrc("sender_ssrc")?, bitrate, &ssrcs_of(packet, "ssrcs")?)
        }
        other => return Err(Error::Parameters(format!("no RTCP packet of type {other:?} is written here")).into()),
    })
}

/// SSRC, fraction lost, cumulative lost, highest sequence number, jitter, LSR, DLSR (RFC 3550 §6.4.1).
type BlockTuple = (u32, u8, i32, u32, u32, u32, u32);

/// SSRC, then kind and value of each item (RFC 3550 §6.5).
type SdesChunk = (u32, Vec<(u8, Vec<u8>)>);

fn block_tuple(block: ReportBlock) -> BlockTuple {
    (
        block.ssrc.0,
        block.fraction_lost,
        block.cumulative_lost,
        block.highest_sequence_number,
        block.jitter,
        block.last_sender_report,
        block.delay_since_last_sender_report,
    )
}

fn blocks_of(packet: &Bound<'_, PyDict>) -> PyResult<Vec<ReportBlock>> {
    let blocks: Vec<BlockTuple> = required(packet, "blocks")?;
    let block = |(ssrc, fraction_lost, cumulative_lost, highest, jitter, lsr, dlsr): BlockTuple| ReportBlock {
        ssrc: Ssrc(ssrc),
        fraction_lost,
        cumulative_lost,
        highest_sequence_number: highest,
        jitter,
        last_sender_report: lsr,
        delay_since_last_sender_report: dlsr,
    };
    Ok(blocks.into_iter().map(block).collect())
}

fn dlrr_tuple(answer: xr::Dlrr) -> (u32, u32, u32) {
    (answer.ssrc.0, answer.last_receiver_report, answer.delay_since_last_receiver_report)
}

fn ssrcs_of(packet: &Bound<'_, PyDict>, name: &str) -> PyResult<Vec<Ssrc>> {
    Ok(required::<Vec<u32>>(packet, name)?.into_iter().map(Ssrc).collect())
}

fn set_parties(fields: &Bound<'_, PyDict>, sender_ssrc: Ssrc, media_ssrc: Ssrc) -> PyResult<()> {
    fields.set_item("sender_ssrc", sender_ssrc.0)?;
    fields.set_item("media_ssrc", media_ssrc.0)
}

fn required<'py, T: FromPyObjectOwned<'py>>(packet: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
    packet.as_any().get_item(name)?.extract::<T>().map_err(Into::into)
}

fn extension_map(extensions: &[(String, u8)]) -> ExtensionMap {
    let mut map = ExtensionMap::NONE;
    for (uri, id) in extensions {
        if let Some(kind) = ExtensionKind::from_uri(uri) {
            map.set(kind, *id);
        }
    }
    map
}

pub(crate) fn profile_named(name: &str) -> Result<Profile, Error> {
    let unknown = || Error::Parameters(format!("{name:?} is no SRTP profile of this core (RFC 5764, RFC 7714)"));
    Profile::ALL.into_iter().find(|profile| profile.name() == name).ok_or_else(unknown)
}

pub(crate) fn bad_master() -> Error {
    Error::Parameters("the master key or the master salt has another length than the profile's".into())
}

#[allow(clippy::cast_possible_truncation)] // the low 16 bits are what travels
fn low_bits(index: u64) -> u16 {
    index as u16
}

fn bytes_or_reason<'py>(py: Python<'py>, result: Result<&[u8], Drop>) -> PyResult<Bound<'py, PyAny>> {
    match result {
        Ok(bytes) => Ok(PyBytes::new(py, bytes).into_any()),
        Err(reason) => reason.label().into_bound_py_any(py),
    }
}
