use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rtp::NtpTime;
use crate::units::Bitrate;

fn parse(datagram: &[u8]) -> Result<Vec<RtcpPacket<'_>>, Drop> {
    Compound::new(datagram).collect()
}

/// The only packet of a datagram.
fn one(datagram: &[u8]) -> RtcpPacket<'_> {
    let packets = parse(datagram).unwrap();
    assert_eq!(packets.len(), 1);
    packets[0]
}

/// What `write` appends to an empty writer.
fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Vec<u8> {
    let mut buffer = vec![0xAA; 70_000];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).unwrap();
    writer.as_bytes().to_vec()
}

const SENDER_REPORT: [u8; 52] = [
    0x81, 200, 0, 12, 0, 0, 0, 1, // one block, SSRC 1
    0x83, 0xAA, 0x7E, 0x80, 0x80, 0, 0, 0, // half a second after the Unix epoch
    0, 1, 0, 0, 0, 0, 0, 100, 0, 0, 0x27, 0x10, // timestamp 65536, 100 packets, 10000 bytes
    0, 0, 0, 2, 0x40, 0xFF, 0xFF, 0xFE, // SSRC 2: a quarter lost; -2 since the start
    0, 3, 0, 9, 0, 0, 0, 77, // highest 3 * 65536 + 9, jitter 77
    0xB7, 0x05, 0x20, 0, 0, 5, 0x40, 0, // LSR, DLSR
];

#[test]
fn a_sender_report() {
    let RtcpPacket::SenderReport(report) = one(&SENDER_REPORT) else { panic!() };
    let info = SenderInfo {
        ntp_time: NtpTime::from_unix(Duration::from_millis(500)),
        rtp_timestamp: 65536,
        packet_count: 100,
        octet_count: 10000,
    };
    let block = ReportBlock {
        ssrc: Ssrc(2),
        fraction_lost: 64,
        cumulative_lost: -2,
        highest_sequence_number: 196_617,
        jitter: 77,
        last_sender_report: 0xB705_2000,
        delay_since_last_sender_report: 0x0005_4000,
    };
    assert_eq!((report.ssrc, report.info), (Ssrc(1), info));
    assert_eq!(report.blocks().collect::<Vec<_>>(), [block]);
    assert_eq!(block.round_trip(NtpTime(0xB44D_B710_8000_0000)), Some(Duration::from_millis(6125)));
    assert_eq!(written(|w| report::write_sender_report(w, Ssrc(1), &info, &[block])), SENDER_REPORT);
}

#[test]
fn losses_are_clamped_to_24_bits() {
    for (lost, read) in [(i32::MAX, 0x7F_FFFF), (0x7F_FFFF, 0x7F_FFFF), (i32::MIN, -0x80_0000), (-1, -1)] {
        let block = ReportBlock { cumulative_lost: lost, fraction_lost: 0xFF, ..ReportBlock::default() };
        let bytes = written(|w| report::write_receiver_report(w, Ssrc(1), &[block]));
        let RtcpPacket::ReceiverReport(report) = one(&bytes) else { panic!() };
        let block = report.blocks().next().unwrap();
        assert_eq!((block.cumulative_lost, block.fraction_lost), (read, 0xFF));
    }
}

#[test]
fn a_report_has_at_most_31_blocks_and_may_carry_more_behind_them() {
    let blocks = [ReportBlock::default(); 32];
    let mut bytes = written(|w| report::write_receiver_report(w, Ssrc(1), &blocks[..31]));
    assert_eq!(report::write_receiver_report(&mut Writer::new(&mut [0; 1000]), Ssrc(1), &blocks), Err(Full));
    bytes[0] = 0x9E; // 30 of them
    let RtcpPacket::ReceiverReport(report) = one(&bytes) else { panic!() };
    assert_eq!(report.blocks().len(), 30, "a profile's extension");
}

