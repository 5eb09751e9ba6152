use std::num::NonZeroU8;

use ostrakon_types::SetId;
use zeroize::Zeroizing;

use crate::{
    random::{RandomError, Source, System},
    secret::assert_secret,
    share::{FileKey, Manifest, Shard, Threshold, gf, shard::SALT_LEN},
};

/// What [`split`] makes of a key.
pub struct Split {
    /// The id of this splitting.
    pub set_id: SetId,
    /// The shards, with indices 1 to N in order.
    pub shards: Vec<Shard>,
    /// What the shards are checked against.
    pub manifest: Manifest,
}

assert_secret!(Split);

/// Splits `key` so that any M of N shards combine to it.
///
/// # Errors
/// When the operating system has no random bytes.
pub fn split(key: &FileKey, threshold: Threshold) -> Result<Split, RandomError> {
    split_impl(key, threshold, &mut System)
}

pub(crate) fn split_impl(
    key: &FileKey,
    threshold: Threshold,
    source: &mut impl Source,
) -> Result<Split, RandomError> {
    let mut set_id = [0; SetId::LEN];
    source.fill(&mut set_id)?;
    let set_id = SetId::from_bytes(set_id);
    let coefficients = Coefficients::draw(key, threshold, source)?;
    let shards = (1..=threshold.shares())
        .filter_map(NonZeroU8::new)
        .map(|index| {
            let mut salt = Zeroizing::new([0; SALT_LEN]);
            source.fill(&mut *salt)?;
            Ok(Shard {
                set_id,
                threshold: NonZeroU8::new(threshold.needed()).unwrap_or(NonZeroU8::MIN),
                index,
                values: coefficients.values_at(index.get()),
                salt,
            })
        })
        .collect::<Result<Vec<_>, RandomError>>()?;
    let mut key_salt = [0; SALT_LEN];
    source.fill(&mut key_salt)?;
    let manifest = Manifest::new(set_id, threshold, key, key_salt, &shards);
    Ok(Split {
        set_id,
        shards,
        manifest,
    })
}

/// The polynomials, one for each byte of the key.
struct Coefficients<'a> {
    key: &'a FileKey,
    /// For each byte, the coefficients but the constant one, the leading one first.
    random: Zeroizing<Vec<u8>>,
    degree: usize,
}

impl<'a> Coefficients<'a> {
    /// Draws every coefficient uniformly from all 256 values. A leading coefficient that is never 0
    /// would rule out one value of the key for each M-1 shards.
    fn draw(
        key: &'a FileKey,
        threshold: Threshold,
        source: &mut impl Source,
    ) -> Result<Self, RandomError> {
        let degree = usize::from(threshold.needed()).saturating_sub(1);
        let mut random = Zeroizing::new(vec![0; degree * key.as_bytes().len()]);
        source.fill(&mut random)?;
        Ok(Self {
            key,
            random,
            degree,
        })
    }

    fn values_at(&self, x: u8) -> Zeroizing<Vec<u8>> {
        let mut values = Zeroizing::new(vec![0; self.key.as_bytes().len()]);
        for (at, (value, &constant)) in values.iter_mut().zip(self.key.as_bytes()).enumerate() {
            let coefficients = self.random.iter().skip(at * self.degree).take(self.degree);
            *value = gf::evaluate(coefficients.copied().chain([constant]), x);
        }
        values
    }
}
