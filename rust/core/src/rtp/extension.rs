//! One- and two-byte header extensions (RFC 8285): which ids mean what, and where each element lies.

/// The header extensions that browsers offer and this core understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExtensionKind {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    Rid,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRid,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    AudioLevel,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    AbsSendTime,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    TransportCc,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`.
    AbsCaptureTime,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`.
    PlayoutDelay,
    /// `urn:3gpp:video-orientation` (3GPP TS 26.114).
    VideoOrientation,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`.
    DependencyDescriptor,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00`.
    VideoLayersAllocation,
}

impl ExtensionKind {
    /// How many kinds there are.
    pub const COUNT: usize = 11;
}

/// Where one element lies in its packet; a length of 255 cannot occur and means "not there".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub const NONE: Self = Self { elements: [Element { offset: 0, len: 255 }; ExtensionKind::COUNT] };

    /// The bytes of one extension in `packet`, the packet this was parsed from; none if it is not there.
    pub fn find<'a>(&self, kind: ExtensionKind, packet: &'a [u8]) -> Option<&'a [u8]> {
        let element = self.elements.get(kind as usize)?;
        if element.len == 255 {
            return None;
        }
        let start = usize::from(element.offset);
        packet.get(start..start + usize::from(element.len))
    }
}

/// What each extension id of a media section means (RFC 8285 §5): ids 1 to 14 fit the one-byte form, up to 255 the two-byte form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionMap {
    /// By kind, the id negotiated for it; 0 where there is none.
    ids: [u8; ExtensionKind::COUNT],
}

impl ExtensionMap {
    /// No extension negotiated.
    pub const NONE: Self = Self { ids: [0; ExtensionKind::COUNT] };

    /// Says that `id` means `kind`. An id of 0 takes the kind out again.
    pub fn set(&mut self, kind: ExtensionKind, id: u8) {
        if let Some(slot) = self.ids.get_mut(kind as usize) {
            *slot = id;
        }
    }

    /// The id negotiated for `kind`.
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        self.ids.get(kind as usize).copied().filter(|&id| id != 0)
    }
}