#[test]
fn a_compound_of_a_browser() {
    let mut buffer = [0; 200];
    let mut writer = Writer::new(&mut buffer);
    report::write_receiver_report(&mut writer, Ssrc(1), &[]).unwrap();
    sdes::write_cname(&mut writer, Ssrc(1), b"me").unwrap();
    pli::write(&mut writer, Ssrc(1), Ssrc(2)).unwrap();
    bye::write(&mut writer, &[Ssrc(1)], Some(b"bye")).unwrap();
    assert_eq!(
        writer.as_bytes(),
        b"\x80\xC9\0\x01\0\0\0\x01\
          \x81\xCA\0\x03\0\0\0\x01\x01\x02me\0\0\0\0\
          \x81\xCE\0\x02\0\0\0\x01\0\0\0\x02\
          \x81\xCB\0\x02\0\0\0\x01\x03bye"
    );
    let packets = parse(writer.as_bytes()).unwrap();
    let [RtcpPacket::ReceiverReport(_), RtcpPacket::Sdes(sdes), RtcpPacket::Pli(pli), RtcpPacket::Bye(bye)] =
        packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!(sdes.chunks().next().unwrap().cname(), Some(&b"me"[..]));
    assert_eq!((pli.sender_ssrc, pli.media_ssrc), (Ssrc(1), Ssrc(2)));
    assert_eq!((bye.sources().collect::<Vec<_>>(), bye.reason), (vec![Ssrc(1)], Some(&b"bye"[..])));
}

#[test]
fn what_comes_before_a_lie_stands() {
    let pli = written(|w| pli::write(w, Ssrc(1), Ssrc(2)));
    let mut lying = pli.clone();
    lying[3] = 3;
    for (bad, why) in [
        (&lying[..], "beyond the datagram"),
        (&pli[..3], "no header"),
        (&[0x41, 206, 0, 0], "version"),
        (&[0x81, 206, 0, 1, 0, 0, 0, 1], "no media SSRC"),
        (&[0xA1, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9], "padding beyond the body"),
        (&[0xA1, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0], "padding of nothing"),
        (&[0xA0, 201, 0, 0], "padding without a body"),
        (&[0x81, 201, 0, 1, 0, 0, 0, 1], "a block is missing"),
        (&[0x82, 203, 0, 1, 0, 0, 0, 1], "a source is missing"),
        (&[0x81, 203, 0, 2, 0, 0, 0, 1, 4, b'b', b'y', b'e'], "a reason cut short"),
        (&[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, b'm', b'e'], "a chunk without an end"),
        (&[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 3, b'm', b'e'], "an item cut short"),
        (&[0x82, 202, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0], "a chunk is missing"),
        (&[0x81, 204, 0, 1, 0, 0, 0, 1], "no name"),
        (&[0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0], "a datagram cut short"),
        (&[0x84, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0], "half a FIR entry"),
        (&[0x83, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0], "half a TMMBR entry"),
        (&[0x8F, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0, 0, 0], "an SSRC is missing"),
        (&[0x80, 207, 0, 2, 0, 0, 0, 1, 4, 0, 0, 1], "a block beyond the packet"),
        (&[0x80, 207, 0, 3, 0, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0, 0], "half a clock"),
        (&[0x80, 207, 0, 3, 0, 0, 0, 1, 5, 0, 0, 1, 0, 0, 0, 0], "a third of an answer"),
    ] {
        let mut packets = Vec::new();
        let datagram = [&pli[..], bad].concat();
        packets.extend(Compound::new(&datagram));
        assert!(matches!(packets[..], [Ok(RtcpPacket::Pli(_)), Err(Drop::BadRtcp)]), "{why}: {packets:?}");
        let mut longer = Compound::new(&datagram);
        assert!(longer.by_ref().count() == 2 && longer.next().is_none());
    }
    assert_eq!(parse(&[]), Ok(vec![]));
}

#[test]
fn padding_comes_off_wherever_it_is() {
    // Three bytes and in front of another packet, as libwebrtc's feedback does.
    let datagram = [
        &[0xAF, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1, 0, 0, 0, 0, 0x20, 1, 5, 1][..],
        &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
    ]
    .concat();
    let packets = parse(&datagram).unwrap();
    assert!(
        matches!(packets[..], [RtcpPacket::TransportCc(feedback), RtcpPacket::Pli(_)] if feedback.arrivals().count() == 1)
    );
    let mut cut = datagram.clone();
    cut[23] = 2;
    assert_eq!(parse(&cut), Err(Drop::BadRtcp), "the delta is padding now");
}

