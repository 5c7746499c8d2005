//! The dependency descriptor header extension (AV1 RTP payload specification, appendix A): read in full, rewritten in
//! part.
//!
//! One packet's bytes only. The template structure comes with the first packet of a coded video sequence and is needed
//! for all that follow; remembering it is the work of [`super::dependency`].

use super::Resolution;
use super::bits::{BitReader, BitWriter};

/// Templates that a structure can hold: their ids have six bits.
pub const MAX_TEMPLATES: usize = 64;
/// Decode targets that a structure can hold: their number has five bits.
pub const MAX_DECODE_TARGETS: usize = 32;
/// Spatial layers: AV1's spatial_id has two bits, and no codec in use goes beyond.
pub const MAX_SPATIAL: usize = 4;
/// Temporal layers: AV1's temporal_id has three bits.
pub const MAX_TEMPORAL: usize = 8;
/// References that a frame may list. The syntax has no limit; H.265 allows 16, AV1 seven.
pub const MAX_REFERENCES: usize = 16;

/// Where the frame number lies in a descriptor.
const FRAME_NUMBER: core::ops::Range<usize> = 1..3;
/// Length of the fields that every descriptor has, in bits.
const MANDATORY_BITS: usize = 24;

/// What a frame is to one decode target (DTI).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// `-`: no part of it.
    NotPresent,
    /// `D`: part of it, and no later frame of it is predicted from this one.
    Discardable,
    /// `S`: all later frames of it can be decoded if this one can.
    Switch,
    /// `R`: part of it, neither of the above.
    Required,
}

/// What a frame is to each decode target, two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indications(u64);

impl Indications {
    /// The indication for one decode target; [`Indication::NotPresent`] for a target there is not.
    pub const fn of(self, target: u8) -> Indication {
        if target as usize >= MAX_DECODE_TARGETS {
            return Indication::NotPresent;
        }
        match self.0 >> (target * 2) & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    fn read(reader: &mut BitReader<'_>, targets: u8) -> Option<Self> {
        let mut packed = 0;
        for target in 0..targets {
            packed |= u64::from(reader.bits(2)?) << (target * 2);
        }
        Some(Self(packed))
    }
}

/// The frames that a frame is predicted from, as differences of frame numbers, 1 to 4096.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct References {
    count: u8,
    differences: [u16; MAX_REFERENCES],
}

impl References {
    /// The differences, in the order of the wire.
    pub fn as_slice(&self) -> &[u16] {
        self.differences.get(..usize::from(self.count)).unwrap_or(&[])
    }

    fn push(&mut self, difference: u16) -> Option<()> {
        *self.differences.get_mut(usize::from(self.count))? = difference;
        self.count += 1;
        Some(())
    }
}

/// The previous frame of each chain, as differences of frame numbers; 0 where the chain starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chains {
    count: u8,
    differences: [u8; MAX_DECODE_TARGETS],
}

impl Chains {
    /// One difference per chain.
    pub fn as_slice(&self) -> &[u8] {
        self.differences.get(..usize::from(self.count)).unwrap_or(&[])
    }

    /// Reads `count` differences of `width` bits.
    fn read(reader: &mut BitReader<'_>, count: u8, width: u32) -> Option<Self> {
        let mut chains = Self { count, ..Self::default() };
        for difference in chains.differences.get_mut(..usize::from(count))? {
            *difference = reader.bits8(width)?;
        }
        Some(chains)
    }
}

/// The layers of each decode target: the highest that any template puts into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeTargets {
    count: u8,
    layers: [(u8, u8); MAX_DECODE_TARGETS],
}

impl DecodeTargets {
    /// Spatial and temporal layer of each decode target, in the structure's order (highest first, by custom).
    pub fn as_slice(&self) -> &[(u8, u8)] {
        self.layers.get(..usize::from(self.count)).unwrap_or(&[])
    }

    /// How many there are, 1 to 32.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// The mask for [`ActiveTargets`] of all decode targets with no layer above `spatial` and `temporal`.
    pub fn up_to(&self, spatial: u8, temporal: u8) -> ActiveTargets {
        let mask = (self.as_slice().iter().enumerate())
            .filter(|(_, (s, t))| *s <= spatial && *t <= temporal)
            .fold(0, |mask, (target, _)| mask | 1 << target);
        ActiveTargets { mask, count: self.count }
    }
}

