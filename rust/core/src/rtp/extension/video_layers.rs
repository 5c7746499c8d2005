//! The `video-layers-allocation00` extension: what a publisher spends on each layer of each encoding.
//!
//! Chrome sends it with keyframes and when its encoder's budget changes. It is how an SFU learns of an encoding's size
//! and rate before the first packet of it arrives.

use crate::units::Bitrate;

/// Up to 4 encodings of 4 spatial layers each, as the extension's bit fields have it.
const MAX_LAYERS: usize = 16;

/// What a publisher spends on each layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoLayersAllocation {
    /// Which encoding the packet belongs to, 0 the first that SDP lists; 0 to 3.
    pub encoding: u8,
    /// How many encodings there are, active or not; 1 to 4.
    pub encodings: u8,
    len: u8,
    layers: [SpatialLayer; MAX_LAYERS],
}

/// One active spatial layer of one encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpatialLayer {
    /// Which encoding, 0 to 3.
    pub encoding: u8,
    /// Spatial layer, 0 the smallest; 0 to 3.
    pub spatial: u8,
    /// How many temporal layers, 1 to 4.
    pub temporal_layers: u8,
    /// By temporal layer, the target for it and those below; zero above the last.
    pub targets: [Bitrate; 4],
    /// Size and rate, where the sender tells them.
    pub resolution: Option<Resolution>,
}

/// Size and rate of a layer's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Pixels, 1 to 65536.
    pub width: u32,
    /// Pixels, 1 to 65536.
    pub height: u32,
    /// Highest number of frames per second.
    pub frames_per_second: u8,
}

impl VideoLayersAllocation {
    /// Reads the element: at most 16 layers whatever it says. None where its counts do not fit its bytes.
    pub fn read(element: &[u8]) -> Option<Self> {
        let (&head, mut rest) = element.split_first()?;
        let mut allocation = Self {
            encoding: head >> 6,
            encodings: (head >> 4 & 0b11) + 1,
            len: 0,
            layers: [SpatialLayer::default(); MAX_LAYERS],
        };
        if element == [0] {
            // One zero byte says that nothing is sent; a layer mask would have to follow otherwise.
            return Some(allocation);
        }
        allocation.read_masks(head & 0x0F, &mut rest)?;
        allocation.read_temporal_counts(&mut rest)?;
        allocation.read_targets(&mut rest)?;
        allocation.read_resolutions(rest)?;
        Some(allocation)
    }

    /// The active layers, by encoding and then by spatial layer; none when nothing is sent.
    pub fn layers(&self) -> &[SpatialLayer] {
        self.layers.get(..usize::from(self.len)).unwrap_or(&[])
    }

    fn layers_mut(&mut self) -> &mut [SpatialLayer] {
        self.layers.get_mut(..usize::from(self.len)).unwrap_or(&mut [])
    }

    /// Which layers are active: one mask for all encodings in the head, or, where that is 0, a nibble for each.
    fn read_masks(&mut self, shared: u8, rest: &mut &[u8]) -> Option<()> {
        let mut masks = [shared; 4];
        if shared == 0 {
            let bytes = take(rest, usize::from(self.encodings.div_ceil(2)))?;
            for (pair, byte) in masks.chunks_exact_mut(2).zip(bytes) {
                pair.copy_from_slice(&[byte >> 4, byte & 0x0F]);
            }
        }
        for (encoding, mask) in (0..self.encodings).zip(masks) {
            for spatial in (0..4).filter(|spatial| mask >> spatial & 1 == 1) {
                *self.layers.get_mut(usize::from(self.len))? =
                    SpatialLayer { encoding, spatial, ..SpatialLayer::default() };
                self.len += 1;
            }
        }
        Some(())
    }

    /// How many temporal layers each has, less one: two bits, from the top of each byte.
    fn read_temporal_counts(&mut self, rest: &mut &[u8]) -> Option<()> {
        let bytes = take(rest, usize::from(self.len.div_ceil(4)))?;
        for (four, byte) in self.layers_mut().chunks_mut(4).zip(bytes) {
            for (layer, shift) in four.iter_mut().zip([6, 4, 2, 0]) {
                layer.temporal_layers = (byte >> shift & 0b11) + 1;
            }
        }
        Some(())
    }

    fn read_targets(&mut self, rest: &mut &[u8]) -> Option<()> {
        for layer in self.layers_mut() {
            for target in layer.targets.iter_mut().take(usize::from(layer.temporal_layers)) {
                *target = Bitrate::from_bps(u64::from(read_leb128(rest)?) * 1000);
            }
        }
        Some(())
    }

