//! What a publisher's stream lost and its repair packets (FlexFEC) make again: it goes on as if it had come, and is not asked for.
//!
//! Repair packets end here: subscribers have their own numbers, and get repair packets of their own where those help.

use super::{Intake, Router};
use crate::drop::Drop;
use crate::fec::flexfec;
use crate::receive::{Flow, Route};
use crate::rtp::{Extensions, Header};
use crate::store::PacketRef;
use crate::time::Time;

impl Router {
    /// A repair packet, decrypted, whose payload is in `self.scratch`.
    pub(super) fn handle_repair(
        &mut self,
        now: Time,
        index: usize,
        feed_index: usize,
        route: Route,
        header: &Header,
    ) -> Result<(), Drop> {
        let Self { feeds, store, scratch, .. } = self;
        let intake = feeds.get_mut(feed_index).and_then(|feed| feed.intake.as_mut()).ok_or(Drop::UnknownSsrc)?;
        let Intake { receiver, recovery: Some(recovery), .. } = &mut **intake else { return Err(Drop::UnknownSsrc) };
        receiver.accept_repair(now, route, header, scratch.len())?;
        let ssrc = receiver.ssrc(route.encoding).ok_or(Drop::BadFec)?;
        let repair = flexfec::parse(scratch).ok_or(Drop::BadFec)?;
        let find = |reference| store.find(reference).map(|(packet, bytes, _)| (bytes, &packet.extensions));
        if !recovery.repair(&repair, ssrc, find) {
            return Err(Drop::BadFec);
        }
        self.recover(now, index, feed_index, route);
        Ok(())
    }

    /// Notes a packet of a protected stream, as it came or as it was recovered; then [`recover`](Self::recover).
    pub(super) fn note_protected(&mut self, feed_index: usize, reference: PacketRef) {
        let Self { feeds, store, .. } = self;
        let intake = feeds.get_mut(feed_index).and_then(|feed| feed.intake.as_mut());
        if let Some(recovery) = intake.and_then(|intake| intake.recovery.as_mut())
            && let Some((packet, bytes, _)) = store.find(reference)
        {
            recovery.media(reference, bytes, &packet.extensions);
        }
    }

    /// Takes in whatever can be recovered now of the encoding that `route` names.
    pub(super) fn recover(&mut self, now: Time, index: usize, feed_index: usize, route: Route) {
        let route = Route { flow: Flow::Fec, ..route };
        loop {
            let Self { feeds, store, transports, .. } = self;
            let Some(transport) = transports.get(index) else { return };
            let Some(intake) = feeds.get_mut(feed_index).and_then(|feed| feed.intake.as_mut()) else { return };
            let Intake { receiver, recovery: Some(recovery), .. } = &mut **intake else { return };
            let Some(ssrc) = receiver.ssrc(route.encoding) else { return };
            let slot = store.reserve();
            let Some(len) = recovery.poll(ssrc, slot) else { return };
            let Some(packet) = slot.get(..len) else { return };
            let Ok(header) = Header::parse(packet) else { return };
            let extensions = Extensions::parse(&header, packet, &transport.extensions);
            match super::receive::take_in(now, intake, route, &header, extensions, packet) {
                Ok((_, packet, _)) => {
                    let reference = self.store.commit(super::narrow(feed_index), packet, len);
                    self.note_protected(feed_index, reference);
                    self.fan_out(now, feed_index, reference);
                }
                // It came after all.
                Err(reason) => self.count_drop(Some(index), reason),
            }
        }
    }
}
