use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr as _,
};

use ostrakon_storage::{DatabaseUri, ParseUriError, Place};
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

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
    /// What it says of the database is no database URI.
    #[error("`database.uri` in the home folder is no database URI")]
    Uri(#[from] ParseUriError),
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

    /// Where the shared database is, without its password; absent where the database is a file.
    #[must_use]
    pub fn database_uri(&self) -> PathBuf {
        self.folder.join("database.uri")
    }

    /// The password of the shared database, where it was given with the URI.
    #[must_use]
    pub fn database_password(&self) -> PathBuf {
        self.folder.join("database.password")
    }

    /// Writes a file into the folder that must not be there yet, mode 0600, durably.
    pub(crate) fn write_new(&self, name: &str, text: &str) -> Result<(), HomeError> {
        write_new(&self.folder.join(name), text)
    }

    /// Whether there is a server, or the making of one has begun.
    #[must_use]
    pub fn has_database(&self) -> bool {
        self.database().exists() || self.database_uri().exists()
    }

    /// Where the database is.
    ///
    /// # Errors
    /// When the files that say so cannot be read, or are open to others.
    pub fn place(&self) -> Result<Place, HomeError> {
        let Some(text) = self.read(&self.database_uri())? else {
            return Ok(Place::File(self.database()));
        };
        self.place_of(text.trim())
    }

    /// Notes where the shared database is. A password goes to a file of its own, mode 0600.
    ///
    /// # Errors
    /// When there is such a note already, or it cannot be written.
    pub fn set_database(&self, uri: &DatabaseUri) -> Result<(), HomeError> {
        let mut uri = uri.clone();
        if let Some(password) = uri.take_password() {
            let file = self.database_password();
            write_new(&file, &password)?;
            uri = uri.with_password_file(file);
        }
        write_new(&self.database_uri(), &format!("{}\n", uri.shown()))
    }

    /// Where the database will be, while its state is moved there.
    fn next_uri(&self) -> PathBuf {
        self.folder.join("database.next")
    }

    /// Notes durably where the database will be, for whoever finishes the move.
    pub(crate) fn set_next(&self, place: &Place) -> Result<(), HomeError> {
        let text = match place {
            Place::File(_) => HERE.to_owned(),
            Place::Shared(uri) => {
                let mut uri = uri.as_ref().clone();
                if let Some(password) = uri.take_password() {
                    // Not into the file of the old database, which is needed until the move is done.
                    let [one, other] = self.password_files();
                    let file = if self.password_in_use()?.as_ref() == Some(&one) {
                        other
                    } else {
                        one
                    };
                    replace(&file, &password)?;
                    uri = uri.with_password_file(file);
                }
                uri.shown()
            }
        };
        replace(&self.next_uri(), &format!("{text}\n"))?;
        self.sync()
    }

    /// Where the database will be, if a move has begun.
    pub(crate) fn next_place(&self) -> Result<Option<Place>, HomeError> {
        let Some(text) = self.read(&self.next_uri())? else {
            return Ok(None);
        };
        self.place_of(text.trim()).map(Some)
    }

    /// Has the database be where [`Home::set_next`] said. May be done again.
    pub(crate) fn take_next(&self) -> Result<(), HomeError> {
        let next = self.next_uri();
        let Some(text) = self.read(&next)? else {
            return self.forget_passwords();
        };
        if text.trim() == HERE {
            remove(&self.database_uri())?;
            self.sync()?;
            remove(&next)?;
        } else {
            let moved = fs::rename(&next, self.database_uri());
            moved.map_err(|source| self.failed(source))?;
        }
        self.sync()?;
        self.forget_passwords()
    }

    /// Removes the passwords of databases that were moved from.
    fn forget_passwords(&self) -> Result<(), HomeError> {
        let used = self.password_in_use()?;
        let files = self.password_files().into_iter();
        for file in files.filter(|file| used.as_ref() != Some(file)) {
            remove(&file)?;
        }
        self.sync()
    }

    /// The two files in which a password may be: one for a database, the other for its successor.
    fn password_files(&self) -> [PathBuf; 2] {
        [
            self.database_password(),
            self.folder.join("database.password-2"),
        ]
    }

    fn password_in_use(&self) -> Result<Option<PathBuf>, HomeError> {
        let Some(text) = self.read(&self.database_uri())? else {
            return Ok(None);
        };
        let uri = DatabaseUri::from_str(text.trim())?;
        Ok(uri.password_file().map(Path::to_owned))
    }

    fn place_of(&self, text: &str) -> Result<Place, HomeError> {
        if text == HERE {
            return Ok(Place::File(self.database()));
        }
        let uri = DatabaseUri::from_str(text);
        Ok(Place::Shared(Box::new(with_password(uri?)?)))
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

    /// Fails where the making of a server was interrupted.
    pub(crate) fn check_finished(&self) -> Result<(), HomeError> {
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

/// The URI with the password from the file that it names, if it names one.
///
/// # Errors
/// When that file cannot be read, or is open to others.
pub fn with_password(uri: DatabaseUri) -> Result<DatabaseUri, HomeError> {
    let Some(path) = uri.password_file().map(Path::to_owned) else {
        return Ok(uri);
    };
    let failed = |source| HomeError::Io {
        folder: path.clone(),
        source,
    };
    let file = File::open(&path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(HomeError::OpenToOthers { path, mode });
    }
    let mut password = Zeroizing::new(String::new());
    let read = file.take(4096).read_to_string(&mut password);
    read.map_err(failed)?;
    let end = password.trim_end_matches(['\r', '\n']).len();
    password.truncate(end);
    Ok(uri.with_password(password))
}

/// What stands for the home's own database file.
const HERE: &str = "sqlite:";

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

/// Writes a file in place of what was there, mode 0600, durably but for its name.
fn replace(path: &Path, text: &str) -> Result<(), HomeError> {
    let new = path.with_added_extension("new");
    remove(&new)?;
    write_new(&new, text)?;
    fs::rename(&new, path).map_err(|source| HomeError::Io {
        folder: path.to_owned(),
        source,
    })
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
