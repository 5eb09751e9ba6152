//! The time that combining and comparing take does not tell what is combined or compared.
//!
//! Welch's t-test as in dudect (Reparaz, Balasch and Verbauwhede, 2017): the same code runs on one
//! fixed secret and on random ones, in random order, and the two sets of times are compared. For each
//! piece of code there is a mutant that leaks, so that a test that sees nothing is seen to fail.
//!
//! This sees branches and early exits. It does not see tables that fit the first-level cache, which is
//! why the field arithmetic has none at all.

use std::{hint::black_box, time::Instant};

use super::*;
use crate::random;

const SAMPLES: usize = 4000;
const RUNS: usize = 5;

/// Far beyond what chance gives (4.5 is the usual bound), and far below what the mutants give.
const T_BOUND: f64 = 10.0;

/// Whether every one of some runs shows that `code` takes another time on `fixed` than on random
/// inputs. A disturbed run proves nothing, but a leak shows in each.
fn leaks<T>(code: impl Fn(&T), fixed: impl Fn() -> T, random: impl Fn() -> T) -> bool {
    let t = || {
        let is_fixed: [u8; SAMPLES] = random::array().unwrap();
        let samples = is_fixed.map(|byte| byte & 1 == 0);
        let inputs: Vec<(bool, T)> = samples
            .into_iter()
            .map(|is_fixed| (is_fixed, if is_fixed { fixed() } else { random() }))
            .collect();
        let times = inputs.iter().map(|(is_fixed, input)| {
            #[expect(
                clippy::disallowed_methods,
                reason = "this test measures time and nothing else"
            )]
            let start = Instant::now();
            code(black_box(input));
            (*is_fixed, start.elapsed().as_secs_f64())
        });
        welch_t(&times.collect::<Vec<_>>()).abs()
    };
    (0..RUNS).all(|_| t() > T_BOUND)
}

/// Welch's statistic, over the fastest nine tenths: the rest were interrupted.
fn welch_t(times: &[(bool, f64)]) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    let bound = sorted[sorted.len() * 9 / 10];
    let [(n0, mean0, var0), (n1, mean1, var1)] = [true, false].map(|class| {
        let class: Vec<f64> = times
            .iter()
            .filter(|(is_fixed, time)| *is_fixed == class && *time <= bound)
            .map(|(_, time)| *time)
            .collect();
        let n = class.len() as f64;
        let mean = class.iter().sum::<f64>() / n;
        let squares: f64 = class.iter().map(|time| (time - mean).powi(2)).sum();
        (n, mean, squares / (n - 1.0))
    });
    (mean0 - mean1) / (var0 / n0 + var1 / n1).sqrt()
}

fn shards_of(key: &[u8; 32]) -> Vec<Shard> {
    // All coefficients are the key's bytes, so that a key of zeros has shards of zeros.
    struct Repeat([u8; 32]);
    impl random::Source for Repeat {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), random::RandomError> {
            let key = self.0.iter().cycle();
            bytes.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
            Ok(())
        }
    }
    let file_key = FileKey::new(key).unwrap();
    split_impl(&file_key, threshold(3, 3), &mut Repeat(*key))
        .unwrap()
        .shards
}

fn interpolate_with(mul: fn(u8, u8) -> u8) -> impl Fn(&Vec<Shard>) {
    move |shards| {
        for shard in shards {
            for &value in shard.values() {
                black_box(mul(value, shard.index()));
            }
        }
    }
}

/// As in `blahaj` 0.7, but for the tables.
fn mul_with_a_branch(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { gf::mul(a, b) }
}

fn random_key() -> [u8; 32] {
    random::array().unwrap()
}

#[test]
fn combining_takes_the_same_time_whatever_the_key() {
    let combining = |shards: &Vec<Shard>| {
        let shards: Vec<&Shard> = shards.iter().collect();
        black_box(values_at_zero(&shards, 32));
    };
    let (fixed, random) = (|| shards_of(&[0; 32]), || shards_of(&random_key()));
    assert!(!leaks(combining, fixed, random));
    assert!(!leaks(interpolate_with(gf::mul), fixed, random));
    assert!(leaks(interpolate_with(mul_with_a_branch), fixed, random));
}

#[test]
fn comparing_takes_the_same_time_wherever_the_difference() {
    let digest = ostrakon_types::Digest::from_bytes;
    let secret = digest([7; 32]);
    // That they differ is no secret, and the same for both; where they first do, is: at the end, or at once.
    let mut nearly = [7; 32];
    nearly[31] = 8;
    let (fixed, random) = (|| digest(nearly), || digest(random_key()));
    let comparing = |other: &_| {
        for _ in 0..64 {
            black_box(manifest::equal(black_box(&secret), other));
        }
    };
    let early_exit = |other: &ostrakon_types::Digest| {
        for _ in 0..64 {
            let mut pairs = secret.as_bytes().iter().zip(other.as_bytes());
            black_box(pairs.all(|(a, b)| black_box(a) == b));
        }
    };
    assert!(!leaks(comparing, fixed, random));
    assert!(leaks(early_exit, fixed, random));
}
