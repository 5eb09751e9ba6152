//! The field with 256 elements, modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11d).
//!
//! Addition is `^`. Nothing here is looked up in a table or branches on its arguments.

use std::hint::black_box;

const REDUCTION: u8 = 0x1d;

/// All ones if the lowest bit of `bit` is set, else zero. The optimiser is kept from knowing that it
/// is one of these two, lest it make a branch of it.
fn mask(bit: u8) -> u8 {
    black_box(0u8.wrapping_sub(bit & 1))
}

/// The product, by shift and add.
pub(super) fn mul(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= a & mask(b >> bit);
        a = (a << 1) ^ (REDUCTION & mask(a >> 7));
    }
    product
}

/// The inverse, a^254; 0 for 0.
pub(super) fn inverse(a: u8) -> u8 {
    let mut power = a;
    let mut product = 1;
    for _ in 0..7 {
        power = mul(power, power);
        product = mul(product, power);
    }
    product
}

/// The value at `x` of the polynomial with these coefficients, the leading one first.
pub(super) fn evaluate(coefficients: impl Iterator<Item = u8>, x: u8) -> u8 {
    coefficients.fold(0, |value, coefficient| mul(value, x) ^ coefficient)
}

/// The weight of the value at `x` in the value at 0 of the polynomial through all `xs`, which are
/// distinct and not 0.
pub(super) fn weight_at_zero(x: u8, xs: impl Iterator<Item = u8>) -> u8 {
    xs.filter(|&other| other != x).fold(1, |weight, other| {
        mul(weight, mul(other, inverse(other ^ x)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product by long multiplication and division of polynomials over GF(2).
    fn long_product(a: u8, b: u8) -> u8 {
        let product = (0..8)
            .filter(|bit| b >> bit & 1 == 1)
            .fold(0u16, |product, bit| product ^ u16::from(a) << bit);
        let remainder = (8..15).rev().fold(product, |rest, bit| {
            if rest >> bit & 1 == 1 {
                rest ^ 0x11d << (bit - 8)
            } else {
                rest
            }
        });
        u8::try_from(remainder).unwrap()
    }

    /// The product by tables of logarithms to the base 2, which generates the field.
    fn table_product(a: u8, b: u8) -> u8 {
        let mut exp = [0u8; 255];
        let mut log = [0usize; 256];
        let mut power = 1u16;
        for (at, entry) in exp.iter_mut().enumerate() {
            *entry = u8::try_from(power).unwrap();
            log[usize::from(power)] = at;
            power = power << 1 ^ if power & 0x80 == 0 { 0 } else { 0x11d };
        }
        if a == 0 || b == 0 {
            return 0;
        }
        exp[(log[usize::from(a)] + log[usize::from(b)]) % 255]
    }

    #[test]
    fn all_products_are_right() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), long_product(a, b), "{a} * {b}");
            }
        }
        for (a, b) in [(0, 7), (2, 128), (3, 7), (0x53, 0xca), (255, 255)] {
            assert_eq!(mul(a, b), table_product(a, b), "{a} * {b}");
        }
    }

    #[test]
    fn inverses_are_inverse() {
        assert_eq!(inverse(0), 0);
        for a in 1..=255 {
            assert_eq!(mul(a, inverse(a)), 1, "{a}");
        }
    }
}
