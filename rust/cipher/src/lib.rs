//! The two SRTP ciphers, keyed once.
