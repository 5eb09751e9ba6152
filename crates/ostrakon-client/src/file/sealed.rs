use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use ostrakon_shards::{
    card::DeviceKind,
    profile::Profile,
    sealed_shard::{FileShare, SealedOwnerShare},
    share::FileKey,
};
use zeroize::Zeroizing;

use super::{FileError, decrypt, head, open::of_profile};
use crate::walk;

/// An encrypted file that is read on a machine which holds no share of its key: other devices give theirs.
#[derive(Debug)]
pub struct SealedFile {
    file: File,
    shares: Vec<FileShare>,
}

/// What is read goes to memory, up to a limit, and nowhere else.
struct Memory {
    bytes: Zeroizing<Vec<u8>>,
}

impl SealedFile {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is not encrypted for this profile.
    pub fn open(path: &Path, profile: &Profile) -> Result<Self, FileError> {
        let file = walk::open(path)?;
        let shares = of_profile(head::shares(BufReader::new(&file))?, profile.id())?;
        let of_people = shares.into_iter().filter(|share| {
            let card = profile.member(&share.public.device);
            card.is_none_or(|card| card.kind != DeviceKind::Keyserver)
        });
        let shares = of_people
            .map(|share| {
                Ok(FileShare {
                    public: share.public,
                    sealed: SealedOwnerShare::from_bytes(&share.sealed)?,
                })
            })
            .collect::<Result<_, _>>()
            .map_err(FileError::Sealed)?;
        Ok(Self { file, shares })
    }

    /// The shares of the owner's devices, as they stand in the file.
    #[must_use]
    pub fn shares(&self) -> &[FileShare] {
        &self.shares
    }

    /// Decrypts it with its key, into memory.
    ///
    /// # Errors
    /// When the key is another file's, the content was altered, or is longer than `most` bytes.
    pub fn decrypt(&self, key: &FileKey, most: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
        // Of its full size from the beginning: what grows leaves copies behind.
        let mut memory = Memory {
            bytes: Zeroizing::new(Vec::with_capacity(most)),
        };
        decrypt(&self.file, &mut memory, key, &mut |_| {})?;
        Ok(memory.bytes)
    }
}

impl io::Write for &mut Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.bytes.capacity() - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
