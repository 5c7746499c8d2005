//! The 80 rounds of SHA-1 (FIPS 180-4 §6.1.2), written once for every vector width.

/// Runs one block per lane through SHA-1.
///
/// `$w` holds the sixteen words of the block, word by word over all lanes, and is used up; `$state` the chaining values. The
/// rest are the operations of the vector unit: addition, rotation by a constant, the same word in all lanes, and the three
/// functions of FIPS 180-4 §4.1.1.
#[rustfmt::skip] // it indents the inner macros further each time
macro_rules! sha1_block {
    (
        $state:ident, $w:ident,
        add: $add:path, rotate: $rotate:ident, splat: $splat:path,
        choose: $choose:ident, parity: $parity:ident, majority: $majority:ident, xor: $xor:path $(,)?
    ) => {{
        let [mut a, mut b, mut c, mut d, mut e] = *$state;
        macro_rules! round {
            ($t:expr, $f:ident, $k:expr, $a:ident $b:ident $c:ident $d:ident $e:ident) => {
                if $t >= 16 {
                    let mixed = $parity($w[($t + 13) & 15], $w[($t + 8) & 15], $w[($t + 2) & 15]);
                    $w[$t & 15] = $rotate!(1, $xor(mixed, $w[$t & 15]));
                }
                let sum = $add($add($e, $add($w[$t & 15], $k)), $f($b, $c, $d));
                $e = $add(sum, $rotate!(5, $a));
                $b = $rotate!(30, $b);
            };
        }
        // Five rounds bring the names back to their places.
        macro_rules! twenty {
            ($t:expr, $f:ident, $k:expr) => {
                let k = $splat($k);
                twenty!(@ $t, $f, k);
                twenty!(@ $t + 5, $f, k);
                twenty!(@ $t + 10, $f, k);
                twenty!(@ $t + 15, $f, k);
            };
            (@ $t:expr, $f:ident, $k:ident) => {
                round!($t, $f, $k, a b c d e);
                round!($t + 1, $f, $k, e a b c d);
                round!($t + 2, $f, $k, d e a b c);
                round!($t + 3, $f, $k, c d e a b);
                round!($t + 4, $f, $k, b c d e a);
            };
        }
        twenty!(0, $choose, 0x5a82_7999);
        twenty!(20, $parity, 0x6ed9_eba1);
        twenty!(40, $majority, 0x8f1b_bcdc_u32.cast_signed());
        twenty!(60, $parity, 0xca62_c1d6_u32.cast_signed());
        for (word, value) in $state.iter_mut().zip([a, b, c, d, e]) {
            *word = $add(*word, value);
        }
    }};
}

pub(super) use sha1_block;
