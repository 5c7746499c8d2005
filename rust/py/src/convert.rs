//! From the dataclasses of `rtpcore.parameters` to the parameters of the core. Nothing is guessed: what does not fit raises.

use std::time::Duration;

use is::{Candidate, IceCreds};
use pyo3::prelude::*;
use rtpcore_core::command::Remote;
use rtpcore_core::dtls::{DtlsRole, Fingerprint};
use rtpcore_core::parameters::{
    CodecParameters, EncodingParameters, FecParameters, Kind, ReceiverParameters, SenderParameters,
};
use rtpcore_core::payload::Codec;
use rtpcore_core::rtp::extension::PlayoutDelay;
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap};
use rtpcore_core::{Mid, Pt, Rid, Ssrc};

use crate::errors::Error;

/// The most encodings a track may have: what simulcast clients send.
const MAX_ENCODINGS: usize = 3;

pub(crate) fn receiver(track: &Bound<'_, PyAny>) -> Result<ReceiverParameters, Error> {
    let mut encodings = Vec::new();
    for encoding in track.getattr("encodings")?.try_iter()? {
        encodings.push(encoding_of(&encoding?)?);
    }
    if encodings.is_empty() {
        encodings.push(EncodingParameters::default());
    }
    if encodings.len() > MAX_ENCODINGS {
        return Err(Error::Parameters(format!(
            "a track has at most {MAX_ENCODINGS} encodings, this one has {}",
            encodings.len()
        )));
    }
    Ok(ReceiverParameters {
        kind: kind_of(track)?,
        mid: mid_of(track)?,
        codecs: codecs_of(track)?,
        encodings,
        extensions: extensions_of(track)?,
        fec: field::<Option<u8>>(track, "fec_payload_type")?.map(payload_type).transpose()?,
    })
}

pub(crate) fn sender(track: &Bound<'_, PyAny>) -> Result<SenderParameters, Error> {
    Ok(SenderParameters {
        kind: kind_of(track)?,
        mid: mid_of(track)?,
        codecs: codecs_of(track)?,
        ssrc: Ssrc(field(track, "ssrc")?),
        rtx_ssrc: field::<Option<u32>>(track, "rtx_ssrc")?.map(Ssrc),
        extensions: extensions_of(track)?,
        cname: field(track, "cname")?,
        fec: fec_of(track)?,
        playout_delay: playout_delay_of(track)?,
    })
}

pub(crate) fn remote(
    ufrag: String,
    pwd: String,
    fingerprints: &[(String, Vec<u8>)],
    is_lite: bool,
    is_client: bool,
    max_message: Option<u32>,
) -> Result<Remote, Error> {
    let fingerprints: Vec<_> =
        fingerprints.iter().filter_map(|(algorithm, digest)| Fingerprint::new(algorithm, digest)).collect();
    if fingerprints.is_empty() {
        return Err(Error::Parameters(
            "the peer announced no fingerprint that can be checked: sha-256, sha-384 or sha-512 is needed".into(),
        ));
    }
    let dtls_role = if is_client { DtlsRole::Client } else { DtlsRole::Server };
    Ok(Remote { credentials: IceCreds { ufrag, pass: pwd }, is_lite, fingerprints, dtls_role, max_message })
}

pub(crate) fn candidate(text: &str) -> Result<Candidate, Error> {
    Candidate::from_sdp_string(text)
        .map_err(|error| Error::Parameters(format!("not a candidate that can be used (RFC 8839 §5.1): {error}")))
}

/// One field of a dataclass; a value of another type or out of its range is the caller's mistake, by name.
fn field<'py, T: FromPyObjectOwned<'py>>(object: &Bound<'py, PyAny>, name: &str) -> Result<T, Error> {
    object.getattr(name)?.extract::<T>().map_err(|error| {
        let error: PyErr = error.into();
        Error::Parameters(format!("{name}: {error}"))
    })
}

fn kind_of(track: &Bound<'_, PyAny>) -> Result<Kind, Error> {
    match field::<String>(track, "kind")?.as_str() {
        "audio" => Ok(Kind::Audio),
        "video" => Ok(Kind::Video),
        other => Err(Error::Parameters(format!("kind is 'audio' or 'video', not {other:?}"))),
    }
}

fn mid_of(track: &Bound<'_, PyAny>) -> Result<Option<Mid>, Error> {
    let Some(mid) = field::<Option<String>>(track, "mid")? else { return Ok(None) };
    Mid::new(mid.as_bytes())
        .map(Some)
        .ok_or_else(|| Error::Parameters(format!("mid has 1 to 16 visible ASCII characters, not {mid:?}")))
}

fn fec_of(track: &Bound<'_, PyAny>) -> Result<Option<FecParameters>, Error> {
    let pair = (field::<Option<u8>>(track, "fec_payload_type")?, field::<Option<u32>>(track, "fec_ssrc")?);
    let (Some(number), Some(ssrc)) = pair else { return Ok(None) };
    Ok(Some(FecParameters { payload_type: payload_type(number)?, ssrc: Ssrc(ssrc) }))
}