    /// Five bytes for each layer, or nothing at all.
    fn read_resolutions(&mut self, rest: &[u8]) -> Option<()> {
        if rest.is_empty() {
            return Some(());
        }
        let (resolutions, []) = rest.as_chunks::<5>() else { return None };
        if resolutions.len() != usize::from(self.len) {
            return None;
        }
        for (layer, &[w1, w2, h1, h2, frames_per_second]) in self.layers_mut().iter_mut().zip(resolutions) {
            let width = u32::from(u16::from_be_bytes([w1, w2])) + 1;
            let height = u32::from(u16::from_be_bytes([h1, h2])) + 1;
            layer.resolution = Some(Resolution { width, height, frames_per_second });
        }
        Some(())
    }
}

/// Cuts `count` bytes off the front.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// An unsigned number in groups of seven bits, the lowest first; none beyond 32 bits.
fn read_leb128(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let &[byte] = take(rest, 1)? else { return None };
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn kbps(kbps: u64) -> Bitrate {
        Bitrate::from_bps(kbps * 1000)
    }

    #[test]
    fn one_layer() {
        // Chrome's fake camera: 320x240 at 15 frames per second, 279 kbit/s.
        let allocation = VideoLayersAllocation::read(&[0x01, 0x00, 0x97, 0x02, 0x01, 0x3F, 0x00, 0xEF, 0x0F]).unwrap();
        assert_eq!((allocation.encoding, allocation.encodings), (0, 1));
        assert_eq!(
            allocation.layers(),
            [SpatialLayer {
                encoding: 0,
                spatial: 0,
                temporal_layers: 1,
                targets: [kbps(279), Bitrate::ZERO, Bitrate::ZERO, Bitrate::ZERO],
                resolution: Some(Resolution { width: 320, height: 240, frames_per_second: 15 }),
            }]
        );
    }

    #[test]
    fn a_mask_for_each_encoding() {
        // Encoding 2 of 3; the first has two spatial layers, the second none, the third one. No resolutions.
        let bytes = [0xA0, 0x30, 0x10, 0b01_00_10_00, 1, 2, 3, 4, 5, 6];
        let allocation = VideoLayersAllocation::read(&bytes).unwrap();
        assert_eq!((allocation.encoding, allocation.encodings), (2, 3));
        let summary: Vec<_> =
            allocation.layers().iter().map(|l| (l.encoding, l.spatial, l.temporal_layers, l.targets[0])).collect();
        assert_eq!(summary, [(0, 0, 2, kbps(1)), (0, 1, 1, kbps(3)), (2, 0, 3, kbps(4))]);
        assert_eq!(allocation.layers()[2].targets, [kbps(4), kbps(5), kbps(6), Bitrate::ZERO]);
        assert_eq!(allocation.layers()[0].resolution, None);
        assert_eq!(VideoLayersAllocation::read(&bytes[..9]), None, "a target is missing");
    }

    #[test]
    fn one_zero_byte_says_nothing_is_sent() {
        assert_eq!(VideoLayersAllocation::read(&[0]).unwrap().layers(), []);
        assert_eq!(VideoLayersAllocation::read(&[]), None);
    }

    #[test]
    fn the_largest_allocation_fits() {
        let mut bytes = vec![0x3F, 0xFF, 0xFF, 0xFF, 0xFF];
        bytes.extend([7; 64]);
        bytes.extend([0; 80]);
        let allocation = VideoLayersAllocation::read(&bytes).unwrap();
        assert_eq!(allocation.layers().len(), MAX_LAYERS);
        assert!(allocation.layers().iter().all(|layer| layer.targets == [kbps(7); 4] && layer.resolution.is_some()));
        bytes.push(0);
        assert_eq!(VideoLayersAllocation::read(&bytes), None);
    }

    #[test]
    fn numbers_beyond_32_bits_are_refused() {
        assert_eq!(read_leb128(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..]), Some(u32::MAX));
        assert_eq!(read_leb128(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0x1F][..]), None);
        assert_eq!(read_leb128(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(allocation) = VideoLayersAllocation::read(&bytes) {
                prop_assert!(allocation.layers().len() <= MAX_LAYERS);
                prop_assert!(allocation.layers().iter().all(|layer| layer.encoding < allocation.encodings));
            }
        }
    }
}
