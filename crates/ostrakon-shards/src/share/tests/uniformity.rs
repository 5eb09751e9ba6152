//! Coefficients are uniform over all 256 values, the leading one too, and the check that says so sees
//! the two biases that broke other implementations.

use super::*;
use crate::random::{RandomError, Source, System};

const SPLITS: usize = 2000;
const KEY: [u8; 32] = *b"thirty-two bytes of one file key";

type Counts = [u32; 256];

/// How often each value came up as the leading and as the next coefficient, worked out from the shards
/// of many splittings.
fn coefficients(source: &mut impl Source) -> [Counts; 2] {
    let key = FileKey::new(&KEY).unwrap();
    let mut counts = [[0; 256]; 2];
    for _ in 0..SPLITS {
        let split = split_impl(&key, threshold(3, 3), source).unwrap();
        let at = |byte| [0, 1, 2].map(|shard: usize| split.shards[shard].values()[byte]);
        for (byte, &constant) in KEY.iter().enumerate() {
            // With y(x) = a x^2 + b x + c, and 3 = 1 + 2: y(1) + y(2) + y(3) = c.
            let [y1, y2, y3] = at(byte);
            assert_eq!(y1 ^ y2 ^ y3, constant);
            // y(1) + c = a + b and y(2) + c = 4a + 2b, so y(2) + c + 2 (y(1) + c) = 6a.
            let (sum, doubled) = (y1 ^ constant, y2 ^ constant);
            let leading = gf::mul(doubled ^ gf::mul(2, sum), gf::inverse(6));
            counts[0][usize::from(leading)] += 1;
            counts[1][usize::from(sum ^ leading)] += 1;
        }
    }
    counts
}

/// Pearson's chi-square test with 255 degrees of freedom. A uniform source fails it about once in 40
/// million times.
fn looks_uniform(counts: &Counts) -> bool {
    let total: u32 = counts.iter().sum();
    let expected = f64::from(total) / 256.0;
    let chi_square: f64 = counts
        .iter()
        .map(|&count| (f64::from(count) - expected).powi(2) / expected)
        .sum();
    (140.0..400.0).contains(&chi_square) && counts.iter().all(|&count| count > 0)
}

/// Draws from 1 to 255, as `sharks` did up to 0.5 (RUSTSEC-2024-0398).
struct NeverZero;

impl Source for NeverZero {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        System.fill(bytes)?;
        while bytes.contains(&0) {
            for byte in bytes.iter_mut().filter(|byte| **byte == 0) {
                System.fill(std::slice::from_mut(byte))?;
            }
        }
        Ok(())
    }
}

/// Draws odd numbers alone, as `vsss-rs` did up to 5.3.
struct OddOnly;

impl Source for OddOnly {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        System.fill(bytes)?;
        bytes.iter_mut().for_each(|byte| *byte = (*byte & 0xfe) + 1);
        Ok(())
    }
}

#[test]
fn coefficients_are_uniform() {
    assert!(coefficients(&mut System).iter().all(looks_uniform));
}

#[test]
fn a_source_that_is_never_zero_is_seen() {
    assert!(!coefficients(&mut NeverZero).iter().any(looks_uniform));
}

#[test]
fn a_source_of_odd_numbers_is_seen() {
    assert!(!coefficients(&mut OddOnly).iter().any(looks_uniform));
}
