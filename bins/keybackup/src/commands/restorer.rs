//! Takes what an archive holds into a folder, and a database.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ostrakon_backup::archive::{Contents, Header, Verified, Visitor, Voucher};
use ostrakon_server::{
    Home, Place,
    backup::{self, FILES, INSTANCE_KEY, Load, Rows},
};
use ostrakon_types::KssId;
use tokio::runtime::Handle;

use crate::error::{Failure, code};

/// Where what an archive holds goes, and what it must be.
pub(crate) struct Restorer {
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
pub(crate) struct Restored {
    /// What it is.
    pub(crate) contents: Contents,
    /// Whether there is a server that can be opened.
    pub(crate) has_database: bool,
}

impl Restorer {
    /// Takes all into `folder`, which is empty. To be used where it may block.
    pub(crate) fn new(folder: &Path, runtime: Handle) -> Self {
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

    pub(crate) fn expecting(mut self, kss_id: Option<KssId>) -> Self {
        self.expected = kss_id;
        self
    }

    pub(crate) fn with_key(mut self, instance_key: Option<PathBuf>) -> Self {
        self.instance_key = instance_key;
        self
    }

    pub(crate) fn at(mut self, place: Option<Place>, replace: bool) -> Self {
        self.place = place;
        self.replace = replace;
        self
    }

    /// Whether the database was named: what was shared does not become a file by itself.
    pub(crate) fn choosing(mut self, chosen: bool) -> Self {
        self.chosen = chosen;
        self
    }

    /// The same, which reads past the database of an archive that has no key, and for which none was given.
    pub(crate) fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    fn home(&self) -> Home {
        Home::new(&self.folder)
    }

    fn has_key(&self) -> bool {
        self.home().instance_key().exists()
    }

    /// Makes the database what was read, once all was read and is as it was written.
    pub(crate) fn finish(mut self, verified: &Verified) -> Result<Restored, Failure> {
        let contents = verified.header.contents;
        let Some(load) = self.load.take() else {
            return Ok(Restored {
                contents,
                has_database: false,
            });
        };
        let home = self.home();
        let protector = backup::instance_key(&home.instance_key());
        match protector {
            Ok(protector) => {
                let loaded = self.runtime.block_on(load.finish(&protector));
                loaded?;
                if let Some(Place::Shared(uri)) = &self.place {
                    let noted = home.set_database(uri);
                    noted.map_err(|error| Failure::of(code::DISK, &error))?;
                }
                Ok(Restored {
                    contents,
                    has_database: true,
                })
            }
            Err(error) => {
                self.runtime.block_on(load.give_up());
                Err(Failure::of(code::NO_KEY, &error))
            }
        }
    }

    /// Gives up what was begun: a shared database has what it had.
    pub(crate) fn give_up(mut self) {
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
    fn begin(&mut self) -> Result<Option<&mut Load>, Failure> {
        if self.load.is_none() {
            if !self.has_key() {
                let Some(from) = self.instance_key.clone() else {
                    if self.lenient {
                        return Ok(None);
                    }
                    return Err(Failure::new(
                        code::NO_KEY,
                        "the archive is without the instance's key file, and cannot be opened alone",
                    )
                    .hint("name that file: `--instance-key FILE`"));
                };
                backup::instance_key(&from).map_err(|error| Failure::of(code::NO_KEY, &error))?;
                let mut file = fs::File::open(&from).map_err(Failure::file(&from))?;
                let written = self.write(INSTANCE_KEY, 0o600, &mut file);
                written.map_err(Failure::file(&from))?;
            }
            let file = Place::File(self.home().database());
            let place = self.place.as_ref().unwrap_or(&file);
            let load = self.runtime.block_on(Load::into(place, self.replace))?;
            self.load = Some(load);
        }
        Ok(self.load.as_mut())
    }
}

impl Visitor for Restorer {
    type Error = Failure;

    fn header(&mut self, header: &Header, voucher: Voucher) -> Result<(), Failure> {
        self.contents = Some(header.contents);
        if header.contents == Contents::Keyserver && !matches!(voucher, Voucher::Keyserver(_)) {
            return Err(Failure::new(
                code::DAMAGED,
                "the archive of a server is not by a server",
            ));
        }
        if !self.chosen
            && header
                .database
                .as_deref()
                .is_some_and(|kind| kind != "sqlite")
        {
            return Err(Failure::new(
                code::USAGE,
                "the server had a database that its instances share",
            )
            .hint("name the one that it becomes: `--db-uri URI`, or `--db-uri sqlite:`"));
        }
        match self.expected {
            Some(expected) if voucher != Voucher::Keyserver(expected) => Err(Failure::new(
                code::FOREIGN,
                format!("the archive is by {voucher}, and not by {expected}"),
            )),
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &str, mode: u32, content: &mut dyn Read) -> Result<(), Failure> {
        if self.contents == Some(Contents::Keyserver) && !FILES.contains(&name) {
            let said = format!("the archive of a server holds `{name}`, which no server has");
            return Err(Failure::new(code::DAMAGED, said));
        }
        let path = self.folder.join(name);
        self.write(name, mode, content)
            .map_err(Failure::file(&path))
    }

    fn rows(&mut self, rows: Rows) -> Result<(), Failure> {
        if self.contents != Some(Contents::Keyserver) {
            return Err(Failure::new(
                code::DAMAGED,
                "the archive has a database, and is of no server",
            ));
        }
        let runtime = self.runtime.clone();
        match self.begin()? {
            Some(load) => Ok(runtime.block_on(load.add(rows))?),
            None => Ok(()),
        }
    }
}
