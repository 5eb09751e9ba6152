//! The operating system's random source, and ids drawn from it.
//!
//! There is no generator of our own above it, so there is no state that a fork or a snapshot could
//! repeat.

use hpke::rand_core::{TryCryptoRng, TryRng};
use ostrakon_types::{CeremonyId, CryptographicId, LocationId, RequestId, SetId, UnixMillis};

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the operating system")]
pub struct RandomError(#[source] getrandom::Error);

/// Fills `bytes` with random bytes.
///
/// # Errors
/// When the operating system has none. What `bytes` then hold must not be used.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(RandomError)
}

/// An id that is 16 random bytes.
pub trait RandomId: sealed::Sealed {
    /// Takes the bytes as they are.
    #[must_use]
    fn from_random(bytes: [u8; 16]) -> Self;
}

/// Draws a new id.
///
/// # Errors
/// When the operating system has no random bytes.
pub fn id<T: RandomId>() -> Result<T, RandomError> {
    array().map(T::from_random)
}

/// Draws a new request id, a UUID of version 7 that begins with the time `now`.
///
/// # Errors
/// When the operating system has no random bytes.
pub fn request_id(now: UnixMillis) -> Result<RequestId, RandomError> {
    array().map(|random| RequestId::from_parts(now, random))
}

/// Draws `N` random bytes.
///
/// # Errors
/// When the operating system has none.
pub fn array<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

macro_rules! random_ids {
    ($($id:ident),+) => { $(
        impl sealed::Sealed for $id {}
        impl RandomId for $id {
            fn from_random(bytes: [u8; 16]) -> Self {
                Self::from_bytes(bytes)
            }
        }
    )+ };
}
random_ids!(SetId, CryptographicId, LocationId, CeremonyId);

mod sealed {
    pub trait Sealed {}
}

/// Where randomness comes from: the system, but in tests of recorded vectors.
pub(crate) trait Source {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system.
pub(crate) struct System;

impl Source for System {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        fill(bytes)
    }
}

/// A source for code that takes none that can fail. The caller must [`check`](Self::check) it before
/// it uses anything that this code made.
pub(crate) struct Infallible<'a, S> {
    source: &'a mut S,
    failed: Option<RandomError>,
}

impl<'a, S: Source> Infallible<'a, S> {
    pub(crate) fn new(source: &'a mut S) -> Self {
        Self {
            source,
            failed: None,
        }
    }

    pub(crate) fn check(self) -> Result<(), RandomError> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl<S: Source> TryRng for Infallible<'_, S> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        if let Err(error) = self.source.fill(bytes) {
            self.failed = Some(error);
        }
        Ok(())
    }
}

impl<S: Source> TryCryptoRng for Infallible<'_, S> {}

/// The same bytes for the same seed, so that vectors can be made again.
#[cfg(test)]
pub(crate) struct Seeded {
    seed: &'static str,
    block: u64,
}

#[cfg(test)]
impl Seeded {
    pub(crate) fn new(seed: &'static str) -> Self {
        Self { seed, block: 0 }
    }
}

#[cfg(test)]
impl Source for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        for chunk in bytes.chunks_mut(32) {
            let block = [self.seed.as_bytes(), &self.block.to_be_bytes()].concat();
            let block = crate::hash::sha256(&block);
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
            self.block += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::{Sender, SetupError},
        kem::KemSecret,
        suite::Suite,
    };

    /// A system whose source fails after some draws.
    struct Failing(u32);

    impl Source for Failing {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
            self.0 = self
                .0
                .checked_sub(1)
                .ok_or(RandomError(getrandom::Error::UNEXPECTED))?;
            fill(bytes)
        }
    }

    #[test]
    fn without_randomness_nothing_is_made() {
        assert!(KemSecret::generate_impl(&mut Failing(0)).is_err());
        let secret = KemSecret::generate_impl(&mut Failing(1)).unwrap();
        for suite in Suite::ALL {
            let setup = Sender::setup_impl(suite, secret.public(), b"", &mut Failing(0));
            assert!(matches!(setup, Err(SetupError::Random(_))));
            assert!(Sender::setup_impl(suite, secret.public(), b"", &mut Failing(1)).is_ok());
        }
    }

    #[test]
    fn ids_differ() {
        let [a, b]: [SetId; 2] = [id().unwrap(), id().unwrap()];
        assert_ne!(a, b);
        let now = UnixMillis(1_700_000_000_000);
        assert_ne!(request_id(now).unwrap(), request_id(now).unwrap());
    }
}
