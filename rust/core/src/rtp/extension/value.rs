//! What the elements of header extensions say. Each value reads from an element's bytes and writes its own.
//!
//! A value of another length than its specification's is read as none: it is a newer version or damage.

use core::time::Duration;

use super::{ExtensionKind, Extensions, VideoLayersAllocation};
use crate::rtp::NtpTime;
use crate::time::Time;
use crate::units::{Mid, Rid};

/// The values of a packet's extensions. `packet` is always the packet that the extensions were parsed from; none where
/// the extension is not there or does not read.
impl Extensions {
    /// The media section's tag (RFC 9143 §15).
    pub fn mid(&self, packet: &[u8]) -> Option<Mid> {
        Mid::new(text(self.find(ExtensionKind::Mid, packet)?))
    }

    /// The encoding's identifier (RFC 8852 §4.1).
    pub fn rid(&self, packet: &[u8]) -> Option<Rid> {
        Rid::new(text(self.find(ExtensionKind::Rid, packet)?))
    }

    /// The identifier of the encoding that this stream repairs (RFC 8852 §4.2).
    pub fn repaired_rid(&self, packet: &[u8]) -> Option<Rid> {
        Rid::new(text(self.find(ExtensionKind::RepairedRid, packet)?))
    }

    /// How loud the packet is.
    pub fn audio_level(&self, packet: &[u8]) -> Option<AudioLevel> {
        AudioLevel::read(self.find(ExtensionKind::AudioLevel, packet)?)
    }

    /// When the packet left its sender.
    pub fn abs_send_time(&self, packet: &[u8]) -> Option<AbsSendTime> {
        AbsSendTime::read(self.find(ExtensionKind::AbsSendTime, packet)?)
    }

    /// The transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
    pub fn transport_cc(&self, packet: &[u8]) -> Option<u16> {
        Some(u16::from_be_bytes(self.find(ExtensionKind::TransportCc, packet)?.try_into().ok()?))
    }

    /// When the frame was captured.
    pub fn abs_capture_time(&self, packet: &[u8]) -> Option<AbsCaptureTime> {
        AbsCaptureTime::read(self.find(ExtensionKind::AbsCaptureTime, packet)?)
    }

    /// How long the receiver may hold frames back.
    pub fn playout_delay(&self, packet: &[u8]) -> Option<PlayoutDelay> {
        PlayoutDelay::read(self.find(ExtensionKind::PlayoutDelay, packet)?)
    }

    /// How the picture is to be turned.
    pub fn video_orientation(&self, packet: &[u8]) -> Option<VideoOrientation> {
        VideoOrientation::read(self.find(ExtensionKind::VideoOrientation, packet)?)
    }

    /// What each layer of each encoding is worth.
    pub fn video_layers_allocation(&self, packet: &[u8]) -> Option<VideoLayersAllocation> {
        VideoLayersAllocation::read(self.find(ExtensionKind::VideoLayersAllocation, packet)?)
    }
}

/// A token up to its first zero byte: libwebrtc reads it so, and its copies pad short tokens with zeros.
fn text(element: &[u8]) -> &[u8] {
    element.split(|&byte| byte == 0).next().unwrap_or(&[])
}

/// How loud a packet of audio is (RFC 6464 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// In -dBov: 0 is the loudest, 127 silence. Higher values are written as 127.
    pub level: u8,
    /// The sender thinks that somebody speaks.
    pub voice: bool,
}

impl AudioLevel {
    /// Reads the one byte of the element.
    pub fn read(element: &[u8]) -> Option<Self> {
        let &[byte] = element else { return None };
        Some(Self { level: byte & 0x7F, voice: byte & 0x80 != 0 })
    }

    /// The element's bytes.
    pub fn write(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.level.min(127)]
    }
}

