//! What a folder of archives holds: which of them were made here, and which are proven to restore.
//!
//! It stands beside the archives, as `kss_bak_HOST.json`, and is replaced whole. An archive that it does not
//! name is somebody else's, and is never removed.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use ostrakon_types::{Digest, UnixMillis};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::archive::Contents;

/// What the name of every archive begins with.
const PREFIX: &str = "kss_bak_";
/// What is being written ends in this.
const PART: &str = ".part";

/// An archive that was made here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its file, in the folder.
    pub file: String,
    /// Which archive it is: see its header.
    pub archive: String,
    /// What it is a backup of.
    pub contents: Contents,
    /// Who vouches for it.
    pub of: String,
    /// The folder that it is a backup of.
    pub source: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, as it stands on the disk.
    pub sha256: Digest,
    /// To whom it is encrypted: fingerprints or recipients.
    pub recipients: Vec<String>,
    /// When it was last restored into a throw-away server that opened a shard, or to a throw-away folder.
    pub proven_at: Option<UnixMillis>,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    archives: Vec<Entry>,
}

/// The archives that a machine has made in a folder. While it is there, no other process adds or removes any.
#[derive(Debug)]
pub struct Catalogue {
    folder: PathBuf,
    host: String,
    entries: Vec<Entry>,
    lock: Option<File>,
}

/// Why a folder of archives cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// Another backup goes on.
    #[error("another backup into `{}` goes on", .0.display())]
    Busy(PathBuf),
    /// The list of archives is not what was written.
    #[error("`{}` is no list of archives", .0.display())]
    Damaged(PathBuf),
    /// The file system.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CatalogueError {
    let path = path.to_owned();
    |source| CatalogueError::Io { path, source }
}

/// What was done to keep no more archives than were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Files that were removed.
    pub removed: Vec<String>,
    /// The file that stays beyond the number, since no newer one is proven to restore.
    pub spared: Option<String>,
}

