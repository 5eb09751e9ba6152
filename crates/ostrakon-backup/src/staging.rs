//! A folder that becomes another, whole or not at all.
//!
//! It is made beside the one that it will be, and takes its place by one rename, or one exchange of the two
//! names where there is something to keep. Whatever is interrupted, the folder is the old one or the new one;
//! what is left beside it is a rest, or has the name under which the old one is kept.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

/// What the name of a folder ends in that is not complete.
const UNFINISHED: &str = "restoring";

/// A folder that is being made.
pub struct Staging {
    folder: PathBuf,
    target: PathBuf,
    _lock: File,
}

/// Why a folder cannot be made, or cannot take the other's place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StagingError {
    /// There is something in it.
    #[error("the folder `{}` is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// It is a file.
    #[error("`{}` is no folder", .0.display())]
    NoFolder(PathBuf),
    /// Another process does the same.
    #[error("another restore into `{}` goes on", .0.display())]
    Busy(PathBuf),
    /// It has no place beside which another can be made.
    #[error("`{}` cannot be exchanged: it is a mount point, or the root of a file system", .0.display())]
    Fixed(PathBuf),
    /// The file system.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StagingError {
    let path = path.to_owned();
    |source| StagingError::Io { path, source }
}

/// The folder beside `target` in which it is made anew. It is there while that is unfinished.
#[must_use]
pub fn unfinished(target: &Path) -> PathBuf {
    target.with_added_extension(UNFINISHED)
}

impl Staging {
    /// Begins to make the folder `target` anew. What an earlier try has left is removed. Where `target` is there
    /// and not empty, `replace` must be said.
    ///
    /// # Errors
    /// When it must not be replaced, or the folder beside it cannot be made.
    pub fn begin(target: &Path, replace: bool) -> Result<Self, StagingError> {
        // A link leads to the folder that is meant; the folder is made beside that.
        let target = match fs::canonicalize(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(target),
            found => found,
        };
        let target = target.map_err(failed(Path::new("")))?;
        let Some(parent) = target.parent() else {
            return Err(StagingError::Fixed(target));
        };
        let disk = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
        if disk(&target).is_some_and(|disk_of| disk(parent) != Some(disk_of)) {
            return Err(StagingError::Fixed(target));
        }
        match is_empty(&target) {
            Ok(false) if !replace => return Err(StagingError::NotEmpty(target)),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(StagingError::NoFolder(target));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&target)(error));
            }
            _ => {}
        }
        fs::create_dir_all(parent).map_err(failed(parent))?;
        let folder = unfinished(&target);
        let lock_path = folder.with_added_extension("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StagingError::Busy(target)),
            Err(error) => return Err(failed(&lock_path)(error.into())),
        }
        remove(&folder)?;
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(failed(&folder))?;
        Ok(Self {
            folder,
            target,
            _lock: lock,
        })
    }

    /// Where it is made.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts it in place. Where there was something, gives the folder in which that is kept, whose name ends in
    /// `kept_as`.
    ///
    /// # Errors
    /// When that is not possible: everything is as it was then.
    pub fn finish(self, kept_as: &str) -> Result<Option<PathBuf>, StagingError> {
        sync_below(&self.folder)?;
        let parent = self.target.parent().unwrap_or(Path::new("/"));
        let replaced = is_empty(&self.target).is_ok_and(|empty| !empty);
        let kept = replaced.then(|| self.target.with_added_extension(kept_as));
        let moved = match &kept {
            // It has the name first that the old one will have after the exchange: nothing that is left of an
            // interrupted one is taken for a rest, and removed.
            Some(kept) => {
                let named = renameat_with(CWD, &self.folder, CWD, kept, RenameFlags::NOREPLACE);
                named.map_err(|error| failed(kept)(error.into()))?;
                let exchange = RenameFlags::EXCHANGE;
                let moved = renameat_with(CWD, kept, CWD, &self.target, exchange);
                if moved.is_err() {
                    let _ = remove(kept);
                }
                moved.map_err(io::Error::from)
            }
            // An empty folder gives way.
            None => fs::rename(&self.folder, &self.target),
        };
        if let Err(error) = moved {
            let _ = remove(&self.folder);
            return Err(failed(&self.target)(error));
        }
        sync(parent)?;
        let _ = fs::remove_file(self.folder.with_added_extension("lock"));
        Ok(kept)
    }

    /// Removes what was made.
    pub fn give_up(self) {
        let _ = remove(&self.folder);
        let _ = fs::remove_file(self.folder.with_added_extension("lock"));
    }
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

