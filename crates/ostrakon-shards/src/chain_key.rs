//! The key that chains records: HMAC-SHA256 (RFC 2104).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::assert_secret;

/// A key for authenticating records. Wiped on drop.
///
/// [`SigningKey::derive_chain_key`](crate::sign::SigningKey::derive_chain_key) makes one.
pub struct ChainKey(Box<Zeroizing<[u8; 32]>>);

assert_secret!(ChainKey);

/// A code that is not this key's for these parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication code does not match")]
pub struct MacError;

impl ChainKey {
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        key.copy_from_slice(bytes);
        Self(key)
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

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn over(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&**self.0).expect("any length");
        for part in parts {
            hmac.update(&(part.len() as u64).to_be_bytes());
            hmac.update(part);
        }
        hmac
    }
}
