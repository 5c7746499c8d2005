//! The few things in a description that str0m has no question for.

/// Payload types that carry no media of their own: retransmissions and forward error correction.
pub fn repair_payload_types(sdp: &str) -> u128 {
    let repairs = |name: &str| {
        let codec = name.split('/').next().unwrap_or("").to_ascii_lowercase();
        matches!(codec.as_str(), "rtx" | "ulpfec" | "flexfec-03")
    };
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '))
        .filter(|(_, name)| repairs(name.trim()))
        .filter_map(|(number, _)| number.parse::<u8>().ok().filter(|&number| number < 128))
        .fold(0, |types, number| types | 1 << number)
}

/// A description without feedback on congestion (transport-wide sequence numbers, REMB).
///
/// A peer that looks at one packet in a hundred cannot tell how much arrives: of its feedback a server would conclude that
/// nearly all is lost.
pub fn without_congestion_feedback(sdp: &str) -> String {
    let tells = |line: &str| {
        line.starts_with("a=rtcp-fb:") && (line.contains("transport-cc") || line.contains("goog-remb"))
            || line.starts_with("a=extmap:") && line.contains("transport-wide-cc")
    };
    sdp.split_inclusive('\n').filter(|line| !tells(line)).collect()
}

/// The candidate of an RTCIceCandidateInit, which is JSON; none where it says that there are no more.
pub fn candidate_of(init: &str) -> Option<String> {
    let init: serde_json::Value = serde_json::from_str(init).ok()?;
    let candidate = init.get("candidate")?.as_str()?;
    (!candidate.is_empty()).then(|| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n\
        a=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 goog-remb\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:98 flexfec-03/90000\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";

    #[test]
    fn repairs_are_known_by_name() {
        assert_eq!(repair_payload_types(OFFER), 1 << 97 | 1 << 98);
        assert_eq!(repair_payload_types("a=rtpmap:200 rtx/90000\r\na=rtpmap:x rtx/1\r\na=rtpmap:"), 0);
    }

    #[test]
    fn only_feedback_on_congestion_is_taken_out() {
        let cut = without_congestion_feedback(OFFER);
        assert!(!cut.contains("transport") && !cut.contains("remb"));
        assert!(cut.contains("nack pli") && cut.contains("sdes:mid") && cut.ends_with("\r\n"));
        assert_eq!(cut.lines().count(), OFFER.lines().count() - 3);
    }

    #[test]
    fn candidates_are_json() {
        let init = r#"{"candidate":"candidate:1 1 udp 1 127.0.0.1 7 typ host","sdpMid":"0","sdpMLineIndex":0}"#;
        assert_eq!(candidate_of(init).as_deref(), Some("candidate:1 1 udp 1 127.0.0.1 7 typ host"));
        assert_eq!(candidate_of(r#"{"candidate":""}"#), None);
        assert_eq!(candidate_of("not JSON"), None);
    }
}
