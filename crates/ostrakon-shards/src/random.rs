//! The operating system's random source, and ids drawn from it.
//!
//! There is no generator of our own above it, so there is no state that a fork or a snapshot could
//! repeat.

use hpke::rand_core::{TryCryptoRng, TryRng};
use ostrakon_types::{CryptographicId, LocationId, RequestId, SetId, UnixMillis};

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
random_ids!(SetId, CryptographicId, LocationId);

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
