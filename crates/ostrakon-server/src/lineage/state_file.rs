use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    time::UNIX_EPOCH,
};

use minicbor::{Decode, Encode};
use ostrakon_shards::generation::SignedGeneration;
use ostrakon_types::canonical;

/// The file beside the database: the newest generation, and which files it was written beside.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct StateFile {
    /// The newest that the database has for certain.
    #[n(0)]
    pub(super) newest: SignedGeneration,
    /// The one that may have come to the database after it.
    #[n(1)]
    pub(super) next: Option<SignedGeneration>,
    /// What marks the instance's key file.
    #[n(2)]
    pub(super) mark: Option<Mark>,
}

/// Tells a file from a copy of it: its number in the file system, and when it was made there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Mark {
    #[n(0)]
    inode: u64,
    #[n(1)]
    born: u64,
}

impl Mark {
    /// None where the file system does not say when a file was made.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let born = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            inode: metadata.ino(),
            born: u64::try_from(born.as_nanos()).ok()?,
        })
    }
}

impl StateFile {
    pub(super) fn new(
        newest: SignedGeneration,
        next: Option<SignedGeneration>,
        instance_key: &Path,
    ) -> Self {
        Self {
            newest,
            next,
            mark: Mark::of(instance_key),
        }
    }

    /// What the file holds; nothing where there is none, or what it holds is not that.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(canonical::decode(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file as a whole, durably.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&canonical::encode(self))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}