/// The active decode targets: those a receiver may still expect frames of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveTargets {
    /// Bit n for decode target n.
    pub mask: u32,
    /// How many decode targets the structure has, 1 to 32: the width of the mask on the wire.
    pub count: u8,
}

/// What frames of one kind have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Spatial layer, 0 to 3.
    pub spatial: u8,
    /// Temporal layer, 0 to 7.
    pub temporal: u8,
    /// What such a frame is to each decode target.
    pub indications: Indications,
    reference_count: u8,
    /// Differences less one, four bits each.
    references: u64,
    /// Four bits each.
    chains: [u8; MAX_DECODE_TARGETS / 2],
}

impl Template {
    /// The frames that such a frame is predicted from, each difference 1 to 16.
    pub fn references(&self) -> References {
        let mut references = References { count: self.reference_count, ..References::default() };
        for (i, difference) in references.differences.iter_mut().take(usize::from(self.reference_count)).enumerate() {
            *difference = 1 + u16::from((self.references >> (i * 4)).to_le_bytes()[0] & 0xF);
        }
        references
    }

    /// The previous frame of each of `count` chains, each difference 0 to 15.
    fn chains(&self, count: u8) -> Chains {
        let mut chains = Chains { count, ..Chains::default() };
        let pairs = self.chains.iter().flat_map(|&pair| [pair >> 4, pair & 0xF]);
        for (difference, packed) in chains.differences.iter_mut().zip(pairs).take(usize::from(count)) {
            *difference = packed;
        }
        chains
    }
}

/// The template dependency structure: how the frames of a coded video sequence depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    id_offset: u8,
    template_count: u8,
    chain_count: u8,
    max_spatial: u8,
    targets: DecodeTargets,
    protected_by: [u8; MAX_DECODE_TARGETS],
    resolutions: Option<[Resolution; MAX_SPATIAL]>,
    templates: [Template; MAX_TEMPLATES],
}

impl Structure {
    /// The template that a frame's `frame_dependency_template_id` means; none if this structure has no such template.
    pub fn template(&self, id: u8) -> Option<&Template> {
        let index = id.wrapping_sub(self.id_offset) & 63;
        self.templates().get(usize::from(index))
    }

    /// All templates, ordered by spatial, then temporal layer.
    pub fn templates(&self) -> &[Template] {
        self.templates.get(..usize::from(self.template_count)).unwrap_or(&[])
    }

    /// The layers of each decode target.
    pub const fn decode_targets(&self) -> DecodeTargets {
        self.targets
    }

    /// Which chain protects each decode target; empty if there are no chains.
    pub fn protected_by(&self) -> &[u8] {
        let count = if self.chain_count == 0 { 0 } else { self.targets.count };
        self.protected_by.get(..usize::from(count)).unwrap_or(&[])
    }

    /// How many chains there are, 0 to 32.
    pub const fn chain_count(&self) -> u8 {
        self.chain_count
    }

    /// The size of each spatial layer from 0 up, where sizes are sent.
    pub fn resolutions(&self) -> Option<&[Resolution]> {
        self.resolutions.as_ref()?.get(..=usize::from(self.max_spatial))
    }

