//! Takes what an archive holds into a folder, and a database.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ostrakon_storage::{Load, LoadError, Place, ProtectorError, ProtectorKey, Rows};
use ostrakon_types::KssId;
use tokio::runtime::Handle;

use crate::archive::{Contents, Header, Verified, Visitor, Voucher};

/// The key under which an instance's root key is wrapped, by its name in a home.
pub const INSTANCE_KEY: &str = "instance.key";

/// The database of a server that has it in its home.
const DATABASE: &str = "keyserver.db";

/// What a server's home has that a backup takes, beside the database, in the order of the names. What bears
/// witness of the database is taken before what the database says later.
pub const SERVER_FILES: [&str; 6] = [
    "audit.checkpoint",
    "audit.head",
    "generation",
    INSTANCE_KEY,
    "keyserver.yml",
    "server.toml",
];

/// Why what an archive holds is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It is somebody else's.
    #[error("the archive is by {found}, and not by {expected}")]
    Foreign {
        /// Whose it is.
        found: Voucher,
        /// Whose it should be.
        expected: KssId,
    },
    /// It is not what such an archive holds.
    #[error("the archive holds what its maker does not put there: {0}")]
    Unexpected(String),
    /// Nobody said where the database is to be, and it was not a file.
    #[error("the server had a database that its instances share")]
    NoPlace,
    /// The archive is without the instance's key, and none was given.
    #[error("the archive is without the instance's key file, and cannot be opened alone")]
    NoInstanceKey,
    /// The key that was given, or is in the archive, is none.
    #[error(transparent)]
    InstanceKey(#[from] ProtectorError),
    /// The database.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    |source| RestoreError::Io { path, source }
}

/// Where what an archive holds goes, and what it must be.
pub struct Restorer {
    runtime: Handle,
    folder: PathBuf,
    /// What the archive must be of.
    expected: Option<KssId>,
    /// The database: a file in the folder where none is named.
    place: Option<Place>,
    /// Whether that may lose what it has.
    replace: bool,
    /// Whether somebody said what database it is to be.
    chosen: bool,
    /// A key file from elsewhere, for an archive without one.
    instance_key: Option<PathBuf>,
    /// Whether a database is made where it can be opened alone, and read past otherwise.
    lenient: bool,
    contents: Option<Contents>,
    made: BTreeSet<PathBuf>,
    load: Option<Load>,
}

/// What was restored so far.
pub struct Restored {
    /// What it is.
    pub contents: Contents,
    /// Whether there is a server that can be opened.
    pub has_database: bool,
}

impl Restorer {
    /// Takes all into `folder`, which is empty. It blocks, and must not be used where asynchronous code runs.
    #[must_use]
    pub fn new(folder: &Path, runtime: Handle) -> Self {
        Self {
            runtime,
            folder: folder.to_owned(),
            expected: None,
            place: None,
            replace: false,
            chosen: true,
            instance_key: None,
            lenient: false,
            contents: None,
            made: BTreeSet::new(),
            load: None,
        }
    }

    /// The archive must be this server's.
    #[must_use]
    pub fn expecting(mut self, kss_id: Option<KssId>) -> Self {
        self.expected = kss_id;
        self
    }

    /// The file with the instance's key, for an archive that is without one.
    #[must_use]
    pub fn with_key(mut self, instance_key: Option<PathBuf>) -> Self {
        self.instance_key = instance_key;
        self
    }

    /// The database, which with `replace` loses what it has; a file in the folder where none is named.
    #[must_use]
    pub fn at(mut self, place: Option<Place>, replace: bool) -> Self {
        self.place = place;
        self.replace = replace;
        self
    }

    /// Whether the database was named: what was shared does not become a file by itself.
    #[must_use]
    pub fn choosing(mut self, chosen: bool) -> Self {
        self.chosen = chosen;
        self
    }

