use zeroize::Zeroizing;

use crate::{
    random::{self, RandomError},
    secret::assert_secret,
};

/// A key to be shared: 1 to 32 secret bytes. Wiped on drop.
pub struct FileKey(Zeroizing<Vec<u8>>);

assert_secret!(FileKey);

/// Why bytes are no [`FileKey`], or none could be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileKeyError {
    /// Empty, or more than 32 bytes.
    #[error("file key of {0} bytes: expected 1 to {max}", max = FileKey::MAX_LEN)]
    Length(usize),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl FileKey {
    /// The greatest length in bytes.
    pub const MAX_LEN: usize = 32;

    /// Copies the bytes; the caller wipes its own.
    ///
    /// # Errors
    /// When there is none, or more than [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(bytes: &[u8]) -> Result<Self, FileKeyError> {
        Self::of_length(bytes.len(), |key| {
            key.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// Draws a new key of `len` bytes.
    ///
    /// # Errors
    /// When `len` is 0 or more than [`MAX_LEN`](Self::MAX_LEN), or there is no randomness.
    pub fn generate(len: usize) -> Result<Self, FileKeyError> {
        Self::of_length(len, |key| Ok(random::fill(key)?))
    }

    /// The secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of_length(
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), FileKeyError>,
    ) -> Result<Self, FileKeyError> {
        if !(1..=Self::MAX_LEN).contains(&len) {
            return Err(FileKeyError::Length(len));
        }
        let mut key = Self(Zeroizing::new(vec![0; len]));
        fill(&mut key.0)?;
        Ok(key)
    }
}
