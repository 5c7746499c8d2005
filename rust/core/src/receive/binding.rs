//! Which encoding of which receiver a packet belongs to (RFC 9143 §9.2, RFC 8852): by what it says of itself, else by its
//! SSRC, else by its payload type; learned once, then looked up.

use core::time::Duration;

use super::ssrcs::{Entry, SsrcTable};
use crate::drop::Drop;
use crate::parameters::{EncodingParameters, ReceiverParameters};
use crate::rtp::{ExtensionKind, Extensions, Header};
use crate::time::Time;
use crate::units::{Mid, Pt, Rid, Ssrc};

/// SSRCs that one peer may have bound at a time: ten cameras of three encodings with retransmissions are 60.
pub const MAX_SSRCS: usize = 64;

/// After an encoding changed its SSRC it keeps the new one for so long: late packets of the old one, which still carry
/// mid and rid, do not take it back, and a peer that changes with every packet restarts little.
const HOLD: Duration = Duration::from_millis(250);

/// A payload type alone takes an encoding only from an SSRC silent for so long. Telephones change SSRC within a call and
/// say nothing; a peer that sends two SSRCs at once must say which is which.
const SILENCE: Duration = Duration::from_millis(500);

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Media as sent first.
    Media,
    /// Retransmissions (RFC 4588).
    Rtx,
    /// Repair packets (flexfec-03), and what was recovered from them.
    Fec,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The receiver, by the number it was added with.
    pub receiver: u16,
    /// The encoding, an index into `ReceiverParameters::encodings`.
    pub encoding: u8,
    /// Media or its retransmissions.
    pub flow: Flow,
}

/// What a packet says of itself in header extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identifiers {
    /// Its media section.
    pub mid: Option<Mid>,
    /// Its encoding.
    pub rid: Option<Rid>,
    /// The encoding that it retransmits.
    pub repaired_rid: Option<Rid>,
}

impl Identifiers {
    /// Reads them from the packet that `extensions` was parsed from.
    pub fn read(extensions: &Extensions, packet: &[u8]) -> Self {
        Self {
            mid: extensions.find(ExtensionKind::Mid, packet).and_then(Mid::new),
            rid: extensions.find(ExtensionKind::Rid, packet).and_then(Rid::new),
            repaired_rid: extensions.find(ExtensionKind::RepairedRid, packet).and_then(Rid::new),
        }
    }

    fn encoding(&self) -> Option<Rid> {
        self.repaired_rid.or(self.rid)
    }
}

/// Why a receiver cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Its mid belongs to another receiver: take the other out first.
    MidTaken,
    /// One of its SSRCs was announced for another encoding: make SSRCs unique.
    SsrcTaken,
    /// There are as many receivers as SSRCs are allowed: end some.
    TooManyReceivers,
}

/// The SSRCs of one transport and what they are bound to.
#[derive(Clone, Debug)]
pub struct Bindings {
    table: SsrcTable<Place>,
    /// Indexed by [`Place::section`]; a section that ended leaves a hole for the next.
    sections: Vec<Option<Section>>,
    by_payload_type: [Claim; 128],
}

/// Whether a payload type tells the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Nobody,
    One(u16),
    Several,
}

/// One flow of one encoding of one section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    section: u16,
    encoding: u8,
    flow: Flow,
}

/// How sure a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// Announced, or the packet says so itself.
    Named,
    /// No other section has the payload type.
    PayloadType,
}

#[derive(Clone, Debug)]
struct Section {
    receiver: u16,
    mid: Option<Mid>,
    payload_types: Vec<(Pt, Flow)>,
    encodings: Vec<Encoding>,
}

#[derive(Clone, Copy, Debug)]
struct Encoding {
    announced: EncodingParameters,
    media: Holder,
    rtx: Holder,
    fec: Holder,
}

/// Who holds a place now.
#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    ssrc: Option<Ssrc>,
    /// When it was taken from another SSRC.
    taken_at: Option<Time>,
}

impl Bindings {
    /// Nothing bound; at most `max_ssrcs` SSRCs at a time.
    pub fn new(max_ssrcs: usize) -> Self {
        Self { table: SsrcTable::new(max_ssrcs), sections: Vec::new(), by_payload_type: [Claim::Nobody; 128] }
    }

