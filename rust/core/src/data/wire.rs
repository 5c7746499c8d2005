//! As much of the protobuf wire format as an envelope needs: fields one after the other, each with the bytes it came in.
//!
//! Groups, deprecated for longer than anything here exists, are refused. Nothing nests by itself: who knows that a field is
//! a message walks it with another [`Fields`], so that depth is bounded by the code and not by the input.

/// What a field carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// int32, uint32, int64, uint64, bool, enum.
    Varint(u64),
    /// string, bytes, an embedded message, packed numbers.
    Bytes(&'a [u8]),
    /// fixed32, fixed64, float, double: nothing in an envelope is one, so that they are only passed on.
    Fixed,
}

/// One field as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
    /// Tag, length and value.
    pub(super) raw: &'a [u8],
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fields of one message, in their order; ends after the first that is malformed.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn read(&self) -> Option<(Field<'a>, &'a [u8])> {
        let (tag, rest) = varint(self.0)?;
        // Some readers cut a tag off at 32 bits: it must not mean to them what it does not mean to us.
        let tag = u32::try_from(tag).ok()?;
        let number = tag >> 3;
        let (value, rest) = match tag & 7 {
            0 => varint(rest).map(|(value, rest)| (Value::Varint(value), rest))?,
            1 => (Value::Fixed, rest.get(8..)?),
            2 => {
                let (len, rest) = varint(rest)?;
                let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
                (Value::Bytes(value), rest)
            }
            5 => (Value::Fixed, rest.get(4..)?),
            _ => return None,
        };
        let raw = self.0.get(..self.0.len() - rest.len())?;
        (number > 0).then_some((Field { number, value, raw }, rest))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        self.0 = read.map_or(&[], |(_, rest)| rest);
        Some(read.map(|(field, _)| field).ok_or(Malformed))
    }
}

/// A number of at most ten bytes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has room for one bit.
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7F);
        }
        out.push(low | 0x80);
    }
}

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, value);
}

/// Appends a string, bytes or an embedded message, though it be empty.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a string, unless it is empty: then its absence says the same.
pub(super) fn put_text(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        put_bytes(out, field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_with_their_bytes() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1D, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields: Vec<_> = Fields::of(&bytes).map(Result::unwrap).collect();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(fields[0].value, Value::Varint(150));
        assert_eq!(fields[1].value, Value::Bytes(b"hi"));
        assert_eq!(fields.iter().flat_map(|field| field.raw).copied().collect::<Vec<_>>(), bytes);
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for bytes in [
            &[0x08][..],                                                         // a tag without a value
            &[0x00, 0x01],                                                       // field 0
            &[0x0B],                                                             // a group
            &[0x12, 0x05, b'x'],                                                 // longer than there are bytes
            &[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], // longer than any memory
            &[0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], // more than 64 bits
            &[0xA2, 0x80, 0x80, 0x80, 0x10, 0x01, b'x'],                         // a tag of more than 32 bits
            &[0x1D, 1, 2, 3],
        ] {
            assert_eq!(Fields::of(bytes).last(), Some(Err(Malformed)), "{bytes:02x?}");
        }
        assert_eq!(Fields::of(&[]).next(), None);
    }

    #[test]
    fn numbers_and_texts_survive() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, 17, value);
            put_bytes(&mut out, 5, b"");
            put_text(&mut out, 4, b"");
            let values: Vec<_> = Fields::of(&out).map(|field| field.unwrap().value).collect();
            assert_eq!(values, [Value::Varint(value), Value::Bytes(b"")]);
        }
    }
}
