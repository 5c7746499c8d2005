//! Bytes as digits and letters, and back: the bytes are one big number, written with the sixty-two digits `0-9A-Za-z`.
//!
//! Zero bytes at the beginning are lost, as with any number.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Writes a number of any size, most significant byte first.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut number = bytes.to_vec();
    let mut digits = Vec::new();
    while number.iter().any(|&byte| byte != 0) {
        let mut rest = 0;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = low_byte(value / 62);
            rest = value % 62;
        }
        digits.push(DIGITS[rest as usize]);
    }
    digits.iter().rev().map(|&digit| char::from(digit)).collect()
}

/// Reads what [`encode`] wrote; None where a character is no digit.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut number: Vec<u8> = Vec::new();
    for character in text.bytes() {
        let mut carry = u32::try_from(DIGITS.iter().position(|&digit| digit == character)?).ok()?;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 62 + carry;
            *byte = low_byte(value);
            carry = value >> 8;
        }
        if carry > 0 {
            number.insert(0, low_byte(carry));
        }
    }
    Some(number)
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for bytes in [&b"APIkey|PA_abcdef123456|1900000000"[..], &[1], &[255; 32], &[7, 0, 0, 1]] {
            assert_eq!(decode(&encode(bytes)).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn digits_are_in_the_order_of_ascii() {
        assert_eq!(encode(&[61]), "z");
        assert_eq!(encode(&[62]), "10");
        assert_eq!(encode(&[]), "");
    }

    #[test]
    fn other_characters_are_no_digits() {
        assert_eq!(decode("ab|c"), None);
        assert_eq!(decode("ä"), None);
    }
}
