//! Our parsers beside those of `rtcp-types`: what both accept has to mean the same.

use proptest::prelude::*;
use rtcp_types as theirs;
use rtcp_types::prelude::{RtcpPacketParser, RtcpPacketParserExt, RtcpPacketWriterExt, XrBlockParserExt};

use super::*;
use crate::rtp::NtpTime;
use crate::time::Time;
use crate::units::{Bitrate, SeqNo};

/// The SDES item that extends the others.
const PRIVATE: u8 = 8;

/// Holds the two parsers against each other packet by packet, as far as both accept the datagram; returns how many packets
/// each accepted, and whether it accepted all of it.
fn compare(datagram: &[u8]) -> Result<[(usize, bool); 2], TestCaseError> {
    // One by one, since `theirs::Compound` checks the version of the first packet only and looks at no padding but the last.
    let (mut ours_ok, mut theirs_ok, mut at) = (0, 0, 0);
    let ours: Vec<_> = Compound::new(datagram).collect();
    for ours in &ours {
        let rest = &datagram[at..];
        let len =
            rest.get(2..4).map_or(rest.len(), |words| 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]])));
        let bytes = &rest[..len.min(rest.len())];
        at += bytes.len();
        let theirs = theirs::Packet::parse(bytes);
        let padding = if bytes.first().is_some_and(|first| first & PADDING != 0) { bytes[bytes.len() - 1] } else { 0 };
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                compare_packet(ours, &theirs, padding)?;
                ours_ok += 1;
                theirs_ok += 1;
            }
            (Ok(ours), Err(_)) => {
                // They end chunks where they find zeros, not where the words of the packet say, and want a block in every
                // extended report, where RFC 3611 §2 has zero or more.
                let is_known = match ours {
                    RtcpPacket::Sdes(_) => true,
                    RtcpPacket::Xr(xr) => xr.blocks().next().is_none(),
                    _ => false,
                };
                prop_assert!(is_known, "only we take {:02x?}", bytes);
                ours_ok += 1;
            }
            (Err(_), Ok(theirs)) => {
                prop_assert!(is_right_to_refuse(&theirs, bytes, padding), "only they take {:02x?}", bytes);
                theirs_ok += 1;
            }
            (Err(_), Err(_)) => {}
        }
    }
    Ok([(ours_ok, ours_ok == ours.len()), (theirs_ok, theirs_ok == ours.len())])
}

/// Whether a packet that only they accept is one that a check of ours, and none of theirs, is for.
fn is_right_to_refuse(theirs: &theirs::Packet<'_>, bytes: &[u8], padding: u8) -> bool {
    use theirs::Packet;
    let body = bytes.len() - 4;
    let words = body.saturating_sub(8 + usize::from(padding)) / 4;
    match theirs {
        _ if bytes[0] & PADDING != 0 && (padding == 0 || usize::from(padding) > body) => true,
        // Its padding reaches into the fields in front.
        _ if padding > 0 && body < usize::from(padding) + 8 => true,
        Packet::Unknown(_) => bytes[0] >> 6 != 2,
        // They take a chunk without the zero that ends it.
        Packet::Sdes(theirs) => {
            let ended = theirs
                .chunks()
                .map(|chunk| (5 + chunk.items().map(|item| 2 + item.length()).sum::<usize>()).next_multiple_of(4));
            padding > 0 || theirs.chunks().count() != usize::from(theirs.count()) || ended.sum::<usize>() != body
        }
        // They look at the entries only when asked.
        Packet::TransportFeedback(theirs) => match theirs.count() {
            transport_cc::FORMAT => {
                padding > 0
                    || theirs.parse_fci::<theirs::Twcc<'_>>().map_or(true, |theirs| {
                        theirs.packets().any(|packet| packet.is_err())
                            || theirs.packets().count() < usize::from(u16::from_be_bytes([bytes[14], bytes[15]]))
                    })
            }
            tmmbr::FORMAT => !words.is_multiple_of(2) || !padding.is_multiple_of(8),
            nack::FORMAT => !padding.is_multiple_of(4),
            _ => false,
        },
        Packet::PayloadFeedback(theirs) => match theirs.count() {
            fir::FORMAT => !words.is_multiple_of(2) || !padding.is_multiple_of(8),
            // Something they do not know.
            remb::FORMAT => bytes[12..].starts_with(b"REMB"),
            _ => false,
        },
        Packet::Xr(theirs) => {
            padding > 0 || {
                let known = theirs.block_iter().map(|block| block.length()).sum::<usize>();
                let dlrr = theirs
                    .block_iter()
                    .any(|block| block.block_type() == 5 && !(block.length() - 4).is_multiple_of(12));
                let clock = theirs.block_iter().any(|block| block.block_type() == 4 && block.length() < 12);
                known != body - 4 || dlrr || clock
            }
        }
        // They go by the length of the packet with its padding.
        Packet::Sr(_) | Packet::Rr(_) | Packet::Bye(_) | Packet::App(_) => padding > 0,
    }
}

