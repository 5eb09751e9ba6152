mod database;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ostrakon_storage::ParseUriError;
use rustix::fs::{FlockOperation, flock};

pub use self::database::with_password;

/// The folder in which a server keeps what is its own.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

/// Holds a [`Home`] for one process, until dropped.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// What has a home for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldBy {
    /// A server that runs.
    Server,
    /// A command that waits for devices, or does what they approved.
    Ceremony,
    /// Another command.
    Command,
}

/// Why a home could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// The folder could not be made or read.
    #[error("cannot use the home folder `{}`", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is the home of a workstation.
    #[error("the folder `{}` is the home of a workstation", .0.display())]
    Workstation(PathBuf),
    /// The making of a server was interrupted there, or goes on.
    #[error("a server is being made in the home folder `{}`, or that was interrupted", .0.display())]
    Unfinished(PathBuf),
    /// It is not there, and a restore was to make it.
    #[error("a restore into the home folder `{}` was interrupted, or goes on", .0.display())]
    Restoring(PathBuf),
    /// What it says of the database is no database URI.
    #[error("`database.uri` in the home folder is no database URI")]
    Uri(#[from] ParseUriError),
    /// The file with the database's password cannot be read.
    #[error("cannot read the password of the database in `{}`", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file with the database's password is open to others.
    #[error("`{}` holds a password and is open to others (mode {mode:03o}, must be 600)", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// The permission bits that it has.
        mode: u32,
    },
    /// Another process runs on it.
    #[error("{} uses the home folder `{}`", .1.noun(), .0.display())]
    InUse(PathBuf, HeldBy),
}

impl Home {
    /// Names the folder. Nothing is made yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The policy, as the operator writes it.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.folder.join("keyserver.yml")
    }

    /// Everything else that the operator sets.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("server.toml")
    }

    /// The database, where it is a file of this machine.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("keyserver.db")
    }

    /// Writes a file into the folder that must not be there yet, mode 0600, durably.
    pub(crate) fn write_new(&self, name: &str, text: &str) -> Result<(), HomeError> {
        write_new(&self.folder.join(name), text)
    }

    /// The key under which the database's root key is wrapped.
    #[must_use]
    pub fn instance_key(&self) -> PathBuf {
        self.folder.join("instance.key")
    }

    /// There while a server is being made: what is in the folder is none before it is gone.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.folder.join("unfinished")
    }

    /// Fails where there is no server, and a restore that was to bring one has not come to its end: it works in
    /// a folder beside this one, which takes its place whole.
    fn check_restored(&self) -> Result<(), HomeError> {
        let restoring = self.folder.with_added_extension("restoring");
        if !self.instance_key().exists() && restoring.exists() {
            return Err(HomeError::Restoring(self.folder.clone()));
        }
        Ok(())
    }

    /// Fails where the making of a server was interrupted.
    pub(crate) fn check_finished(&self) -> Result<(), HomeError> {
        self.check_restored()?;
        if self.unfinished().exists() {
            return Err(HomeError::Unfinished(self.folder.clone()));
        }
        Ok(())
    }

    /// Has the names in the folder survive a crash of the machine.
    pub(crate) fn sync(&self) -> Result<(), HomeError> {
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| self.failed(source))
    }

    /// The newest generation of the server's state, beside the database.
    #[must_use]
    pub fn generation(&self) -> PathBuf {
        self.folder.join("generation")
    }

    /// How far the audit log has come: written with each commit.
    #[must_use]
    pub fn audit_head(&self) -> PathBuf {
        self.folder.join("audit.head")
    }

    /// The newest signed checkpoint of the audit log.
    #[must_use]
    pub fn audit_state(&self) -> PathBuf {
        self.folder.join("audit.checkpoint")
    }

    /// The socket on which the running server takes an operator's commands.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// How many bytes are free on its disk for who is not root, where the system says.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Makes the folder, readable by its owner alone, if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self) -> Result<(), HomeError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|source| self.failed(source))
    }

    /// Takes the home for a command.
    ///
    /// # Errors
    /// [`HomeError::InUse`] when another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        self.lock_for(HeldBy::Command)
    }

    /// Takes the home, and says in the lock file what for.
    ///
    /// # Errors
    /// [`HomeError::InUse`] when another process has it.
    pub fn lock_for(&self, held_by: HeldBy) -> Result<HomeLock, HomeError> {
        self.check_restored()?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(self.folder.join("keyserver.lock"))
            .map_err(|source| self.failed(source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // It is for people alone: on a disk that is full, nobody is kept from working.
                let _ = file
                    .set_len(0)
                    .and_then(|()| file.write_all(held_by.noun().as_bytes()));
                Ok(HomeLock { _file: file })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut noun = String::new();
                let _ = file.take(LONGEST_NOUN).read_to_string(&mut noun);
                Err(HomeError::InUse(self.folder.clone(), HeldBy::named(&noun)))
            }
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// Reads `server.toml`; an absent one is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_config(&self) -> Result<String, HomeError> {
        self.read(&self.config()).map(Option::unwrap_or_default)
    }

    /// Reads `keyserver.yml`, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_policy(&self) -> Result<Option<String>, HomeError> {
        self.read(&self.policy())
    }

    fn read(&self, path: &Path) -> Result<Option<String>, HomeError> {
        match read_text(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HomeError::Io {
                folder: path.to_owned(),
                source,
            }),
        }
    }

    fn failed(&self, source: io::Error) -> HomeError {
        HomeError::Io {
            folder: self.folder.clone(),
            source,
        }
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), HomeError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(HomeError::Io {
            folder: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Writes a file that must not be there yet, mode 0600, durably.
fn write_new(path: &Path, text: &str) -> Result<(), HomeError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        });
    written.map_err(|source| HomeError::Io {
        folder: path.to_owned(),
        source,
    })
}

/// More bytes than any noun of [`HeldBy`] has.
const LONGEST_NOUN: u64 = 64;

impl HeldBy {
    fn noun(self) -> &'static str {
        match self {
            Self::Server => "a running server",
            Self::Ceremony => "a command that waits for devices",
            Self::Command => "another process",
        }
    }

    fn named(noun: &str) -> Self {
        let known = [Self::Server, Self::Ceremony].into_iter();
        let mut known = known.filter(|held_by| held_by.noun() == noun);
        known.next().unwrap_or(Self::Command)
    }
}

/// More than any policy or configuration may have.
const ENOUGH: u64 = 9 << 20;

/// Reads the text of a policy or configuration file, and of a file that is larger than any of them
/// only so much that whoever parses it sees that.
///
/// # Errors
/// When the file cannot be read or is not text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(ENOUGH).read_to_end(&mut bytes)?;
    if read as u64 == ENOUGH {
        // A character may be cut in two.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("new/home"));
        home.make().unwrap();
        for held_by in [HeldBy::Ceremony, HeldBy::Server, HeldBy::Command] {
            let held = home.lock_for(held_by).unwrap();
            let refused = home.lock();
            assert!(matches!(refused, Err(HomeError::InUse(_, by)) if by == held_by));
            drop(held);
        }
        home.lock().unwrap();
    }
}
