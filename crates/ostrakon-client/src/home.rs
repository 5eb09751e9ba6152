//! The folder in which a workstation keeps its keys and what it knows.
//!
//! Two files matter: `device.key`, the device's private keys, which no other user may be able to read;
//! and `state`, everything else, as one value that is replaced as a whole. So there is no moment in
//! which a crash leaves half of it. Whoever changes either holds the lock; whoever reads needs none.

mod durable;
mod state;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ostrakon_shards::{device::DeviceKeys, generation::SignedGeneration, kem::SecretBytesError};
use ostrakon_types::canonical::DecodeError;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

pub(crate) use durable::sync_folder;
pub(crate) use state::{
    AnsweredCeremony, KnownBackup, KnownServer, Membership, MetDevice, Pending, PinnedKeyserver,
    Recovery, State, StoredPath, UnheardBackup,
};

const KEYS: &str = "device.key";
const STATE: &str = "state";
const LOCK: &str = "lock";
const GENERATION: &str = "generation";
const GENERATION_LOCK: &str = "generation.lock";
const FOLDER: &str = "the files";

/// Longer than any file of these kinds is.
const MAX_FILE_LEN: u64 = 16 << 20;

/// A workstation's home folder.
#[derive(Clone)]
pub struct Home {
    dir: PathBuf,
}

/// Why a home folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// It, or a file in it, cannot be made, read or written.
    #[error("cannot {act} {what} in the home folder")]
    Io {
        /// What was tried.
        act: &'static str,
        /// With what.
        what: &'static str,
        /// What came of it.
        #[source]
        cause: io::Error,
    },
    /// Users other than the owner can get at it.
    #[error("other users have access to {what} in the home folder")]
    OpenToOthers {
        /// The folder itself, or the key file.
        what: &'static str,
    },
    /// The state file is not what this program writes.
    #[error("the home folder's state is damaged")]
    State(#[source] DecodeError),
    /// It is the home of a key shard server.
    #[error("the folder is the home of a key shard server")]
    Keyserver,
    /// A later version wrote it.
    #[error("the home folder was written by another version (format {0})")]
    Version(u8),
    /// The key file is not what this program writes.
    #[error("the home folder's device keys are damaged")]
    Keys(#[source] SecretBytesError),
    /// There is a state that needs keys, but the keys are gone.
    #[error("the home folder's device keys are missing")]
    NoKeys,
}

/// The right to change a home folder, until it is dropped.
pub(crate) struct Lock {
    _file: File,
}

impl Home {
    /// Opens the folder, and makes it when there is none yet.
    ///
    /// # Errors
    /// When that fails, or when other users have access to it.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        let io = |act| move |cause| io_error(act, FOLDER, cause);
        if !dir.is_dir() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(dir).map_err(io("create"))?;
        }
        if dir.join("instance.key").exists() {
            return Err(HomeError::Keyserver);
        }
        let mode = fs::metadata(dir).map_err(io("read"))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(HomeError::OpenToOthers { what: FOLDER });
        }
        let dir = dir.canonicalize().map_err(io("read"))?;
        Ok(Self { dir })
    }

    /// Waits for the right to change the folder.
    pub(crate) fn lock(&self) -> Result<Lock, HomeError> {
        let io = |cause| io_error("lock", "the lock file", cause);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.dir.join(LOCK)).map_err(io)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| io(errno.into()))?;
        Ok(Lock { _file: file })
    }

    /// The state; an empty one when there is none yet.
    pub(crate) fn read_state(&self) -> Result<State, HomeError> {
        match self.read(STATE, "the state")? {
            Some(bytes) => State::from_bytes(&bytes),
            None => Ok(State::default()),
        }
    }

    /// Replaces the state. When this returns, the new one survives a power cut.
    pub(crate) fn write_state(&self, _: &Lock, state: &State) -> Result<(), HomeError> {
        durable::replace(&self.dir, STATE, &state.to_bytes())
            .map_err(|cause| io_error("write", "the state", cause))
    }

    /// The newest generation of the server that was seen. One that cannot be read was not.
    pub(crate) fn read_generation(&self) -> Result<Option<SignedGeneration>, HomeError> {
        let bytes = self.read(GENERATION, "the server's generation")?;
        Ok(bytes.and_then(|bytes| SignedGeneration::from_bytes(&bytes).ok()))
    }

    /// Keeps a generation of the server, unless a newer one is there. It has a lock of its own: whoever
    /// talks to the server may hold the other one.
    pub(crate) fn raise_generation(&self, shown: &SignedGeneration) -> Result<(), HomeError> {
        let io = |cause| io_error("write", "the server's generation", cause);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(self.dir.join(GENERATION_LOCK)).map_err(io)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| io(errno.into()))?;
        let kept = self.read_generation()?;
        if kept.is_some_and(|kept| kept.generation() >= shown.generation()) {
            return Ok(());
        }
        durable::replace(&self.dir, GENERATION, &shown.to_bytes()).map_err(io)
    }

    /// The device's keys, if there are any yet.
    pub(crate) fn read_keys(&self) -> Result<Option<DeviceKeys>, HomeError> {
        let bytes = self.read(KEYS, "the device keys")?;
        bytes
            .map(|bytes| DeviceKeys::from_bytes(&bytes).map_err(HomeError::Keys))
            .transpose()
    }

    /// The device's keys, drawn and stored first when there are none yet.
    pub(crate) fn draw_keys(&self, _: &Lock) -> Result<DeviceKeys, HomeError> {
        if let Some(keys) = self.read_keys()? {
            return Ok(keys);
        }
        let io = |cause| io_error("write", "the device keys", cause);
        let keys = DeviceKeys::generate().map_err(|error| io(io::Error::other(error)))?;
        durable::replace(&self.dir, KEYS, &keys.to_bytes()).map_err(io)?;
        Ok(keys)
    }

    /// Stores keys that were not drawn here, where there are none yet.
    ///
    /// `false` when there are some.
    pub(crate) fn keep_keys(&self, _: &Lock, keys: &DeviceKeys) -> Result<bool, HomeError> {
        if self.read_keys()?.is_some() {
            return Ok(false);
        }
        durable::replace(&self.dir, KEYS, &keys.to_bytes())
            .map_err(|cause| io_error("write", "the device keys", cause))?;
        Ok(true)
    }

    fn read(
        &self,
        name: &str,
        what: &'static str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, HomeError> {
        let io = |cause| io_error("read", what, cause);
        let file = match File::open(self.dir.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let metadata = file.metadata().map_err(io)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(HomeError::OpenToOthers { what });
        }
        let len = metadata.len().min(MAX_FILE_LEN);
        // Of its final size at once, so that no copy of a secret stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1));
        file.take(MAX_FILE_LEN)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        Ok(Some(bytes))
    }
}

fn io_error(act: &'static str, what: &'static str, cause: io::Error) -> HomeError {
    HomeError::Io { act, what, cause }
}

#[cfg(test)]
mod tests;
