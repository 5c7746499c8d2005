//! One- and two-byte header extensions (RFC 8285): which ids mean what, and where each element lies.
//!
//! What the elements say is in [`value`], how a block is written in [`writer`].

pub mod value;
pub mod video_layers;
pub mod writer;

pub use value::{AbsCaptureTime, AbsSendTime, AudioLevel, PlayoutDelay, VideoOrientation};
pub use video_layers::VideoLayersAllocation;
pub use writer::ExtensionWriter;

use super::Header;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $uri:literal,)*) => {
        /// The header extensions that browsers offer and this core understands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ExtensionKind { $($(#[$doc])* $name,)* }

        impl ExtensionKind {
            /// Every kind, in the order of declaration.
            pub const ALL: [Self; [$($uri),*].len()] = [$(Self::$name),*];

            /// The name that SDP's `extmap` attribute gives it (RFC 8285 §5).
            pub const fn uri(self) -> &'static str {
                match self { $(Self::$name => $uri,)* }
            }
        }
    };
}

kinds! {
    /// RFC 9143.
    Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
    /// RFC 8852.
    Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    /// RFC 8852.
    RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    /// RFC 6464.
    AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    /// When the packet left its sender, for estimators on the receiving side.
    AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    /// A sequence number over all streams of a transport.
    TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    /// When the first frame of the packet was captured.
    AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    /// How long the receiver may hold frames back.
    PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    /// 3GPP TS 26.114 §7.4.5.
    VideoOrientation => "urn:3gpp:video-orientation",
    /// AV1 RTP payload specification, appendix A.
    DependencyDescriptor => "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    /// What each layer of each encoding is worth.
    VideoLayersAllocation => "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
}

impl ExtensionKind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The kind with this URI; none if the core does not know it. The case counts, as in SDP.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// The one-byte form's profile word (RFC 8285 §4.2).
pub const ONE_BYTE: u16 = 0xBEDE;
/// The two-byte form's profile word; the lowest four bits belong to the application (RFC 8285 §4.3).
pub const TWO_BYTE: u16 = 0x1000;

/// Where one element lies in its packet. An offset of 0 means "not there": the fixed header lies there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Element {
    offset: u16,
    len: u8,
}

/// Where each known extension lies in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    elements: [Element; ExtensionKind::COUNT],
}

impl Extensions {
    /// No extension at all.
    pub const NONE: Self = Self { elements: [Element { offset: 0, len: 0 }; ExtensionKind::COUNT] };

    /// Finds the elements of a packet whose header is parsed.
    ///
    /// Never fails: an element that does not fit ends the block, and what came before it counts (RFC 8285 §4.1.2). Of two
    /// elements with one id the last counts. Elements without a meaning in `map`, and blocks of another profile, are
    /// skipped.
    #[inline]
    pub fn parse(header: &Header, packet: &[u8], map: &ExtensionMap) -> Self {
        let mut found = Self::NONE;
        let start = usize::from(header.extension_offset);
        let end = start + usize::from(header.extension_len);
        // One slice that ends with the block keeps offsets from the packet's start and cannot run into the payload.
        let Some(block) = packet.get(..end) else { return found };
        match header.extension_profile {
            ONE_BYTE => found.parse_one_byte(block, start, map),
            profile if profile & 0xFFF0 == TWO_BYTE => found.parse_two_byte(block, start, map),
            _ => {}
        }
        found
    }

    fn parse_one_byte(&mut self, block: &[u8], mut at: usize, map: &ExtensionMap) {
        while let Some(&head) = block.get(at) {
            at += 1;
            if head == 0 {
                continue;
            }
            let id = head >> 4;
            let len = (head & 0x0F) + 1;
            // Padding with a length, and the id kept for the future: neither has a length to be trusted.
            if id == 0 || id == 15 || at + usize::from(len) > block.len() {
                return;
            }
            self.insert(map.slot(id), at, len);
            at += usize::from(len);
        }
    }

