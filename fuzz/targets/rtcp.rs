//! An RTCP datagram: every list in it ends, and has no more entries than its bytes can pay for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::rtcp::{self, Compound, RtcpPacket, Writer, report, xr};

fuzz_target!(|data: &[u8]| {
    let mut packets = 0;
    let mut has_failed = false;
    for packet in Compound::new(data) {
        assert!(!has_failed, "a bad packet is the last");
        packets += 1;
        match packet {
            Ok(packet) => walk(&packet, data.len()),
            Err(_) => has_failed = true,
        }
    }
    assert!(packets <= data.len() / 4 + 1);
});

fn walk(packet: &RtcpPacket<'_>, len: usize) {
    let mut buffer = vec![0; 2 * len + 64];
    let mut writer = Writer::new(&mut buffer);
    match packet {
        RtcpPacket::SenderReport(found) => {
            let blocks: Vec<_> = found.blocks().collect();
            assert!(blocks.len() <= report::MAX_BLOCKS);
            report::write_sender_report(&mut writer, found.ssrc, &found.info, &blocks).expect("there is room");
        }
        RtcpPacket::ReceiverReport(found) => {
            let blocks: Vec<_> = found.blocks().collect();
            assert!(blocks.len() <= report::MAX_BLOCKS);
            report::write_receiver_report(&mut writer, found.ssrc, &blocks).expect("there is room");
        }
        RtcpPacket::Sdes(sdes) => {
            assert!(sdes.chunks().count() <= 31);
            assert!(sdes.chunks().flat_map(|chunk| chunk.items()).count() <= len);
            for chunk in sdes.chunks() {
                assert!(chunk.cname().is_none_or(|cname| cname.len() <= 255));
            }
            return;
        }
        RtcpPacket::Bye(bye) => {
            let sources: Vec<_> = bye.sources().collect();
            rtcp::bye::write(&mut writer, &sources, bye.reason).expect("there is room");
        }
        RtcpPacket::App(app) => {
            app.write(&mut writer).expect("there is room");
            if app.data.len() % 4 != 0 {
                // Of whole words on writing; padding may have taken off a part of one.
                return;
            }
        }
        RtcpPacket::Nack(nack) => {
            assert!(nack.iter().count() <= 17 * (len / 4));
            return;
        }
        RtcpPacket::Tmmbr(tmmbr) => {
            assert!(8 * tmmbr.limits().len() <= len);
            return;
        }
        RtcpPacket::TransportCc(feedback) => {
            let arrivals: Vec<_> = feedback.arrivals().collect();
            assert!(arrivals.len() <= len && arrivals.len() <= usize::from(feedback.count));
            let distances = arrivals.iter().map(|arrival| arrival.sequence_number.wrapping_sub(feedback.base));
            assert!(distances.clone().all(|distance| distance < feedback.count));
            assert!(distances.is_sorted());
            return;
        }
        RtcpPacket::Pli(pli) => rtcp::pli::write(&mut writer, pli.sender_ssrc, pli.media_ssrc).expect("there is room"),
        RtcpPacket::Fir(fir) => {
            assert!(8 * fir.requests().len() <= len);
            return;
        }
        RtcpPacket::Remb(remb) => {
            let ssrcs: Vec<_> = remb.ssrcs().collect();
            assert!(4 * ssrcs.len() <= len);
            return;
        }
        RtcpPacket::Xr(found) => {
            for block in found.blocks() {
                if let xr::Block::Dlrr(answers) = block {
                    assert!(12 * answers.iter().len() <= len);
                }
            }
            return;
        }
        RtcpPacket::Other { format, .. } => return assert!(*format < 32),
    }
    let again: Vec<_> = Compound::new(writer.as_bytes()).collect();
    assert_eq!(again.len(), 1);
    let again = again[0].expect("what is written can be read");
    assert_eq!(format!("{:?}", Fields(&again)), format!("{:?}", Fields(packet)));
}

/// What two packets have in common that lie in different places.
struct Fields<'p, 'a>(&'p RtcpPacket<'a>);

impl std::fmt::Debug for Fields<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            RtcpPacket::SenderReport(found) => {
                write!(f, "{:?} {:?} {:?}", found.ssrc, found.info, found.blocks().collect::<Vec<_>>())
            }
            RtcpPacket::ReceiverReport(found) => write!(f, "{:?} {:?}", found.ssrc, found.blocks().collect::<Vec<_>>()),
            RtcpPacket::Bye(bye) => write!(f, "{:?} {:?}", bye.sources().collect::<Vec<_>>(), bye.reason),
            other => write!(f, "{other:?}"),
        }
    }
}
