use std::io::{self, Read, Write};

use ostrakon_types::Digest;
use sha2::{Digest as _, Sha256};

/// Digests and counts what is read or written through it, and keeps why it could not be read.
pub struct Hashed<T> {
    pub(super) inner: T,
    hash: Sha256,
    pub(super) length: u64,
    pub(super) failed: Option<io::Error>,
}

impl<T> Hashed<T> {
    /// Nothing was read or written yet.
    #[must_use]
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            length: 0,
            failed: None,
        }
    }

    /// The SHA-256 of all so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(self.hash.clone().finalize().into())
    }

    /// How many bytes that is.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What is read from or written to.
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    fn add(&mut self, bytes: Option<&[u8]>) {
        let bytes = bytes.unwrap_or_default();
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.add(buffer.get(..count));
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let said = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(said)
            }
        }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.add(buffer.get(..count));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
