//! The key that chains records: HMAC-SHA256 (RFC 2104).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret::assert_secret;

/// A key for authenticating records. Wiped on drop.
///
/// It is kept as the state of HMAC behind the key, so that a code costs no key schedule.
///
/// [`SigningKey::derive_chain_key`](crate::sign::SigningKey::derive_chain_key) makes one.
pub struct ChainKey(Box<Hmac<Sha256>>);

assert_secret!(ChainKey);

/// A code that is not this key's for these parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication code does not match")]
pub struct MacError;

impl ChainKey {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Box::new(Hmac::new_from_slice(bytes).expect("any length")))
    }

    /// The code over `parts`. Each part goes in with its length, so that no byte can move from one
    /// part to the next.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.over(parts).finalize().into_bytes().into()
    }

    /// Checks a code in constant time.
    ///
    /// # Errors
    /// When the code is not that of `parts` under this key.
    pub fn verify(&self, parts: &[&[u8]], mac: &[u8; 32]) -> Result<(), MacError> {
        self.over(parts).verify(mac.into()).map_err(|_| MacError)
    }

    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut hmac = (*self.0).clone();
        for part in parts {
            hmac.update(&(part.len() as u64).to_be_bytes());
            hmac.update(part);
        }
        hmac
    }
}