impl Catalogue {
    /// Opens the folder to add archives to it, and removes what an interrupted backup has left.
    ///
    /// # Errors
    /// When another backup goes on there, or it cannot be used.
    pub fn open(folder: &Path, host: &str) -> Result<Self, CatalogueError> {
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let host = plain(host);
        let path = folder.join(format!(".{PREFIX}{host}.lock"));
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(CatalogueError::Busy(folder.to_owned()));
            }
            Err(error) => return Err(failed(&path)(error.into())),
        }
        let mut catalogue = Self::read(folder, &host)?;
        catalogue.lock = Some(lock);
        catalogue.remove_rests()?;
        Ok(catalogue)
    }

    /// Reads what a machine has made in a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path, host: &str) -> Result<Self, CatalogueError> {
        let host = plain(host);
        let path = folder.join(format!("{PREFIX}{host}.json"));
        let stored = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Stored>(&bytes)
                .ok()
                .filter(|stored| {
                    stored
                        .archives
                        .iter()
                        .all(|entry| is_name(&entry.file, &host))
                })
                .ok_or_else(|| CatalogueError::Damaged(path.clone()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(failed(&path)(error)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            host,
            entries: stored.archives,
            lock: None,
        })
    }

    /// The archives, in the order in which they were made, that are still there, and as long as they were.
    #[must_use]
    pub fn entries(&self) -> Vec<&Entry> {
        let there = |entry: &&Entry| {
            let found = fs::symlink_metadata(self.folder.join(&entry.file));
            found.is_ok_and(|found| found.is_file() && found.len() == entry.size)
        };
        self.entries.iter().filter(there).collect()
    }

    /// The names of files that look like archives, and were not made here.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn strangers(&self) -> Result<Vec<String>, CatalogueError> {
        let known: BTreeSet<_> = self
            .entries
            .iter()
            .map(|entry| entry.file.as_str())
            .collect();
        let mut strangers = Vec::new();
        for name in self.names()? {
            let archive = [".tar", ".tar.gpg", ".tar.age"]
                .iter()
                .any(|end| name.ends_with(end));
            if archive && name.starts_with(PREFIX) && !known.contains(name.as_str()) {
                strangers.push(name);
            }
        }
        strangers.sort();
        Ok(strangers)
    }

    /// The name of an archive that is made now, in local time as `stamp` has it: `2026-02-10_11-14-37`. The second
    /// one of a moment, which comes twice a year, too, gets a number behind it.
    #[must_use]
    pub fn name(&self, stamp: &str, extension: Option<&str>) -> String {
        let end = extension.map_or(String::new(), |extension| format!(".{extension}"));
        let named = |more: &str| format!("{PREFIX}{}_{stamp}{more}.tar{end}", self.host);
        let is_free = |name: &String| !self.folder.join(name).exists();
        let mut numbered = (2..).map(|number: u32| named(&format!("-{number}")));
        let first = Some(named("")).filter(is_free);
        first.or_else(|| numbered.find(is_free)).unwrap_or_default()
    }

    /// Begins the file of a new archive, mode 0600. Until [`Catalogue::add`] it has another name.
    ///
    /// # Errors
    /// When there is one of this name, or it cannot be made.
    pub fn begin(&self, name: &str) -> Result<File, CatalogueError> {
        let path = self.folder.join(name);
        if path.exists() {
            return Err(failed(&path)(io::ErrorKind::AlreadyExists.into()));
        }
        let path = self.part(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))
    }

    /// The file that was begun, under the name that it has until it is added.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{PART}"))
    }

    /// Gives a file that was begun its name, durably, and lists it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn add(&mut self, entry: Entry) -> Result<PathBuf, CatalogueError> {
        let (part, path) = (self.part(&entry.file), self.folder.join(&entry.file));
        // On the list first: an archive that is not there is none, and one that is not listed is a stranger.
        self.entries.push(entry);
        self.write(true)?;
        fs::rename(&part, &path).map_err(failed(&path))?;
        self.write(false)?;
        Ok(path)
    }

    /// Notes that the archive with this digest was proven to restore. `false` when none was made here.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn prove(&mut self, sha256: &Digest, at: UnixMillis) -> Result<bool, CatalogueError> {
        let Some(entry) = self
            .entries
            .iter_mut()
            .find(|entry| entry.sha256 == *sha256)
        else {
            return Ok(false);
        };
        entry.proven_at = Some(at);
        self.write(false)?;
        Ok(true)
    }

    /// Keeps the `count` archives of the same folder and author that were made last, and the last one that is
    /// proven to restore.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn roll(&mut self, like: &Entry, count: usize) -> Result<Rolled, CatalogueError> {
        let is_like = |entry: &&Entry| {
            (&entry.of, entry.contents, &entry.source) == (&like.of, like.contents, &like.source)
        };
        let own = self.entries().into_iter().filter(is_like).cloned();
        let own: Vec<_> = own.collect();
        let old = own.len().saturating_sub(count.max(1));
        let (old, kept) = own.split_at(old);
        let mut rolled = Rolled::default();
        let spare = if kept.iter().any(|entry| entry.proven_at.is_some()) {
            None
        } else {
            old.iter().rfind(|entry| entry.proven_at.is_some())
        };
        for entry in old {
            if spare.is_some_and(|spare| spare.file == entry.file) {
                rolled.spared = Some(entry.file.clone());
                continue;
            }
            let path = self.folder.join(&entry.file);
            fs::remove_file(&path).map_err(failed(&path))?;
            rolled.removed.push(entry.file.clone());
        }
        self.entries
            .retain(|entry| !rolled.removed.contains(&entry.file));
        self.write(false)?;
        Ok(rolled)
    }

    /// Writes the list: of what is there, or, where one is about to be, of all.
    fn write(&self, all: bool) -> Result<(), CatalogueError> {
        let path = self.folder.join(format!("{PREFIX}{}.json", self.host));
        let archives = if all {
            self.entries.clone()
        } else {
            self.entries().into_iter().cloned().collect()
        };
        let stored = Stored { archives };
        let written = tempfile::NamedTempFile::new_in(&self.folder).and_then(|mut file| {
            serde_json::to_writer_pretty(&mut file, &stored)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()
        });
        written.map_err(failed(&path))
    }

    /// Removes what is no archive yet: whoever wrote it is gone, since this has the lock.
    fn remove_rests(&self) -> Result<(), CatalogueError> {
        let of_host = format!("{PREFIX}{}_", self.host);
        for name in self.names()? {
            if name.starts_with(&of_host) && name.ends_with(PART) {
                let path = self.folder.join(name);
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, CatalogueError> {
        let entries = fs::read_dir(&self.folder).map_err(failed(&self.folder))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.collect())
    }
}

/// Whether a name is that of an archive of this machine, and leads nowhere else.
fn is_name(name: &str, host: &str) -> bool {
    let of_host = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_prefix(host));
    !name.contains('/') && of_host.is_some_and(|rest| rest.starts_with('_'))
}

/// A machine's name as it stands in names of files: dots become underlines, as always.
fn plain(host: &str) -> String {
    host.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