    /// Expects the packets of a receiver, which [`Route::receiver`] will name by `receiver`.
    pub fn add(&mut self, receiver: u16, parameters: &ReceiverParameters) -> Result<(), BindError> {
        if parameters.mid.is_some() && self.live().any(|(_, section)| section.mid == parameters.mid) {
            return Err(BindError::MidTaken);
        }
        let mut announced = parameters.encodings.iter().flat_map(|e| [e.ssrc, e.rtx_ssrc, e.fec_ssrc]).flatten();
        if announced.any(|ssrc| self.announced(ssrc, &Identifiers::default()).is_some()) {
            return Err(BindError::SsrcTaken);
        }
        let free = self.sections.iter().position(Option::is_none).unwrap_or(self.sections.len());
        if free >= self.table.limit() {
            return Err(BindError::TooManyReceivers);
        }
        let section = Some(Section::new(receiver, parameters));
        match self.sections.get_mut(free) {
            Some(hole) => *hole = section,
            None => self.sections.push(section),
        }
        self.claim_payload_types();
        Ok(())
    }

    /// Forgets a receiver and its SSRCs, and tells `gone` of each that packets came from.
    pub fn remove(&mut self, receiver: u16, gone: impl FnMut(Ssrc)) {
        for slot in &mut self.sections {
            slot.take_if(|section| section.receiver == receiver);
        }
        let sections = &self.sections;
        self.table.retain(|place| sections.get(usize::from(place.section)).is_some_and(Option::is_some), gone);
        self.claim_payload_types();
    }

    /// The route of a packet, learned if it is new.
    ///
    /// A known SSRC costs one search. Fails with [`Drop::UnknownSsrc`] where nothing tells the encoding or another SSRC
    /// holds it, [`Drop::UnknownPayloadType`] where the section did not negotiate it, [`Drop::TooManySsrcs`].
    pub fn bind(&mut self, now: Time, header: &Header, said: &Identifiers) -> Result<Route, Drop> {
        let ssrc = header.ssrc;
        if let Some(entry) = self.table.get_mut(ssrc)
            && let Some(section) = self.sections.get(usize::from(entry.value.section)).and_then(Option::as_ref)
            && section.agrees(entry.value, said)
        {
            entry.heard_at = now;
            return Ok(section.route(entry.value));
        }
        let (place, evidence) = self.resolve(ssrc, header.payload_type, said)?;
        self.take(now, ssrc, place, evidence)?;
        self.section(place.section).map(|section| section.route(place)).ok_or(Drop::UnknownSsrc)
    }

    /// The route of an SSRC that packets have come from, for RTCP about it.
    pub fn route(&self, ssrc: Ssrc) -> Option<Route> {
        let place = self.table.get(ssrc)?.value;
        Some(self.section(place.section)?.route(place))
    }

    /// Lets an SSRC go (BYE, RFC 3550 §6.6), and says where it was bound.
    ///
    /// An announced SSRC finds its encoding again when it comes back.
    pub fn unbind(&mut self, ssrc: Ssrc) -> Option<Route> {
        let route = self.route(ssrc);
        if let Some(entry) = self.table.remove(ssrc)
            && let Some(holder) = self.holder_mut(entry.value)
        {
            *holder = Holder::default();
        }
        route
    }

    /// How many SSRCs are bound.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is bound.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where an SSRC not known yet belongs, in the order of RFC 9143 §9.2 with RFC 8852 within the section.
    fn resolve(&self, ssrc: Ssrc, pt: Pt, said: &Identifiers) -> Result<(Place, Evidence), Drop> {
        if let Some(place) = self.announced(ssrc, said) {
            return Ok((place, Evidence::Named));
        }
        let (index, section) = match said.mid {
            Some(mid) => self.live().find(|(_, section)| section.mid == Some(mid)).ok_or(Drop::UnknownSsrc)?,
            None => match self.by_payload_type.get(usize::from(pt.0)) {
                Some(&Claim::One(index)) => (index, self.section(index).ok_or(Drop::UnknownSsrc)?),
                Some(Claim::Several) => return Err(Drop::UnknownSsrc),
                Some(Claim::Nobody) | None => return Err(Drop::UnknownPayloadType),
            },
        };
        let flow = section.flow(pt).ok_or(Drop::UnknownPayloadType)?;
        let encoding = section.encoding(said.encoding()).ok_or(Drop::UnknownSsrc)?;
        let is_named = said.mid.is_some() || said.encoding().is_some();
        let evidence = if is_named { Evidence::Named } else { Evidence::PayloadType };
        Ok((Place { section: index, encoding, flow }, evidence))
    }

    /// The place that an SSRC was announced for, unless the packet says otherwise.
    fn announced(&self, ssrc: Ssrc, said: &Identifiers) -> Option<Place> {
        self.live().find_map(|(index, section)| {
            (0u8..).zip(&section.encodings).find_map(|(encoding, Encoding { announced, .. })| {
                let flow = if announced.ssrc == Some(ssrc) {
                    Flow::Media
                } else if announced.rtx_ssrc == Some(ssrc) {
                    Flow::Rtx
                } else if announced.fec_ssrc == Some(ssrc) {
                    Flow::Fec
                } else {
                    return None;
                };
                let place = Place { section: index, encoding, flow };
                section.agrees(place, said).then_some(place)
            })
        })
    }