/// When a packet left its sender, on the sender's clock: 24 bits of 6.18 fixed-point seconds, wrapping every 64 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// The 24 bits of `units` in 1/2^18 s; higher bits are cut off.
    pub const fn from_units(units: u32) -> Self {
        Self(units & 0xFF_FFFF)
    }

    /// In 1/2^18 s, 24 bits.
    pub const fn units(self) -> u32 {
        self.0
    }

    /// The stamp of a packet that leaves at `now`.
    #[allow(clippy::cast_possible_truncation)] // 24 bits are kept on purpose
    pub const fn at(now: Time) -> Self {
        let seconds = now.as_nanos() / 1_000_000_000;
        let nanos = now.as_nanos() % 1_000_000_000;
        Self::from_units(((seconds << 18) + (nanos << 18) / 1_000_000_000) as u32)
    }

    /// The span from `earlier` to here in nanoseconds, -32 s up to below 32 s: of two stamps the nearer way round.
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        // The 24-bit difference in the high bits of an i32, so that the arithmetic shift extends its sign.
        let units = (self.0.wrapping_sub(earlier.0) << 8).cast_signed() >> 8;
        (units as i64 * 1_000_000_000) >> 18
    }

    /// Reads the three bytes of the element.
    pub fn read(element: &[u8]) -> Option<Self> {
        let &[a, b, c] = element else { return None };
        Some(Self(u32::from_be_bytes([0, a, b, c])))
    }

    /// The element's bytes.
    pub const fn write(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

/// When the first frame of a packet was captured, by the clock of the system that captured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// The capturer's wall clock.
    pub captured_at: NtpTime,
    /// What to add to the sender's clock to get the capturer's, in 1/2^32 s, where the sender knows.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    /// Reads the 8 or 16 bytes of the element.
    pub fn read(element: &[u8]) -> Option<Self> {
        let (captured_at, rest) = element.split_first_chunk()?;
        let clock_offset = match rest {
            [] => None,
            offset => Some(i64::from_be_bytes(offset.try_into().ok()?)),
        };
        Some(Self { captured_at: NtpTime(u64::from_be_bytes(*captured_at)), clock_offset })
    }

    /// Writes the element into `out` and returns the part of it that was used: 8 or 16 bytes.
    pub fn write(self, out: &mut [u8; 16]) -> &[u8] {
        let (captured_at, offset) = out.split_at_mut(8);
        captured_at.copy_from_slice(&self.captured_at.0.to_be_bytes());
        offset.copy_from_slice(&self.clock_offset.unwrap_or(0).to_be_bytes());
        out.get(..if self.clock_offset.is_some() { 16 } else { 8 }).unwrap_or(&[])
    }
}

/// How long the receiver may hold frames back, to smooth them or to show them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// At least this, in steps of 10 ms up to 40.95 s.
    pub min: Duration,
    /// At most this, in the same steps.
    pub max: Duration,
}

impl PlayoutDelay {
    /// Reads the three bytes of the element; none where the minimum is above the maximum.
    pub fn read(element: &[u8]) -> Option<Self> {
        let &[a, b, c] = element else { return None };
        let min = u16::from(a) << 4 | u16::from(b) >> 4;
        let max = u16::from(b & 0x0F) << 8 | u16::from(c);
        let span = |steps: u16| Duration::from_millis(u64::from(steps) * 10);
        (min <= max).then(|| Self { min: span(min), max: span(max) })
    }

    /// The element's bytes, rounded down to 10 ms and to the range.
    pub fn write(self) -> [u8; 3] {
        let steps = |span: Duration| u32::try_from(span.as_millis() / 10).unwrap_or(u32::MAX).min(0xFFF);
        let [_, a, b, c] = (steps(self.min) << 12 | steps(self.max)).to_be_bytes();
        [a, b, c]
    }
}

/// How the receiver has to turn the picture, as the byte of the wire (3GPP TS 26.114 §7.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoOrientation(pub u8);

impl VideoOrientation {
    /// How far to turn the picture clockwise before it is shown: 0, 90, 180 or 270 degrees.
    pub const fn rotation_degrees(self) -> u16 {
        (self.0 & 0b11) as u16 * 90
    }

    /// To be mirrored left to right.
    pub const fn is_flipped(self) -> bool {
        self.0 & 0b100 != 0
    }

    /// From the camera that looks away from the user.
    pub const fn is_back_camera(self) -> bool {
        self.0 & 0b1000 != 0
    }