fn compare_packet(ours: &RtcpPacket<'_>, theirs: &theirs::Packet<'_>, padding: u8) -> Result<(), TestCaseError> {
    use theirs::Packet;
    match (ours, theirs) {
        (RtcpPacket::SenderReport(ours), Packet::Sr(theirs)) => {
            let info = SenderInfo {
                ntp_time: NtpTime(theirs.ntp_timestamp()),
                rtp_timestamp: theirs.rtp_timestamp(),
                packet_count: theirs.packet_count(),
                octet_count: theirs.octet_count(),
            };
            prop_assert_eq!((ours.ssrc.0, ours.info), (theirs.ssrc(), info));
            compare_blocks(ours.blocks(), theirs.report_blocks())
        }
        (RtcpPacket::ReceiverReport(ours), Packet::Rr(theirs)) => {
            prop_assert_eq!(ours.ssrc.0, theirs.ssrc());
            compare_blocks(ours.blocks(), theirs.report_blocks())
        }
        (RtcpPacket::Sdes(ours), Packet::Sdes(theirs)) => {
            let ours: Vec<_> = ours
                .chunks()
                .map(|chunk| {
                    (chunk.ssrc.0, chunk.items().map(|item| (item.kind, item.value.to_vec())).collect::<Vec<_>>())
                })
                .collect();
            // Asked for the value of a private item (RFC 3550 §6.5.8) they take its prefix off, or panic.
            let value = |item: &theirs::SdesItem<'_>| match item.type_() {
                PRIVATE => Vec::new(),
                _ => item.value().to_vec(),
            };
            let theirs: Vec<_> = theirs
                .chunks()
                .map(|chunk| (chunk.ssrc(), chunk.items().map(|item| (item.type_(), value(item))).collect::<Vec<_>>()))
                .collect();
            // They go by the bytes, RFC 3550 §6.5 by the count. And they take zero bytes at the start of an SSRC for the end
            // of the chunk before.
            if ours.iter().all(|(ssrc, items)| ssrc >> 24 != 0 && items.iter().all(|(kind, _)| *kind != PRIVATE)) {
                prop_assert!(theirs.starts_with(&ours), "{:?} and {:?}", ours, theirs);
            }
            Ok(())
        }
        (RtcpPacket::Bye(ours), Packet::Bye(theirs)) => {
            prop_assert!(ours.sources().map(|ssrc| ssrc.0).eq(theirs.ssrcs()));
            // With padding they read a reason out of it.
            if padding == 0 {
                // A reason of no bytes is none to them where nothing fills its word.
                prop_assert_eq!(ours.reason.unwrap_or_default(), theirs.reason().unwrap_or_default());
            }
            Ok(())
        }
        (RtcpPacket::App(ours), Packet::App(theirs)) => {
            prop_assert_eq!((ours.subtype, ours.ssrc.0, ours.name), (theirs.count(), theirs.ssrc(), theirs.name()));
            prop_assert_eq!(ours.data, theirs.data());
            Ok(())
        }
        (ours, Packet::TransportFeedback(theirs)) => compare_transport_feedback(ours, theirs, padding),
        (ours, Packet::PayloadFeedback(theirs)) => compare_payload_feedback(ours, theirs, padding),
        (RtcpPacket::Xr(ours), Packet::Xr(theirs)) => compare_extended(ours, theirs),
        (RtcpPacket::Other { packet_type, format }, Packet::Unknown(theirs)) => {
            prop_assert_eq!((*packet_type, *format), (theirs.type_(), theirs.count()));
            Ok(())
        }
        _ => Err(TestCaseError::fail(format!("{ours:?} and {theirs:?}"))),
    }
}