    /// Gives `place` to `ssrc`, which lets go of what it held, as does whoever held the place.
    fn take(&mut self, now: Time, ssrc: Ssrc, place: Place, evidence: Evidence) -> Result<(), Drop> {
        let holder = self.holder_mut(place).map(|holder| *holder).ok_or(Drop::UnknownSsrc)?;
        let mut taken_at = holder.taken_at;
        if let Some(before) = holder.ssrc
            && before != ssrc
        {
            let is_held = holder.taken_at.is_some_and(|at| now.since(at) < HOLD);
            let heard_at = self.table.get(before).map_or(Time::ZERO, |entry| entry.heard_at);
            if is_held || evidence == Evidence::PayloadType && now.since(heard_at) < SILENCE {
                return Err(Drop::UnknownSsrc);
            }
            self.table.remove(before);
            taken_at = Some(now);
        }
        self.unbind(ssrc);
        self.table.insert(Entry { ssrc, heard_at: now, value: place }).map_err(|_| Drop::TooManySsrcs)?;
        if let Some(holder) = self.holder_mut(place) {
            *holder = Holder { ssrc: Some(ssrc), taken_at };
        }
        Ok(())
    }

    fn claim_payload_types(&mut self) {
        let mut claims = [Claim::Nobody; 128];
        for (index, section) in self.live() {
            for (pt, _) in &section.payload_types {
                if let Some(claim) = claims.get_mut(usize::from(pt.0)) {
                    *claim = match *claim {
                        Claim::Nobody => Claim::One(index),
                        Claim::One(other) if other == index => Claim::One(index),
                        Claim::One(_) | Claim::Several => Claim::Several,
                    };
                }
            }
        }
        self.by_payload_type = claims;
    }

    fn live(&self) -> impl Iterator<Item = (u16, &Section)> {
        (0u16..).zip(&self.sections).filter_map(|(index, section)| Some((index, section.as_ref()?)))
    }

    fn section(&self, index: u16) -> Option<&Section> {
        self.sections.get(usize::from(index))?.as_ref()
    }

    fn holder_mut(&mut self, place: Place) -> Option<&mut Holder> {
        let section = self.sections.get_mut(usize::from(place.section))?.as_mut()?;
        let encoding = section.encodings.get_mut(usize::from(place.encoding))?;
        Some(match place.flow {
            Flow::Media => &mut encoding.media,
            Flow::Rtx => &mut encoding.rtx,
            Flow::Fec => &mut encoding.fec,
        })
    }
}

impl Default for Bindings {
    fn default() -> Self {
        Self::new(MAX_SSRCS)
    }
}

impl Section {
    fn new(receiver: u16, parameters: &ReceiverParameters) -> Self {
        let mut payload_types = Vec::new();
        for codec in &parameters.codecs {
            payload_types.push((codec.payload_type, Flow::Media));
            payload_types.extend(codec.rtx.map(|pt| (pt, Flow::Rtx)));
        }
        payload_types.extend(parameters.fec.map(|pt| (pt, Flow::Fec)));
        let holder = Holder::default();
        let encoding = |&announced| Encoding { announced, media: holder, rtx: holder, fec: holder };
        let encodings = parameters.encodings.iter().map(encoding).collect();
        Self { receiver, mid: parameters.mid, payload_types, encodings }
    }

    const fn route(&self, place: Place) -> Route {
        Route { receiver: self.receiver, encoding: place.encoding, flow: place.flow }
    }

    fn flow(&self, pt: Pt) -> Option<Flow> {
        self.payload_types.iter().find(|(known, _)| *known == pt).map(|&(_, flow)| flow)
    }

    /// The encoding with this rid. Without rids there is one encoding, or nothing to tell them by.
    fn encoding(&self, rid: Option<Rid>) -> Option<u8> {
        match (self.encodings.as_slice(), rid) {
            // A browser may send a rid that the answer refused together with simulcast.
            ([only], Some(_)) if only.announced.rid.is_none() => Some(0),
            ([_], None) => Some(0),
            (several, Some(rid)) => {
                (0u8..).zip(several).find(|(_, e)| e.announced.rid == Some(rid)).map(|(index, _)| index)
            }
            (_, None) => None,
        }
    }

    /// Whether what a packet says of itself fits this place.
    fn agrees(&self, place: Place, said: &Identifiers) -> bool {
        let is_mid_same = said.mid.is_none() || self.mid.is_none() || said.mid == self.mid;
        let rid = self.encodings.get(usize::from(place.encoding)).and_then(|encoding| encoding.announced.rid);
        is_mid_same && (rid.is_none() || said.encoding().is_none() || said.encoding() == rid)
    }
}

#[cfg(test)]
mod tests;