    /// The same, which reads past the database of an archive that has no key, and for which none was given.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Makes the database what was read, once all was read and is as it was written.
    ///
    /// # Errors
    /// When the instance's key does not open it, or it fails: nothing is in a shared one then.
    pub fn finish(mut self, verified: &Verified) -> Result<Restored, RestoreError> {
        let contents = verified.header.contents;
        let has_database = self.load.is_some();
        if let Some(load) = self.load.take() {
            match ProtectorKey::load(&self.folder.join(INSTANCE_KEY)) {
                Ok(protector) => self.runtime.block_on(load.finish(&protector))?,
                Err(error) => {
                    self.runtime.block_on(load.give_up());
                    return Err(error.into());
                }
            }
        }
        Ok(Restored {
            contents,
            has_database,
        })
    }

    /// Gives up what was begun: a shared database has what it had.
    pub fn give_up(mut self) {
        if let Some(load) = self.load.take() {
            self.runtime.block_on(load.give_up());
        }
    }

    fn make_parents(&mut self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        if parent == self.folder || self.made.contains(parent) {
            return Ok(());
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
        self.made.insert(parent.to_owned());
        Ok(())
    }

    fn write(&mut self, name: &str, mode: u32, content: &mut dyn Read) -> io::Result<()> {
        let path = self.folder.join(name);
        self.make_parents(&path)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o700 | 0o600)
            .open(&path)?;
        io::copy(content, &mut file)?;
        file.sync_all()
    }

    /// Begins the database, once all files are there.
    fn begin(&mut self) -> Result<Option<&mut Load>, RestoreError> {
        if self.load.is_none() {
            if !self.folder.join(INSTANCE_KEY).exists() {
                match self.instance_key.clone() {
                    None if self.lenient => return Ok(None),
                    None => return Err(RestoreError::NoInstanceKey),
                    Some(from) => {
                        ProtectorKey::load(&from)?;
                        let mut file = fs::File::open(&from).map_err(failed(&from))?;
                        let written = self.write(INSTANCE_KEY, 0o600, &mut file);
                        written.map_err(failed(&from))?;
                    }
                }
            }
            let file = Place::File(self.folder.join(DATABASE));
            let place = self.place.as_ref().unwrap_or(&file);
            let load = self.runtime.block_on(Load::into(place, self.replace))?;
            self.load = Some(load);
        }
        Ok(self.load.as_mut())
    }
}

impl Visitor for Restorer {
    type Error = RestoreError;

    fn header(&mut self, header: &Header, voucher: Voucher) -> Result<(), RestoreError> {
        self.contents = Some(header.contents);
        if header.contents == Contents::Keyserver && !matches!(voucher, Voucher::Keyserver(_)) {
            let said = "a server, by somebody who is none".to_owned();
            return Err(RestoreError::Unexpected(said));
        }
        if !self.chosen
            && header
                .database
                .as_deref()
                .is_some_and(|kind| kind != "sqlite")
        {
            return Err(RestoreError::NoPlace);
        }
        match self.expected {
            Some(expected) if voucher != Voucher::Keyserver(expected) => {
                Err(RestoreError::Foreign {
                    found: voucher,
                    expected,
                })
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &str, mode: u32, content: &mut dyn Read) -> Result<(), RestoreError> {
        if self.contents == Some(Contents::Keyserver) && !SERVER_FILES.contains(&name) {
            return Err(RestoreError::Unexpected(format!(
                "`{name}`, which no server has"
            )));
        }
        let path = self.folder.join(name);
        self.write(name, mode, content).map_err(failed(&path))
    }

    fn rows(&mut self, rows: Rows) -> Result<(), RestoreError> {
        if self.contents != Some(Contents::Keyserver) {
            let said = "a database, and of no server".to_owned();
            return Err(RestoreError::Unexpected(said));
        }
        let runtime = self.runtime.clone();
        match self.begin()? {
            Some(load) => Ok(runtime.block_on(load.add(rows))?),
            None => Ok(()),
        }
    }
}