#[test]
fn packets_of_no_interest_are_named() {
    for (packet_type, format) in [(206, 2), (206, 3), (206, 15), (205, 8), (192, 0), (208, 31)] {
        let datagram = [0x80 | format, packet_type, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 9, 9, 9, 9];
        assert_eq!(one(&datagram), RtcpPacket::Other { packet_type, format });
    }
}

#[test]
fn nacks_pack_17_numbers_into_a_pair() {
    let ask = |numbers: &[u16]| {
        let bytes = written(|w| {
            nack::write(w, Ssrc(1), Ssrc(2), numbers.iter().copied()).map(|taken| assert_eq!(taken, numbers.len()))
        });
        let RtcpPacket::Nack(nack) = one(&bytes) else { panic!() };
        (bytes[12..].to_vec(), nack.iter().collect::<Vec<_>>())
    };
    assert_eq!(ask(&[100, 101, 116]), (vec![0, 100, 0x80, 0x01], vec![100, 101, 116]));
    assert_eq!(ask(&[100, 117]), (vec![0, 100, 0, 0, 0, 117, 0, 0], vec![100, 117]));
    assert_eq!(ask(&[0xFFFF, 0, 0x0F]), (vec![0xFF, 0xFF, 0x80, 0x01], vec![0xFFFF, 0, 0x0F]));
    assert_eq!(ask(&[5, 5, 6, 6]), (vec![0, 5, 0, 1], vec![5, 6]));
}

#[test]
fn a_nack_takes_what_fits() {
    let far_apart = || (0..100_u16).map(|n| n * 100);
    let mut buffer = [0; 24];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(nack::write(&mut writer, Ssrc(1), Ssrc(2), far_apart()), Ok(3));
    assert_eq!(nack::write(&mut writer, Ssrc(1), Ssrc(2), []), Ok(0));
    assert_eq!(writer.len(), 24);
    assert_eq!(nack::write(&mut Writer::new(&mut [0; 15]), Ssrc(1), Ssrc(2), far_apart()), Err(Full));
}

#[test]
fn an_estimate() {
    let bytes = written(|w| remb::write(w, Ssrc(1), Bitrate::from_bps(8_927_168), &[Ssrc(0x483C_DCC6)]));
    assert_eq!(bytes[12..], [b'R', b'E', b'M', b'B', 0x01, 0x1A, 0x20, 0xDF, 0x48, 0x3C, 0xDC, 0xC6]);
    let RtcpPacket::Remb(remb) = one(&bytes) else { panic!() };
    assert_eq!(
        (remb.bitrate, remb.ssrcs().collect::<Vec<_>>()),
        (Bitrate::from_bps(8_927_168), vec![Ssrc(0x483C_DCC6)])
    );
}

#[test]
fn floats_keep_their_leading_bits() {
    assert_eq!(remb::to_float(Bitrate::from_bps(0x3_FFFF), 18), (0, 0x3_FFFF));
    assert_eq!(remb::to_float(Bitrate::from_bps(0x4_0001), 18), (1, 0x2_0000));
    assert_eq!(remb::to_float(Bitrate::from_bps(u64::MAX), 18), (46, 0x3_FFFF));
    assert_eq!(remb::from_float(63, 0x3_FFFF), Bitrate::from_bps(u64::MAX));
    assert_eq!(remb::from_float(63, 1), Bitrate::from_bps(1 << 63));
}

