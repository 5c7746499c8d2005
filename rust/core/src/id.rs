//! Names for what a router holds: numbers that the owner of all workers hands out and never uses twice.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The `count`th of its kind on `worker`.
            pub const fn new(worker: u8, count: u64) -> Self {
                Self(((worker as u64) << 56) | (count & ((1 << 56) - 1)))
            }

            /// The name with this plain number.
            pub const fn from_u64(number: u64) -> Self {
                Self(number)
            }

            /// The worker it lives on, so that any worker knows where to turn.
            pub const fn worker(self) -> u8 {
                (self.0 >> 56) as u8
            }

            /// The plain number.
            pub const fn as_u64(self) -> u64 {
                self.0
            }
        }
    };
}

id! {
    /// One peer.
    TransportId
}
id! {
    /// A publisher's track.
    ReceiverId
}
id! {
    /// One subscriber's copy of a track.
    SenderId
}
id! {
    /// A room's exchange of data; of no worker, and told to all.
    HubId
}
id! {
    /// One who speaks and hears in a hub.
    MemberId
}
id! {
    /// A member's data track.
    DataTrackId
}
