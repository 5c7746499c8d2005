//! RTP packets (RFC 3550 §5) and their header extensions (RFC 8285): where things lie, and how they are written.
//!
//! Nothing here knows of streams, encryption or codecs. Read a packet with [`Header::parse_clear`] (then
//! [`Header::unpad`], once decrypted) and [`Extensions::parse`]. Write one with [`FixedHeader`] and [`ExtensionWriter`].

pub mod clock;
pub mod extension;
pub mod header;
pub mod ntp;

pub use clock::ClockMap;
pub use extension::{ExtensionKind, ExtensionMap, ExtensionWriter, Extensions};
pub use header::{FixedHeader, Header};
pub use ntp::NtpTime;
