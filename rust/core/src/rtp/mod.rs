//! RTP packets (RFC 3550 §5) and their header extensions (RFC 8285): where things lie, and how they are written.
//!
//! Nothing here knows of streams, encryption or codecs.

pub mod extension;
pub mod header;

pub use extension::{ExtensionKind, ExtensionMap, Extensions};
pub use header::Header;
