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
