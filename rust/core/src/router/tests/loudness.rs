//! Who speaks, from the packets of a publisher to the event; what loudness is, is in `speaker`.

use super::*;
use crate::rtp::{ExtensionKind, ExtensionWriter};

const LEVEL: u8 = 3;

impl Bench {
    /// Peer `number` publishes Opus and says how loud it is.
    fn publish_audio(&mut self, number: u8) -> ReceiverId {
        let receiver = ReceiverId::new(self.router.worker, number.into());
        let mut parameters = receiver_parameters(1);
        parameters.kind = Kind::Audio;
        parameters.codecs[0] = CodecParameters { codec: Codec::Opus, clock_rate: 48_000, rtx: None, ..codec(111) };
        parameters.extensions.set(ExtensionKind::AudioLevel, LEVEL);
        let parameters = Box::new(parameters);
        self.command(Command::AddReceiver { transport: self.transport(number), receiver, parameters });
        receiver
    }

    /// Lets time pass up to `ms`, with a packet of this level every 20 ms; what was told of loudness.
    fn talk(&mut self, client: &mut Client, to: u64, level: Option<u8>) -> Vec<(u64, u8)> {
        let mut told = Vec::new();
        for ms in self.now.as_millis() + 1..=to {
            self.at(ms);
            if let (0, Some(level)) = (ms % 20, level) {
                let datagram = client.audio(level);
                self.hear(client, &datagram);
            }
            told.extend(self.events().into_iter().filter_map(|event| match event {
                Event::AudioLevelChanged { eighths, .. } => Some((ms, eighths)),
                _ => None,
            }));
        }
        told
    }
}

impl Client {
    fn audio(&mut self, level: u8) -> Vec<u8> {
        let header = FixedHeader {
            payload_type: Pt(111),
            sequence_number: SeqNo(self.seq).low(),
            timestamp: self.timestamp,
            ssrc: TRACK,
            has_extension: true,
            ..FixedHeader::default()
        };
        let mut out = vec![0; 1500];
        header.write(&mut out).unwrap();
        let mut writer = ExtensionWriter::new(&mut out[FixedHeader::LEN..]);
        writer.push(LEVEL, &[0x80 | level]).unwrap();
        let len = FixedHeader::LEN + writer.finish();
        let len = self.sealer.protect_rtp(self.seq - (1 << 16), len, &[], &[0x78; 40], &mut out).unwrap();
        out.truncate(len);
        self.seq += 1;
        self.timestamp = self.timestamp.wrapping_add(960);
        out
    }
}

#[test]
fn loudness_is_told_when_it_changes() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    let track = bench.publish_audio(1);
    assert_eq!(bench.talk(&mut publisher, 1019, Some(10)), [(420, 2), (820, 3)], "the first packet comes after 20 ms");
    assert_eq!(bench.talk(&mut publisher, 3000, None), [(2020, 0)]);
    assert_eq!(bench.talk(&mut publisher, 4000, Some(60)), []);
    assert_eq!(bench.talk(&mut publisher, 4450, Some(10)).len(), 1);
    bench.command(Command::RemoveReceiver(track));
    assert_eq!(bench.talk(&mut publisher, 6000, Some(10)), [], "nothing of a track that is gone");
}

#[test]
fn a_track_without_levels_costs_no_timer() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    bench.publish(1, 1);
    bench.frame(&mut publisher, 0, true);
    let feed = bench.router.feeds.iter().next().unwrap().1;
    assert!(feed.intake.as_ref().unwrap().meter.is_none());
}