#[test]
fn extended_reports() {
    let clock = written(|w| xr::write_receiver_reference_time(w, Ssrc(1), NtpTime(0x0102_0304_0506_0708)));
    assert_eq!(clock, [0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
    // A block of another kind in front (loss run lengths), and the clock behind it.
    let mut datagram = vec![0x80, 207, 0, 6, 0, 0, 0, 1, 1, 0, 0, 1, 9, 9, 9, 9];
    datagram.extend(&clock[8..]);
    let RtcpPacket::Xr(xr) = one(&datagram) else { panic!() };
    let blocks: Vec<_> = xr.blocks().collect();
    assert_eq!(
        blocks,
        [xr::Block::Other { block_type: 1 }, xr::Block::ReceiverReferenceTime(NtpTime(0x0102_0304_0506_0708))]
    );
    let answer = xr::Dlrr {
        ssrc: Ssrc(1),
        last_receiver_report: NtpTime(1 << 32).compact(),
        delay_since_last_receiver_report: 0x8000,
    };
    assert_eq!(answer.round_trip(NtpTime(2 << 32)), Some(Duration::from_millis(500)));
}

#[test]
fn fields_that_cannot_hold_a_value_refuse_it() {
    let mut buffer = vec![0; 300_000];
    let mut writer = Writer::new(&mut buffer);
    let long = [b'x'; 256];
    assert!(sdes::write_cname(&mut writer, Ssrc(1), &long[..255]).is_ok());
    let len = writer.len();
    assert_eq!(sdes::write_cname(&mut writer, Ssrc(1), &long), Err(Full));
    assert_eq!(sdes::write(&mut writer, &[(Ssrc(1), &[sdes::Item { kind: 0, value: b"end" }])]), Err(Full));
    assert_eq!(sdes::write(&mut writer, &[(Ssrc(1), &[][..]); 32]), Err(Full));
    assert_eq!(bye::write(&mut writer, &[Ssrc(1); 32], None), Err(Full));
    assert_eq!(bye::write(&mut writer, &[Ssrc(1)], Some(&long)), Err(Full));
    assert_eq!(remb::write(&mut writer, Ssrc(1), Bitrate::ZERO, &[Ssrc(1); 256]), Err(Full));
    assert_eq!(fir::write(&mut writer, Ssrc(1), &[]), Err(Full));
    assert_eq!(tmmbr::write(&mut writer, Ssrc(1), &[]), Err(Full));
    assert_eq!(xr::write_dlrr(&mut writer, Ssrc(1), &vec![xr::Dlrr::default(); 21_846]), Err(Full));
    assert_eq!(writer.len(), len, "and nothing of it is left behind");
}

type Write<'a> = &'a mut dyn FnMut(&mut Writer<'_>) -> Result<(), Full>;

fn ssrc() -> impl Strategy<Value = Ssrc> {
    any::<u32>().prop_map(Ssrc)
}

fn block() -> impl Strategy<Value = ReportBlock> {
    (ssrc(), any::<u8>(), -0x80_0000..0x80_0000_i32, any::<[u32; 4]>()).prop_map(
        |(ssrc, fraction_lost, cumulative_lost, [highest, jitter, last, delay])| ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost,
            highest_sequence_number: highest,
            jitter,
            last_sender_report: last,
            delay_since_last_sender_report: delay,
        },
    )
}

proptest! {
    #[test]
    fn reports_survive(from in ssrc(), ntp: u64, counts: [u32; 3], blocks in prop::collection::vec(block(), 0..=31)) {
        let info = SenderInfo { ntp_time: NtpTime(ntp), rtp_timestamp: counts[0], packet_count: counts[1], octet_count: counts[2] };
        let bytes = written(|w| {
            report::write_sender_report(w, from, &info, &blocks)?;
            report::write_receiver_report(w, from, &blocks)
        });
        let packets = parse(&bytes).unwrap();
        let [RtcpPacket::SenderReport(sent), RtcpPacket::ReceiverReport(received)] = packets[..] else { panic!() };
        prop_assert_eq!((sent.ssrc, sent.info, received.ssrc), (from, info, from));
        prop_assert_eq!(sent.blocks().collect::<Vec<_>>(), &blocks[..]);
        prop_assert_eq!(received.blocks().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn descriptions_survive(
        sources in prop::collection::vec((ssrc(), prop::collection::vec((1..=255_u8, prop::collection::vec(any::<u8>(), 0..=255)), 0..4)), 0..=31),
    ) {
        let items: Vec<Vec<_>> = sources.iter().map(|(_, items)| items.iter().map(|(kind, value)| sdes::Item { kind: *kind, value }).collect()).collect();
        let chunks: Vec<_> = sources.iter().zip(&items).map(|((ssrc, _), items)| (*ssrc, &items[..])).collect();
        let bytes = written(|w| sdes::write(w, &chunks));
        let RtcpPacket::Sdes(sdes) = one(&bytes) else { panic!() };
        let read: Vec<_> = sdes.chunks().map(|chunk| (chunk.ssrc, chunk.items().collect::<Vec<_>>())).collect();
        prop_assert_eq!(read, chunks.iter().map(|(ssrc, items)| (*ssrc, items.to_vec())).collect::<Vec<_>>());
    }

    #[test]
    fn goodbyes_and_application_packets_survive(
        sources in prop::collection::vec(ssrc(), 0..=31), reason in prop::option::of(prop::collection::vec(any::<u8>(), 0..=255)),
        subtype in 0..32_u8, name: [u8; 4], words in prop::collection::vec(any::<[u8; 4]>(), 0..20),
    ) {
        let data = words.concat();
        let app = App { subtype, ssrc: Ssrc(7), name, data: &data };
        let bytes = written(|w| { app.write(w)?; bye::write(w, &sources, reason.as_deref()) });
        let packets = parse(&bytes).unwrap();
        let [RtcpPacket::App(read), RtcpPacket::Bye(bye)] = packets[..] else { panic!() };
        prop_assert_eq!(read, app);
        prop_assert_eq!(bye.sources().collect::<Vec<_>>(), sources);
        prop_assert_eq!(bye.reason, reason.as_deref());
    }

    #[test]
    fn nacks_survive(start: u16, gaps in prop::collection::vec(0..40_u16, 0..200), size in 16..400_usize) {
        let mut number = start;
        let numbers: Vec<u16> = gaps.iter().map(|gap| { number = number.wrapping_add(*gap); number }).collect();
        let mut rest = &numbers[..];
        let mut read = Vec::new();
        while !rest.is_empty() {
            let mut buffer = vec![0; size];
            let mut writer = Writer::new(&mut buffer);
            let taken = nack::write(&mut writer, Ssrc(1), Ssrc(2), rest.iter().copied()).unwrap();
            rest = &rest[taken..];
            let RtcpPacket::Nack(nack) = one(writer.as_bytes()) else { panic!() };
            prop_assert_eq!((nack.sender_ssrc, nack.media_ssrc), (Ssrc(1), Ssrc(2)));
            read.extend(nack.iter());
        }
        let mut expected = numbers.clone();
        expected.dedup();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn keyframe_requests_survive(from in ssrc(), about in ssrc(), requests in prop::collection::vec((ssrc(), any::<u8>()), 1..20)) {
        let requests: Vec<_> = requests.into_iter().map(|(ssrc, sequence_number)| fir::Request { ssrc, sequence_number }).collect();
        let bytes = written(|w| { pli::write(w, from, about)?; fir::write(w, from, &requests) });
        let packets = parse(&bytes).unwrap();
        let [RtcpPacket::Pli(pli), RtcpPacket::Fir(fir)] = packets[..] else { panic!() };
        prop_assert_eq!(pli, Pli { sender_ssrc: from, media_ssrc: about });
        prop_assert_eq!(fir.sender_ssrc, from);
        prop_assert_eq!(fir.requests().collect::<Vec<_>>(), requests);
    }

    #[test]
    fn bitrates_survive_to_their_precision(from in ssrc(), bps: u64, shift in 0..64, ssrcs in prop::collection::vec(ssrc(), 0..=255), overhead in 0..512_u16) {
        let bitrate = Bitrate::from_bps(bps >> shift);
        let limit = tmmbr::Limit { ssrc: from, bitrate, overhead };
        let bytes = written(|w| { remb::write(w, from, bitrate, &ssrcs)?; tmmbr::write(w, from, &[limit, limit]) });
        let packets = parse(&bytes).unwrap();
        let [RtcpPacket::Remb(remb), RtcpPacket::Tmmbr(tmmbr)] = packets[..] else { panic!() };
        prop_assert_eq!(remb.sender_ssrc, from);
        prop_assert_eq!(remb.ssrcs().collect::<Vec<_>>(), ssrcs);
        for (read, bits) in [(remb.bitrate, 17), (tmmbr.limits().next().unwrap().bitrate, 16)] {
            prop_assert!(read <= bitrate && (bitrate.as_bps() - read.as_bps()) <= bitrate.as_bps() >> bits);
        }
        prop_assert_eq!(tmmbr.limits().len(), 2);
        prop_assert!(tmmbr.limits().all(|read| (read.ssrc, read.overhead) == (from, overhead)));
    }

    #[test]
    fn extended_reports_survive(from in ssrc(), now: u64, answers in prop::collection::vec(any::<[u32; 3]>(), 0..20)) {
        let answers: Vec<_> = answers.into_iter().map(|[ssrc, last, delay]| xr::Dlrr {
            ssrc: Ssrc(ssrc), last_receiver_report: last, delay_since_last_receiver_report: delay,
        }).collect();
        let bytes = written(|w| { xr::write_receiver_reference_time(w, from, NtpTime(now))?; xr::write_dlrr(w, from, &answers) });
        let packets = parse(&bytes).unwrap();
        let [RtcpPacket::Xr(clock), RtcpPacket::Xr(dlrr)] = packets[..] else { panic!() };
        prop_assert_eq!(clock.blocks().collect::<Vec<_>>(), [xr::Block::ReceiverReferenceTime(NtpTime(now))]);
        let Some(xr::Block::Dlrr(read)) = dlrr.blocks().next() else { panic!() };
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), answers);
    }

    #[test]
    fn random_bytes_never_panic_and_cost_no_more_than_they_are(mut bytes in prop::collection::vec(any::<u8>(), 0..200), heads in prop::collection::vec((0x80..0xC0_u8, 199..210_u8, 0..12_u8), 0..8)) {
        // Heads one behind the other, so that the bodies get looked at.
        let mut at = 0;
        for (first, packet_type, words) in heads {
            if let Some(head) = bytes.get_mut(at..at + 4) {
                head.copy_from_slice(&[first, packet_type, 0, words]);
            }
            at += 4 + 4 * usize::from(words);
        }
        let mut steps = 0;
        for packet in Compound::new(&bytes) {
            steps += 1;
            let Ok(packet) = packet else { break };
            steps += match packet {
                RtcpPacket::SenderReport(report) => report.blocks().count(),
                RtcpPacket::ReceiverReport(report) => report.blocks().count(),
                RtcpPacket::Sdes(sdes) => sdes.chunks().map(|chunk| 1 + chunk.items().count()).sum(),
                RtcpPacket::Bye(bye) => bye.sources().count(),
                RtcpPacket::Nack(nack) => nack.iter().count(),
                RtcpPacket::Tmmbr(tmmbr) => tmmbr.limits().count(),
                RtcpPacket::TransportCc(feedback) => feedback.arrivals().count(),
                RtcpPacket::Fir(fir) => fir.requests().count(),
                RtcpPacket::Remb(remb) => remb.ssrcs().count(),
                RtcpPacket::Xr(xr) => xr.blocks().count(),
                RtcpPacket::App(_) | RtcpPacket::Pli(_) | RtcpPacket::Other { .. } => 0,
            };
        }
        prop_assert!(steps <= 17 * bytes.len() / 4 + 1);
    }

    #[test]
    fn a_full_writer_is_left_as_it_was(size in 0..80_usize) {
        let mut buffer = vec![0; size];
        let mut writer = Writer::new(&mut buffer);
        let writes: [Write<'_>; 6] = [
            &mut |w| pli::write(w, Ssrc(1), Ssrc(2)),
            &mut |w| report::write_receiver_report(w, Ssrc(1), &[ReportBlock::default()]),
            &mut |w| sdes::write_cname(w, Ssrc(1), b"somebody"),
            &mut |w| bye::write(w, &[Ssrc(1)], Some(b"done")),
            &mut |w| remb::write(w, Ssrc(1), Bitrate::from_bps(1), &[Ssrc(1)]),
            &mut |w| xr::write_dlrr(w, Ssrc(1), &[xr::Dlrr::default()]),
        ];
        let mut count = 0;
        loop {
            let before = writer.as_bytes().to_vec();
            let index = count % writes.len();
            let result = writes[index](&mut writer);
            prop_assert_eq!(parse(writer.as_bytes()).unwrap().len(), count + usize::from(result.is_ok()));
            if result.is_err() {
                prop_assert_eq!(writer.as_bytes(), before);
                break;
            }
            count += 1;
        }
    }
}