    /// Reads a structure; none if it is cut off or goes beyond a limit of this module.
    fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        let mut structure = Self {
            id_offset: reader.bits8(6)?,
            template_count: 0,
            chain_count: 0,
            max_spatial: 0,
            targets: DecodeTargets { count: reader.bits8(5)? + 1, layers: [(0, 0); MAX_DECODE_TARGETS] },
            protected_by: [0; MAX_DECODE_TARGETS],
            resolutions: None,
            templates: [Template::default(); MAX_TEMPLATES],
        };
        structure.read_layers(reader)?;
        let count = usize::from(structure.template_count);
        for template in structure.templates.iter_mut().take(count) {
            template.indications = Indications::read(reader, structure.targets.count)?;
        }
        for template in structure.templates.iter_mut().take(count) {
            while reader.flag()? {
                if usize::from(template.reference_count) == MAX_REFERENCES {
                    return None;
                }
                template.references |= u64::from(reader.bits(4)?) << (template.reference_count * 4);
                template.reference_count += 1;
            }
        }
        structure.read_chains(reader)?;
        structure.derive_targets();
        if reader.flag()? {
            let mut sizes = [Resolution::default(); MAX_SPATIAL];
            for size in sizes.iter_mut().take(usize::from(structure.max_spatial) + 1) {
                // Each is sent less one; 65536 pixels are told as 65535.
                let width = reader.bits16(16)?.saturating_add(1);
                *size = Resolution { width, height: reader.bits16(16)?.saturating_add(1) };
            }
            structure.resolutions = Some(sizes);
        }
        Some(structure)
    }

    /// `template_layers`: each template's layers, told as steps from the one before.
    fn read_layers(&mut self, reader: &mut BitReader<'_>) -> Option<()> {
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            let template = self.templates.get_mut(usize::from(self.template_count))?;
            (template.spatial, template.temporal) = (spatial, temporal);
            self.template_count += 1;
            match reader.bits(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => break,
            }
            if usize::from(spatial) >= MAX_SPATIAL || usize::from(temporal) >= MAX_TEMPORAL {
                return None;
            }
        }
        self.max_spatial = spatial;
        Some(())
    }

    /// `template_chains`: which chain protects which target, and each template's place in the chains.
    fn read_chains(&mut self, reader: &mut BitReader<'_>) -> Option<()> {
        self.chain_count = reader.below(self.targets.count + 1)?;
        if self.chain_count == 0 {
            return Some(());
        }
        for chain in self.protected_by.iter_mut().take(usize::from(self.targets.count)) {
            *chain = reader.below(self.chain_count)?;
        }
        for template in self.templates.iter_mut().take(usize::from(self.template_count)) {
            for chain in 0..self.chain_count {
                let pair = template.chains.get_mut(usize::from(chain / 2))?;
                *pair |= reader.bits8(4)? << if chain % 2 == 0 { 4 } else { 0 };
            }
        }
        Some(())
    }

    /// `decode_target_layers`: the highest layers among the templates present in each target.
    fn derive_targets(&mut self) {
        let templates = self.templates.get(..usize::from(self.template_count)).unwrap_or(&[]);
        for (target, layers) in (0..self.targets.count).zip(&mut self.targets.layers) {
            for template in templates.iter().filter(|t| t.indications.of(target) != Indication::NotPresent) {
                *layers = (layers.0.max(template.spatial), layers.1.max(template.temporal));
            }
        }
    }
}

/// A descriptor up to where the structure is needed to read on.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// First packet of its frame.
    pub start_of_frame: bool,
    /// Last packet of its frame.
    pub end_of_frame: bool,
    /// `frame_dependency_template_id`, 0 to 63.
    pub template_id: u8,
    /// `frame_number`, in decoding order, over all layers.
    pub frame_number: u16,
    /// A structure starts with this packet.
    pub has_structure: bool,
    flags: Flags,
    rest: BitReader<'a>,
}

/// The flags of the extended fields; a descriptor of three bytes has none of them set.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    active_targets: bool,
    custom_indications: bool,
    custom_references: bool,
    custom_chains: bool,
}

/// What a descriptor says of its frame, templates filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Spatial layer, 0 to 3.
    pub spatial: u8,
    /// Temporal layer, 0 to 7.
    pub temporal: u8,
    /// What the frame is to each decode target.
    pub indications: Indications,
    /// The frames it is predicted from.
    pub references: References,
    /// The previous frame of each chain.
    pub chains: Chains,
    /// The mask of active decode targets, if it changes here.
    pub active: Option<u32>,
}

impl<'a> Header<'a> {
    /// Reads a descriptor up to the end of its structure, and that into `structure`, which is none afterwards if the
    /// packet brings none. None if the descriptor is cut off or its structure goes beyond a limit.
    ///
    /// The structure has its own place because it is 2.7 kB: handing it back would copy that much for every packet.
    pub fn parse(descriptor: &'a [u8], structure: &mut Option<Structure>) -> Option<Self> {
        *structure = None;
        let mut reader = BitReader::new(descriptor);
        let mut header = Self {
            start_of_frame: reader.flag()?,
            end_of_frame: reader.flag()?,
            template_id: reader.bits8(6)?,
            frame_number: reader.bits16(16)?,
            has_structure: false,
            flags: Flags::default(),
            rest: reader,
        };
        if reader.remaining() > 0 {
            header.has_structure = reader.flag()?;
            header.flags = Flags {
                active_targets: reader.flag()?,
                custom_indications: reader.flag()?,
                custom_references: reader.flag()?,
                custom_chains: reader.flag()?,
            };
            if header.has_structure {
                *structure = Some(Structure::read(&mut reader)?);
            }
            header.rest = reader;
        }
        Some(header)
    }