fn playout_delay_of(track: &Bound<'_, PyAny>) -> Result<Option<PlayoutDelay>, Error> {
    let Some((min_ms, max_ms)) = field::<Option<(u64, u64)>>(track, "playout_delay_ms")? else { return Ok(None) };
    if min_ms > max_ms || max_ms > 40_950 {
        return Err(Error::Parameters(format!(
            "playout_delay_ms is a least and a most of 0 to 40950 ms, not {min_ms} and {max_ms}"
        )));
    }
    Ok(Some(PlayoutDelay { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms) }))
}

fn encoding_of(encoding: &Bound<'_, PyAny>) -> Result<EncodingParameters, Error> {
    let rid = match field::<Option<String>>(encoding, "rid")? {
        None => None,
        Some(rid) => Some(
            Rid::new(rid.as_bytes())
                .ok_or_else(|| Error::Parameters(format!("rid has 1 to 16 visible ASCII characters, not {rid:?}")))?,
        ),
    };
    Ok(EncodingParameters {
        rid,
        ssrc: field::<Option<u32>>(encoding, "ssrc")?.map(Ssrc),
        rtx_ssrc: field::<Option<u32>>(encoding, "rtx_ssrc")?.map(Ssrc),
        fec_ssrc: field::<Option<u32>>(encoding, "fec_ssrc")?.map(Ssrc),
    })
}

fn codecs_of(track: &Bound<'_, PyAny>) -> Result<Vec<CodecParameters>, Error> {
    let mut codecs = Vec::new();
    for codec in track.getattr("codecs")?.try_iter()? {
        let codec = codec?;
        let mime: String = field(&codec, "mime_type")?;
        let feedback: Vec<String> = field(&codec, "feedback")?;
        let has = |name: &str| feedback.iter().any(|other| other.eq_ignore_ascii_case(name));
        codecs.push(CodecParameters {
            codec: Codec::from_mime(&mime),
            payload_type: payload_type(field(&codec, "payload_type")?)?,
            clock_rate: field(&codec, "clock_rate")?,
            format: format_of(&mime, &codec)?,
            rtx: field::<Option<u8>>(&codec, "rtx")?.map(payload_type).transpose()?,
            nack: has("nack"),
            pli: has("nack pli"),
            fir: has("ccm fir"),
            transport_cc: has("transport-cc"),
            remb: has("goog-remb"),
        });
    }
    if codecs.is_empty() {
        return Err(Error::Parameters("a track needs at least one codec".into()));
    }
    Ok(codecs)
}

/// A digest of what makes two payload types one bitstream: clock, channels, and the parameters that a decoder must know.
fn format_of(mime: &str, codec: &Bound<'_, PyAny>) -> Result<u64, Error> {
    let mime = mime.to_ascii_lowercase();
    let fmtp: String = field(codec, "fmtp")?;
    let value = |name: &str, default: &str| {
        let found = fmtp.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name);
        found.map_or(default, |(_, value)| value.trim()).to_ascii_lowercase()
    };
    let profile = match mime.as_str() {
        // The level may differ between the ends, the profile and the constraints may not (RFC 6184 §8.2.2).
        "video/h264" => {
            let level_id = value("profile-level-id", "42000a");
            format!("{}/{}", level_id.get(..4).unwrap_or(""), value("packetization-mode", "0"))
        }
        "video/vp9" => value("profile-id", "0"),
        "video/av1" => value("profile", "0"),
        "video/h265" => value("profile-id", "1"),
        _ => String::new(),
    };
    let clock_rate: u32 = field(codec, "clock_rate")?;
    let channels: Option<u8> = field(codec, "channels")?;
    // FNV-1a: short strings, the same on every worker.
    let text = format!("{mime}/{clock_rate}/{}/{profile}", channels.unwrap_or(1));
    Ok(text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)))
}

fn payload_type(number: u8) -> Result<Pt, Error> {
    if number < 128 {
        Ok(Pt(number))
    } else {
        Err(Error::Parameters(format!("a payload type is 0 to 127, not {number}")))
    }
}

fn extensions_of(track: &Bound<'_, PyAny>) -> Result<ExtensionMap, Error> {
    let mut map = ExtensionMap::NONE;
    for extension in track.getattr("extensions")?.try_iter()? {
        let extension = extension?;
        let uri: String = field(&extension, "uri")?;
        let id: u8 = field(&extension, "id")?;
        if id == 0 {
            return Err(Error::Parameters("a header extension id is 1 to 255, not 0 (RFC 8285 §5)".into()));
        }
        if let Some(kind) = ExtensionKind::from_uri(&uri) {
            map.set(kind, id);
        }
    }
    Ok(map)
}
