//! Records at rest: what a database stores, sealed under a key that it does not hold.
//!
//! Every record has a key of its own, derived by HKDF-SHA256 from the [`RecordKey`] and 32 fresh
//! random bytes that stand in front of the ciphertext, so that no number of records under one key
//! wears out AES-GCM's nonces. Table, column and row are associated data: a ciphertext that is moved
//! does not open.
//!
//! # Threat model
//!
//! Whoever reads the database learns which records exist and how long they are. Whoever writes to it
//! can delete a record or put back an older one of the same place; generations and the audit chain are
//! against that, not this module. AES-GCM does not commit to its key, and nothing here relies on that:
//! keys are never chosen by whoever chooses ciphertexts.

use std::sync::LazyLock;

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, AeadInOut as _, Payload},
};
use hkdf::Hkdf;
use minicbor::bytes::ByteSlice;
use ostrakon_types::canonical;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    chain_key::ChainKey,
    hash::DOMAIN,
    random::{RandomError, Source, System},
    secret::assert_secret,
};

const VERSION: u8 = 1;
const SALT_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// A key for records, or for other such keys. Wiped on drop.
pub struct RecordKey(Box<Zeroizing<[u8; 32]>>);

assert_secret!(RecordKey);

/// Why a record could not be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealRecordError {
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Longer than AES-GCM takes (64 GiB).
    #[error("record is too long")]
    TooLong,
}

/// Why a record could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenRecordError {
    /// Written by another version.
    #[error("unknown version {0} of a sealed record")]
    Version(u8),
    /// Too short to be a record.
    #[error("sealed record is cut off")]
    CutOff,
    /// Altered, moved from another place, or sealed under another key.
    #[error("sealed record does not open here")]
    Failed,
}

/// Seals `plaintext` for one place in a database.
///
/// The result is `plaintext` and 49 bytes more.
///
/// # Errors
/// When there is no randomness.
pub fn seal_record(
    key: &RecordKey,
    table: &str,
    column: &str,
    row: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealRecordError> {
    seal_record_impl(key, table, column, row, plaintext, &mut System)
}

pub(crate) fn seal_record_impl(
    key: &RecordKey,
    table: &str,
    column: &str,
    row: &[u8],
    plaintext: &[u8],
    source: &mut impl Source,
) -> Result<Vec<u8>, SealRecordError> {
    seal_with(key, &place(table, column, row), plaintext, source)
}

/// Seals many values, each for its row of one column, as [`seal_record`] does one: with the randomness
/// for all of them drawn at once.
///
/// # Errors
/// When there is no randomness.
pub fn seal_records(
    key: &RecordKey,
    table: &str,
    column: &str,
    records: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)],
) -> Result<Vec<Vec<u8>>, SealRecordError> {
    let mut salts = vec![[0; SALT_LEN]; records.len()];
    System.fill(salts.as_flattened_mut())?;
    let sealed = salts.iter().zip(records).map(|(salt, (row, plaintext))| {
        let aad = place(table, column, row.as_ref());
        seal_salted(key, &aad, plaintext.as_ref(), salt)
    });
    sealed.collect()
}