    fn parse_two_byte(&mut self, block: &[u8], mut at: usize, map: &ExtensionMap) {
        while let Some(&id) = block.get(at) {
            at += 1;
            if id == 0 {
                continue;
            }
            let Some(&len) = block.get(at) else { return };
            at += 1;
            if at + usize::from(len) > block.len() {
                return;
            }
            let slot = if id < 15 { map.slot(id) } else { map.slot_beyond_one_byte(id) };
            self.insert(slot, at, len);
            at += usize::from(len);
        }
    }

    #[inline]
    fn insert(&mut self, slot: u8, at: usize, len: u8) {
        if let Some(element) = self.elements.get_mut(usize::from(slot)) {
            // Lossless, since a header's offsets are 16 bits; and should a caller lie, "not there".
            *element = Element { offset: u16::try_from(at).unwrap_or(0), len };
        }
    }

    /// The bytes of one extension in `packet`, the packet this was parsed from; none if it is not there.
    #[inline]
    pub fn find<'a>(&self, kind: ExtensionKind, packet: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.offset(kind)?;
        packet.get(start..start + usize::from(self.elements.get(kind as usize)?.len))
    }

    /// Where the bytes of one extension begin in the packet, to overwrite them in place; none if it is not there.
    #[inline]
    pub fn offset(&self, kind: ExtensionKind) -> Option<usize> {
        self.elements
            .get(kind as usize)
            .filter(|element| element.offset != 0)
            .map(|element| usize::from(element.offset))
    }
}

/// What each extension id of a media section means (RFC 8285 §5): ids 1 to 14 fit the one-byte form, up to 255 the
/// two-byte form.
///
/// Small enough to copy. An id of the one-byte form costs one load; the rest, which browsers hand out only when they run
/// out of small ids, a look through eleven bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionMap {
    /// By kind, the id negotiated for it; 0 where there is none.
    ids: [u8; ExtensionKind::COUNT],
    /// By id of the one-byte form, the kind as a number; `UNKNOWN` where there is none.
    slots: [u8; 16],
}

/// Beyond the last kind, so that storing what it points at is the bounds check that has to be there anyway.
#[allow(clippy::cast_possible_truncation)]
const UNKNOWN: u8 = ExtensionKind::COUNT as u8;

impl ExtensionMap {
    /// No extension negotiated.
    pub const NONE: Self = Self { ids: [0; ExtensionKind::COUNT], slots: [UNKNOWN; 16] };

    /// Says that `id` means `kind`. An id of 0 takes the kind out again; an id that meant another kind no longer does.
    pub fn set(&mut self, kind: ExtensionKind, id: u8) {
        if id != 0 {
            self.ids.iter_mut().filter(|other| **other == id).for_each(|other| *other = 0);
        }
        if let Some(slot) = self.ids.get_mut(kind as usize) {
            *slot = id;
        }
        self.slots = [UNKNOWN; 16];
        for (slot, &id) in (0..).zip(&self.ids) {
            if let (1..=14, Some(entry)) = (id, self.slots.get_mut(usize::from(id))) {
                *entry = slot;
            }
        }
    }

    /// The id negotiated for `kind`.
    #[inline]
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        self.ids.get(kind as usize).copied().filter(|&id| id != 0)
    }

    /// The kind that `id` means.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        if id == 0 {
            return None;
        }
        ExtensionKind::ALL.into_iter().find(|&kind| self.id(kind) == Some(id))
    }

    /// The kinds negotiated, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> + '_ {
        ExtensionKind::ALL.into_iter().filter_map(|kind| Some((kind, self.id(kind)?)))
    }

    #[inline]
    fn slot(&self, id: u8) -> u8 {
        self.slots.get(usize::from(id & 0x0F)).copied().unwrap_or(UNKNOWN)
    }

    #[cold]
    fn slot_beyond_one_byte(&self, id: u8) -> u8 {
        (0..).zip(&self.ids).find(|&(_, &other)| other == id).map_or(UNKNOWN, |(slot, _)| slot)
    }
}

impl Default for ExtensionMap {
    fn default() -> Self {
        Self::NONE
    }
}

#[cfg(test)]
mod tests;