    /// Reads the one byte of the element.
    pub fn read(element: &[u8]) -> Option<Self> {
        let &[byte] = element else { return None };
        Some(Self(byte))
    }

    /// The element's bytes.
    pub const fn write(self) -> [u8; 1] {
        [self.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_of_rfc_6464() {
        assert_eq!(AudioLevel::read(&[0x9E]), Some(AudioLevel { level: 30, voice: true }));
        assert_eq!(AudioLevel::read(&[127]), Some(AudioLevel { level: 127, voice: false }));
        assert_eq!(AudioLevel { level: 200, voice: true }.write(), [0xFF]);
        assert_eq!(AudioLevel::read(&[]), None);
        assert_eq!(AudioLevel::read(&[1, 2]), None);
    }

    #[test]
    fn send_times_wrap_after_64_seconds() {
        let before = AbsSendTime::at(Time::from_millis(63_500));
        let after = AbsSendTime::at(Time::from_millis(64_500));
        assert_eq!((before.units(), after.units()), (0xFE_0000, 0x02_0000));
        assert_eq!(after.nanos_since(before), 1_000_000_000);
        assert_eq!(before.nanos_since(after), -1_000_000_000);
        assert_eq!(AbsSendTime::at(Time::NEVER), AbsSendTime::at(Time::from_nanos(u64::MAX)));
        let half = AbsSendTime::from_units(1 << 23);
        assert_eq!(half.nanos_since(AbsSendTime::from_units(0)), -32_000_000_000, "half way round reads as earlier");
    }

    #[test]
    fn playout_delays_stay_in_range() {
        let delay = PlayoutDelay { min: Duration::from_millis(109), max: Duration::from_secs(90) };
        assert_eq!(delay.write(), [0x00, 0xAF, 0xFF]);
        assert_eq!(
            PlayoutDelay::read(&delay.write()),
            Some(PlayoutDelay { min: Duration::from_millis(100), max: Duration::from_millis(40_950) })
        );
        assert_eq!(PlayoutDelay::read(&[0x00, 0x20, 0x01]), None, "min 20 ms, max 10 ms");
    }

    #[test]
    fn orientations() {
        let turned = VideoOrientation(0b1110);
        assert_eq!((turned.rotation_degrees(), turned.is_flipped(), turned.is_back_camera()), (180, true, true));
        assert_eq!(VideoOrientation::default().rotation_degrees(), 0);
    }

    #[test]
    fn tokens_end_at_a_zero_byte() {
        assert_eq!(text(b"hi\0\0"), b"hi");
        assert_eq!(text(b""), b"");
    }

    proptest! {
        #[test]
        fn values_survive_writing(bytes: [u8; 16], has_offset: bool) {
            let element = &bytes[..if has_offset { 16 } else { 8 }];
            let mut out = [0xAA; 16];
            prop_assert_eq!(AbsCaptureTime::read(element).unwrap().write(&mut out), element);
            prop_assert_eq!(AbsCaptureTime::read(&bytes[..9]), None);
            prop_assert_eq!(AudioLevel::read(&bytes[..1]).unwrap().write(), &bytes[..1]);
            prop_assert_eq!(AbsSendTime::read(&bytes[..3]).unwrap().write(), &bytes[..3]);
            prop_assert_eq!(VideoOrientation::read(&bytes[..1]).unwrap().write(), &bytes[..1]);
            if let Some(delay) = PlayoutDelay::read(&bytes[..3]) {
                prop_assert_eq!(delay.write(), &bytes[..3]);
            }
        }

        #[test]
        fn spans_between_send_times_are_exact_to_their_unit(start in 0..u64::MAX / 2, span in 0..31_999_000_000_u64) {
            let (earlier, later) = (Time::from_nanos(start), Time::from_nanos(start + span));
            let measured = AbsSendTime::at(later).nanos_since(AbsSendTime::at(earlier));
            prop_assert!((measured - i64::try_from(span).unwrap()).abs() <= 3815, "{measured} for {span}");
        }
    }
}