/// Opens what was sealed for that place.
///
/// # Errors
/// When it does not open there, under this key.
pub fn open_record(
    key: &RecordKey,
    table: &str,
    column: &str,
    row: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenRecordError> {
    open_with(key, &place(table, column, row), sealed)
}

impl RecordKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; 32]);
        System.fill(&mut *bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Takes the bytes as they are.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        key.copy_from_slice(bytes);
        Self(key)
    }

    /// The bytes, to be wrapped by something else than another such key.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        (*self.0).clone()
    }

    /// Wraps this key under another, for one `purpose`.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn wrap(&self, under: &Self, purpose: &str) -> Result<Vec<u8>, SealRecordError> {
        self.wrap_impl(under, purpose, &mut System)
    }

    pub(crate) fn wrap_impl(
        &self,
        under: &Self,
        purpose: &str,
        source: &mut impl Source,
    ) -> Result<Vec<u8>, SealRecordError> {
        seal_with(under, &key_place(purpose), &**self.0, source)
    }

    /// Unwraps what [`wrap`](Self::wrap) made under the same key, for the same purpose.
    ///
    /// # Errors
    /// When it does not open.
    pub fn unwrap_from(
        under: &Self,
        purpose: &str,
        wrapped: &[u8],
    ) -> Result<Self, OpenRecordError> {
        let bytes = open_with(under, &key_place(purpose), wrapped)?;
        let bytes = bytes.as_slice().try_into();
        bytes
            .map(Self::from_bytes)
            .map_err(|_| OpenRecordError::Failed)
    }

    /// Derives a key that authenticates rows which are not secret, one for each `purpose`, by
    /// HKDF-SHA256.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
    pub fn derive_chain_key(&self, purpose: &'static str) -> ChainKey {
        let info = canonical::encode(&(DOMAIN, VERSION, "chain key", purpose));
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &**self.0)
            .expand(&info, &mut *key)
            .expect("32 bytes");
        ChainKey::from_bytes(&key)
    }

    /// The cipher and nonce of the one record that has this salt.
    #[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
    fn cipher(&self, salt: &[u8; SALT_LEN]) -> (Aes256Gcm, [u8; 12]) {
        static INFO: LazyLock<Vec<u8>> =
            LazyLock::new(|| canonical::encode(&(DOMAIN, VERSION, "record")));
        let mut derived = Zeroizing::new([0; 32 + 12]);
        Hkdf::<Sha256>::new(Some(salt), &**self.0)
            .expand(&INFO, &mut *derived)
            .expect("44 bytes");
        let mut key = Zeroizing::new([0; 32]);
        let mut nonce = [0; 12];
        let (key_part, nonce_part) = derived.split_at(32);
        key.copy_from_slice(key_part);
        nonce.copy_from_slice(nonce_part);
        (Aes256Gcm::new((&*key).into()), nonce)
    }
}

fn place(table: &str, column: &str, row: &[u8]) -> Vec<u8> {
    let row = <&ByteSlice>::from(row);
    canonical::encode(&(DOMAIN, VERSION, "record", table, column, row))
}

fn key_place(purpose: &str) -> Vec<u8> {
    canonical::encode(&(DOMAIN, VERSION, "wrapped key", purpose))
}

fn seal_with(
    key: &RecordKey,
    aad: &[u8],
    plaintext: &[u8],
    source: &mut impl Source,
) -> Result<Vec<u8>, SealRecordError> {
    let mut salt = [0; SALT_LEN];
    source.fill(&mut salt)?;
    seal_salted(key, aad, plaintext, &salt)
}

/// Seals under a salt that must be fresh and random.
fn seal_salted(
    key: &RecordKey,
    aad: &[u8],
    plaintext: &[u8],
    salt: &[u8; SALT_LEN],
) -> Result<Vec<u8>, SealRecordError> {
    let (cipher, nonce) = key.cipher(salt);
    let mut sealed = Vec::with_capacity(1 + SALT_LEN + plaintext.len() + TAG_LEN);
    sealed.push(VERSION);
    sealed.extend_from_slice(salt);
    sealed.extend_from_slice(plaintext);
    let (_, message) = sealed.split_at_mut(1 + SALT_LEN);
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), aad, message.into())
        .map_err(|_| SealRecordError::TooLong)?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

fn open_with(
    key: &RecordKey,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenRecordError> {
    let (&version, rest) = sealed.split_first().ok_or(OpenRecordError::CutOff)?;
    if version != VERSION {
        return Err(OpenRecordError::Version(version));
    }
    let (salt, msg) = rest
        .split_first_chunk::<SALT_LEN>()
        .filter(|(_, ciphertext)| ciphertext.len() >= TAG_LEN)
        .ok_or(OpenRecordError::CutOff)?;
    let (cipher, nonce) = key.cipher(salt);
    cipher
        .decrypt(&nonce.into(), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_| OpenRecordError::Failed)
}

#[cfg(test)]
mod tests;