fn remove(folder: &Path) -> Result<(), StagingError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder)(error)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), StagingError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(failed(path))
}

/// Has everything below a folder survive a crash of the machine.
fn sync_below(folder: &Path) -> Result<(), StagingError> {
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let kind = entry.file_type().map_err(failed(folder))?;
        if kind.is_dir() {
            sync_below(&entry.path())?;
        } else if kind.is_file() {
            sync(&entry.path())?;
        }
    }
    sync(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("file"), text).unwrap();
    }

    fn holds(folder: &Path) -> Option<String> {
        fs::read_to_string(folder.join("file")).ok()
    }

    #[test]
    fn a_folder_is_the_old_one_until_it_is_the_new_one() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/home");
        let staging = Staging::begin(&target, false).unwrap();
        put(staging.folder(), "first");
        assert!(!target.exists() && unfinished(&target).exists());
        assert_eq!(staging.finish("replaced").unwrap(), None);
        assert_eq!(holds(&target).as_deref(), Some("first"));

        let refused = Staging::begin(&target, false).err();
        assert!(matches!(refused, Some(StagingError::NotEmpty(_))));
        let staging = Staging::begin(&target, true).unwrap();
        put(staging.folder(), "lost");
        let busy = Staging::begin(&target, true).err();
        assert!(matches!(busy, Some(StagingError::Busy(_))));
        // As if it was killed.
        drop(staging);
        assert_eq!(holds(&target).as_deref(), Some("first"));
        let staging = Staging::begin(&target, true).unwrap();
        assert_eq!(holds(staging.folder()), None, "the rest is gone");
        put(staging.folder(), "second");
        // A name that is taken is nobody's to lose.
        put(&target.with_added_extension("taken"), "kept before");
        assert!(staging.finish("taken").is_err());
        assert_eq!(holds(&target).as_deref(), Some("first"));
        let staging = Staging::begin(&target, true).unwrap();
        put(staging.folder(), "second");
        let kept = staging.finish("replaced").unwrap().unwrap();
        assert_eq!(holds(&target).as_deref(), Some("second"));
        assert_eq!(holds(&kept).as_deref(), Some("first"));
        let staging = Staging::begin(&target, true).unwrap();
        staging.give_up();
        let mut left: Vec<_> = fs::read_dir(target.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["home", "home.replaced", "home.taken"]);
        let file = target.join("file");
        assert!(matches!(
            Staging::begin(&file, true).err(),
            Some(StagingError::NoFolder(_))
        ));
    }

    #[test]
    fn a_link_leads_to_the_folder_that_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let (folder, link) = (root.path().join("folder"), root.path().join("link"));
        put(&folder, "old");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        let staging = Staging::begin(&link, true).unwrap();
        put(staging.folder(), "new");
        staging.finish("replaced").unwrap();
        assert!(link.is_symlink());
        assert_eq!(holds(&folder).as_deref(), Some("new"));
    }

    #[test]
    fn an_empty_folder_gives_way() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("home");
        fs::create_dir(&target).unwrap();
        let staging = Staging::begin(&target, false).unwrap();
        put(staging.folder(), "new");
        assert_eq!(staging.finish("replaced").unwrap(), None);
        assert_eq!(holds(&target).as_deref(), Some("new"));
    }
}