    /// Reads on with the structure that holds for this packet, its own if it brought one.
    ///
    /// None if the descriptor is cut off, lists too many references, or names a template that the structure does not
    /// have.
    pub fn frame(&self, structure: &Structure) -> Option<Frame> {
        let mut reader = self.rest;
        let template = structure.template(self.template_id)?;
        let targets = structure.targets.count;
        Some(Frame {
            spatial: template.spatial,
            temporal: template.temporal,
            active: if self.flags.active_targets { Some(reader.bits(u32::from(targets))?) } else { None },
            indications: if self.flags.custom_indications {
                Indications::read(&mut reader, targets)?
            } else {
                template.indications
            },
            references: if self.flags.custom_references {
                read_references(&mut reader)?
            } else {
                template.references()
            },
            chains: if self.flags.custom_chains {
                Chains::read(&mut reader, structure.chain_count, 8)?
            } else {
                template.chains(structure.chain_count)
            },
        })
    }
}

/// `frame_fdiffs`: differences of 4, 8 or 12 bits.
fn read_references(reader: &mut BitReader<'_>) -> Option<References> {
    let mut references = References::default();
    loop {
        let size = reader.bits(2)?;
        if size == 0 {
            return Some(references);
        }
        references.push(reader.bits16(size * 4)? + 1)?;
    }
}

/// Adds `offset` to the frame number of a copy of a descriptor, wrapping; a slice under three bytes stays as it is.
///
/// References are differences, so one offset per source keeps a subscriber's numbers continuous over a switch, and
/// frames left out leave holes that its decoder expects.
pub fn shift_frame_number(copy: &mut [u8], offset: u16) {
    if let Some([high, low]) = copy.get_mut(FRAME_NUMBER) {
        [*high, *low] = u16::from_be_bytes([*high, *low]).wrapping_add(offset).to_be_bytes();
    }
}

/// Writes a subscriber's copy of `descriptor` to `out`: the frame number shifted by `offset`, wrapping, and the active
/// decode targets replaced, where given. Returns how many bytes were written.
///
/// With `active`, a descriptor of three bytes gets the extended fields, 5 + count bits, and one that had no mask yet
/// grows by as much; a structure in it decides the width of the mask. None if `descriptor` does not parse or `out` is
/// too short: `descriptor.len() + 5` is always enough.
pub fn write(descriptor: &[u8], offset: u16, active: Option<ActiveTargets>, out: &mut [u8]) -> Option<usize> {
    let Some(active) = active else {
        if descriptor.len() * 8 < MANDATORY_BITS {
            return None;
        }
        let copy = out.get_mut(..descriptor.len())?;
        copy.copy_from_slice(descriptor);
        shift_frame_number(copy, offset);
        return Some(descriptor.len());
    };
    let mut structure = None;
    let header = Header::parse(descriptor, &mut structure)?;
    let count = structure.map_or(active.count, |s| s.targets.count);
    let width = u32::from(count);
    let mut writer = BitWriter::new(out);
    let mut reader = BitReader::new(descriptor);
    writer.bits(reader.bits(8)?, 8)?;
    writer.bits(u32::from(header.frame_number.wrapping_add(offset)), 16)?;
    reader.bits(16)?;
    let custom = header.flags;
    let flags = [header.has_structure, true, custom.custom_indications, custom.custom_references, custom.custom_chains];
    for flag in flags {
        writer.bits(u32::from(flag), 1)?;
    }
    if reader.remaining() == 0 {
        writer.bits(active.mask, width)?;
        return writer.finish();
    }
    reader.bits(5)?;
    writer.copy(&mut reader, header.rest.position() - MANDATORY_BITS - 5)?;
    if header.flags.active_targets {
        reader.bits(width)?;
    }
    writer.bits(active.mask, width)?;
    let rest = reader.remaining();
    writer.copy(&mut reader, rest)?;
    writer.finish()
}

#[cfg(test)]
pub(super) mod tests;