fn compare_blocks<'a>(
    ours: impl Iterator<Item = ReportBlock>,
    theirs: impl Iterator<Item = theirs::ReportBlock<'a>>,
) -> Result<(), TestCaseError> {
    let theirs = theirs.map(|block| ReportBlock {
        ssrc: Ssrc(block.ssrc()),
        fraction_lost: block.fraction_lost(),
        // They read the 24 bits without a sign; RFC 3550 §6.4.1 and appendix A.3 have one.
        cumulative_lost: (block.cumulative_lost() << 8).cast_signed() >> 8,
        highest_sequence_number: block.extended_sequence_number(),
        jitter: block.interarrival_jitter(),
        last_sender_report: block.last_sender_report_timestamp(),
        delay_since_last_sender_report: block.delay_since_last_sender_report_timestamp(),
    });
    prop_assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
    Ok(())
}

fn compare_transport_feedback(
    ours: &RtcpPacket<'_>,
    theirs: &theirs::TransportFeedback<'_>,
    padding: u8,
) -> Result<(), TestCaseError> {
    match ours {
        RtcpPacket::Nack(ours) => {
            prop_assert_eq!((ours.sender_ssrc.0, ours.media_ssrc.0), (theirs.sender_ssrc(), theirs.media_ssrc()));
            let theirs = theirs.parse_fci::<theirs::Nack<'_>>().unwrap();
            // They read padding as entries, behind the real ones.
            let ours: Vec<_> = ours.iter().collect();
            let theirs: Vec<_> = theirs.entries().collect();
            prop_assert!(theirs.starts_with(&ours) && (padding > 0 || ours.len() == theirs.len()));
        }
        RtcpPacket::TransportCc(ours) => {
            prop_assert_eq!((ours.sender_ssrc.0, ours.media_ssrc.0), (theirs.sender_ssrc(), theirs.media_ssrc()));
            let theirs = theirs.parse_fci::<theirs::Twcc<'_>>().unwrap();
            prop_assert_eq!(
                (ours.base, ours.feedback_count),
                (theirs.base_sequence_number(), theirs.feedback_packet_count())
            );
            let start = Time::from_millis(64 * u64::from(theirs.reference_time()));
            prop_assert_eq!(ours.reference_time(), transport_cc::ArrivalTime::at(start));
            let mut at = 0;
            let mut arrivals = Vec::new();
            let mut count = 0;
            for packet in theirs.packets() {
                // Theirs is checked as it is read, ours before: ours stands, so must theirs.
                let (sequence_number, status) = packet.unwrap();
                count += 1;
                if let theirs::TwccPacketStatus::Received { delta } = status {
                    at += i64::from(delta) * 250;
                    arrivals.push((sequence_number, at));
                }
            }
            let reference = ours.reference_time();
            let read: Vec<_> =
                ours.arrivals().map(|arrival| (arrival.sequence_number, arrival.at.micros_since(reference))).collect();
            prop_assert_eq!((read, usize::from(ours.count)), (arrivals, count));
        }
        RtcpPacket::Tmmbr(_) | RtcpPacket::Other { .. } => {
            prop_assert!(theirs.parse_fci::<theirs::Nack<'_>>().is_err());
            prop_assert!(theirs.parse_fci::<theirs::Twcc<'_>>().is_err());
        }
        _ => return Err(TestCaseError::fail(format!("{ours:?} and {theirs:?}"))),
    }
    Ok(())
}

fn compare_payload_feedback(
    ours: &RtcpPacket<'_>,
    theirs: &theirs::PayloadFeedback<'_>,
    padding: u8,
) -> Result<(), TestCaseError> {
    match ours {
        RtcpPacket::Pli(ours) => {
            prop_assert_eq!((ours.sender_ssrc.0, ours.media_ssrc.0), (theirs.sender_ssrc(), theirs.media_ssrc()));
            // They refuse bytes behind the SSRCs, padding too.
            prop_assert!(padding > 0 || theirs.length() > 12 || theirs.parse_fci::<theirs::Pli>().is_ok());
        }
        RtcpPacket::Fir(ours) => {
            prop_assert_eq!(ours.sender_ssrc.0, theirs.sender_ssrc());
            let ours: Vec<_> = ours.requests().map(|request| (request.ssrc.0, request.sequence_number)).collect();
            if let Ok(theirs) = theirs.parse_fci::<theirs::Fir<'_>>() {
                let theirs: Vec<_> = theirs.entries().map(|entry| (entry.ssrc(), entry.sequence())).collect();
                prop_assert!(theirs.starts_with(&ours) && (padding > 0 || ours.len() == theirs.len()));
            } else {
                prop_assert!(ours.is_empty() || padding > 0);
            }
        }
        RtcpPacket::Remb(_) | RtcpPacket::Other { .. } => {
            prop_assert!(theirs.parse_fci::<theirs::Pli>().is_err());
            prop_assert!(theirs.parse_fci::<theirs::Fir<'_>>().is_err());
        }
        _ => return Err(TestCaseError::fail(format!("{ours:?} and {theirs:?}"))),
    }
    Ok(())
}

fn compare_extended(ours: &Xr<'_>, theirs: &theirs::Xr<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(ours.ssrc.0, theirs.sender_ssrc());
    // Where their blocks end too early the padding begins, or a block that ours would have refused.
    for (ours, theirs) in ours.blocks().zip(theirs.block_iter()) {
        match ours {
            xr::Block::ReceiverReferenceTime(time) => {
                let theirs = theirs.parse_into::<theirs::ReceiverReferenceTime<'_>>().unwrap();
                prop_assert_eq!(time.0, theirs.ntp_timestamp());
            }
            xr::Block::Dlrr(ours) => {
                // They take a length of 16 * n for one of 4 + 12 * n (RFC 3611 §4.5), and do not stop at its end.
                if let Ok(theirs) = theirs.parse_into::<theirs::DelaySinceLastReceiverReport<'_>>() {
                    let theirs = theirs.block_iter().map(|answer| xr::Dlrr {
                        ssrc: Ssrc(answer.ssrc()),
                        last_receiver_report: answer.last_receiver_report(),
                        delay_since_last_receiver_report: answer.delay_since_last_receiver_report_timestamp(),
                    });
                    prop_assert!(theirs.collect::<Vec<_>>().starts_with(&ours.iter().collect::<Vec<_>>()));
                }
            }
            xr::Block::Other { block_type } => prop_assert_eq!(block_type, theirs.block_type()),
        }
    }
    Ok(())
}

/// A datagram of one packet of each type, from our writers.
fn our_datagram() -> impl Strategy<Value = Vec<u8>> {
    // Not below 2^24, for what they do to descriptions.
    let ssrcs = prop::collection::vec((1_u32 << 24..=u32::MAX).prop_map(Ssrc), 1..8);
    let blocks = prop::collection::vec(any::<[u32; 6]>(), 0..8);
    let text = prop::collection::vec(any::<u8>(), 1..30);
    let numbers = prop::collection::btree_set(any::<u16>(), 1..20);
    let arrivals = prop::collection::btree_map(0..300_u64, 0..40_000_u64, 1..60);
    (any::<u64>(), ssrcs, blocks, text, numbers, arrivals).prop_map(|(word, ssrcs, blocks, text, numbers, arrivals)| {
        let mut buffer = vec![0; 4000];
        let mut writer = Writer::new(&mut buffer);
        write_each(&mut writer, word, &ssrcs, &blocks, &text).unwrap();
        nack::write(&mut writer, ssrcs[0], Ssrc(2), numbers).unwrap();
        let base = SeqNo(65536 + word % 65536);
        let head = transport_cc::Head { sender_ssrc: ssrcs[0], media_ssrc: Ssrc(3), base, feedback_count: text[0] };
        let arrivals = arrivals.into_iter().map(|(seq, at)| (base.plus(seq), Time::from_nanos(at * 100_000)));
        transport_cc::write(&mut writer, &head, arrivals.collect::<Vec<_>>()).unwrap();
        writer.as_bytes().to_vec()
    })
}

fn write_each(
    writer: &mut Writer<'_>,
    word: u64,
    ssrcs: &[Ssrc],
    blocks: &[[u32; 6]],
    text: &[u8],
) -> Result<(), Full> {
    let from = ssrcs[0];
    let [a, b, c, ..] = word.to_be_bytes().map(u32::from);
    let info = SenderInfo { ntp_time: NtpTime(word), rtp_timestamp: a, packet_count: b, octet_count: c };
    let blocks: Vec<_> = blocks
        .iter()
        .map(|&[ssrc, lost, highest, jitter, last, delay]| ReportBlock {
            ssrc: Ssrc(ssrc),
            fraction_lost: lost.to_be_bytes()[0],
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            highest_sequence_number: highest,
            jitter,
            last_sender_report: last,
            delay_since_last_sender_report: delay,
        })
        .collect();
    report::write_sender_report(writer, from, &info, &blocks)?;
    report::write_receiver_report(writer, from, &blocks)?;
    let items = [sdes::Item { kind: sdes::CNAME, value: text }, sdes::Item { kind: sdes::MID, value: b"ab" }];
    let chunks: Vec<_> = ssrcs.iter().map(|&ssrc| (ssrc, &items[..])).collect();
    sdes::write(writer, &chunks)?;
    let words = text.repeat(4);
    App { subtype: 5, ssrc: from, name: *b"test", data: &words }.write(writer)?;
    pli::write(writer, from, Ssrc(2))?;
    let requests: Vec<_> = ssrcs.iter().map(|&ssrc| fir::Request { ssrc, sequence_number: text[0] }).collect();
    fir::write(writer, from, &requests)?;
    remb::write(writer, from, Bitrate::from_bps(word), ssrcs)?;
    tmmbr::write(writer, from, &[tmmbr::Limit { ssrc: from, bitrate: Bitrate::from_bps(word), overhead: 40 }])?;
    xr::write_receiver_reference_time(writer, from, NtpTime(word))?;
    let answers: Vec<_> = ssrcs
        .iter()
        .map(|&ssrc| xr::Dlrr { ssrc, last_receiver_report: a, delay_since_last_receiver_report: b })
        .collect();
    xr::write_dlrr(writer, from, &answers)?;
    bye::write(writer, ssrcs, Some(text))
}

/// What one of their writers makes.
fn their(packet: &impl RtcpPacketWriterExt) -> Vec<u8> {
    let mut buffer = vec![0; 4000];
    let len = packet.write_into(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

proptest! {
    #[test]
    fn they_read_what_we_write(datagram in our_datagram()) {
        prop_assert_eq!(compare(&datagram)?, [(13, true), (13, true)]);
        prop_assert!(theirs::Compound::parse(&datagram).unwrap().all(|packet| packet.is_ok()));
    }

    #[test]
    fn we_read_what_they_write(
        ssrc: u32, words: [u32; 5], ntp: u64, lost in 0..1_u32 << 24, padding in 0..4_u8,
        text in "[a-z]{1,40}", numbers in prop::collection::vec(any::<u16>(), 1..30),
        statuses in prop::collection::vec(prop_oneof![2 => Just(None), 5 => (0..256_i16).prop_map(Some), 1 => any::<i16>().prop_map(Some)], 1..100),
    ) {
        // Not for feedback and goodbyes, where they write padding over the end or the beginning of what is there, nor for
        // descriptions, where they read it as chunks.
        let padding = padding * 4;
        let block = || theirs::ReportBlock::builder(words[0]).fraction_lost(text.as_bytes()[0]).cumulative_lost(lost)
            .extended_sequence_number(words[1]).interarrival_jitter(words[2]).last_sender_report_timestamp(words[3])
            .delay_since_last_sender_report_timestamp(words[4]);
        let mut nack = theirs::Nack::builder();
        let mut fir = theirs::Fir::builder();
        for &number in &numbers {
            nack = nack.add_rtp_sequence(number);
            fir = fir.add_ssrc(u32::from(number), number.to_be_bytes()[1]);
        }
        let statuses: Vec<_> = statuses.iter().map(|delta| match *delta {
            Some(delta) => theirs::TwccPacketStatus::Received { delta },
            None => theirs::TwccPacketStatus::NotReceived,
        }).collect();
        let twcc = theirs::Twcc::builder(numbers[0], words[0] >> 8, 9, &statuses, None);
        let dlrr = theirs::DelaySinceLastReceiverReport::builder().add_block(theirs::DelaySinceLastReceiverReportBlock::builder()
            .ssrc(words[0]).last_receiver_report(words[1]).delay_since_last_receiver_report_timestamp(words[2]));
        let rrtr = theirs::ReceiverReferenceTime::builder().ntp_timestamp(ntp);
        for bytes in [
            their(&theirs::SenderReport::builder(ssrc).padding(padding).ntp_timestamp(ntp).rtp_timestamp(words[0])
                .packet_count(words[1]).octet_count(words[2]).add_report_block(block())),
            their(&theirs::ReceiverReport::builder(ssrc).padding(padding).add_report_block(block()).add_report_block(block())),
            their(&theirs::Sdes::builder().add_chunk(theirs::SdesChunk::builder(ssrc)
                .add_item(theirs::SdesItem::builder(theirs::SdesItem::CNAME, &text)))),
            their(&theirs::Bye::builder().add_source(ssrc).reason(text.as_str())),
            their(&theirs::App::builder(ssrc, "name").padding(padding).data(&text.as_bytes().repeat(4))),
            their(&theirs::TransportFeedback::builder(&nack).sender_ssrc(ssrc).media_ssrc(words[0])),
            their(&theirs::TransportFeedback::builder(&twcc).sender_ssrc(ssrc).media_ssrc(words[0])),
            their(&theirs::PayloadFeedback::builder(&fir).sender_ssrc(ssrc)),
            their(&theirs::PayloadFeedback::builder(&theirs::Pli::builder()).sender_ssrc(ssrc).media_ssrc(words[0])),
            their(&theirs::Xr::builder().sender_ssrc(ssrc).add_block(dlrr).add_block(rrtr)),
        ] {
            prop_assert_eq!(compare(&bytes)?, [(1, true), (1, true)], "{:02x?}", bytes);
        }
    }

    #[test]
    fn damage_is_read_alike_or_refused(
        mut datagram in our_datagram(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (index, byte) in damage {
            let index = index.index(datagram.len());
            datagram[index] = byte;
        }
        compare(&datagram)?;
    }
}
