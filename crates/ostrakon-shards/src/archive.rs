//! The word of whoever made a backup archive on what is in it.

use ostrakon_types::{Digest, canonical};

use crate::{
    sign::{Signature, SignatureError, SigningKey, VerifyKey},
    versioned::versioned,
};

const PURPOSE: &str = "backup archive";

/// A statement that the signer made the archive whose manifest has this digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignedArchive {
    manifest: Digest,
    signature: Signature,
}

impl SignedArchive {
    /// Signs: a server with its root key, a device with its own.
    #[must_use]
    pub fn issue(key: &SigningKey, manifest: Digest) -> Self {
        Self {
            manifest,
            signature: key.sign(PURPOSE, &canonical::encode(&manifest)),
        }
    }

    /// Checks that the owner of this key said so, of this manifest.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(&self, by: &VerifyKey, manifest: &Digest) -> Result<(), SignatureError> {
        if self.manifest != *manifest {
            return Err(SignatureError);
        }
        by.verify_strict(PURPOSE, &canonical::encode(manifest), &self.signature)
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes the canonical encoding. It is not verified yet.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, canonical::DecodeError> {
        canonical::decode(bytes)
    }
}

versioned!(SignedArchive, 1 { manifest, signature });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_its_makers() {
        let key = SigningKey::generate().unwrap();
        let [one, other] = [1, 2].map(|byte| Digest::from_bytes([byte; 32]));
        let signed = SignedArchive::issue(&key, one);
        let read = SignedArchive::from_bytes(&signed.to_bytes()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.verify(&key.verify_key(), &one), Ok(()));
        assert!(read.verify(&key.verify_key(), &other).is_err());
        let forger = SigningKey::generate().unwrap();
        assert!(read.verify(&forger.verify_key(), &one).is_err());
        let mut bytes = signed.to_bytes();
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            let altered = SignedArchive::from_bytes(&bytes).ok();
            let accepted =
                altered.is_some_and(|signed| signed.verify(&key.verify_key(), &one).is_ok());
            assert!(!accepted, "byte {place}");
            bytes[place] ^= 1;
        }
        // A signature for another purpose is none for this.
        let signature = key.sign("audit archive", &canonical::encode(&one));
        let moved = SignedArchive {
            manifest: one,
            signature,
        };
        assert!(moved.verify(&key.verify_key(), &one).is_err());
    }
}
