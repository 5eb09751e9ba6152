//! A file that is there whole or not at all.
//!
//! What is written has no name until it is complete and durable, where the file system can do that;
//! else it has a hidden one that only its owner can read. So neither an error nor a killed process
//! leaves a part of a file that looks like a file.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use ostrakon_shards::random;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, open, renameat_with};

use super::FileError;
use crate::home::sync_folder;

/// A file in the making. Dropped before it is [kept](Self::keep), it never was.
pub(crate) struct Output {
    file: File,
    target: PathBuf,
    folder: PathBuf,
    /// Its hidden name, where it had to have one.
    hidden: Option<PathBuf>,
    overwrite: bool,
}

impl Output {
    /// Begins the file `target`, which must not exist unless it is to be overwritten.
    pub(crate) fn create(target: &Path, overwrite: bool) -> Result<Self, FileError> {
        if !overwrite && target.symlink_metadata().is_ok() {
            return Err(FileError::OutputExists);
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let (file, hidden) = match unnamed(&folder) {
            Some(file) => (file, None),
            None => named(&folder).map(|(file, path)| (file, Some(path)))?,
        };
        Ok(Self {
            file,
            target: target.to_path_buf(),
            folder,
            hidden,
            overwrite,
        })
    }

    /// What to write to. Only its owner can read it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Lets others at it whom `mode` allows.
    pub(crate) fn allow(&self, mode: u32) -> Result<(), FileError> {
        let permissions = Permissions::from_mode(mode & 0o777);
        self.file
            .set_permissions(permissions)
            .map_err(FileError::Write)
    }

    /// Makes it durable and gives it its name, all or nothing.
    pub(crate) fn keep(mut self) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::Write)?;
        if self.hidden.is_none() {
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let link = |to: &Path| linkat(CWD, own.as_str(), CWD, to, AtFlags::SYMLINK_FOLLOW);
            if self.overwrite {
                let hidden = hidden_name(&self.folder)?;
                link(&hidden).map_err(write_error)?;
                self.hidden = Some(hidden);
            } else {
                link(&self.target).map_err(write_error)?;
            }
        }
        if let Some(hidden) = &self.hidden {
            self.rename(hidden)?;
            self.hidden = None;
        }
        sync_folder(&self.folder).map_err(FileError::Write)
    }

    fn rename(&self, hidden: &Path) -> Result<(), FileError> {
        if self.overwrite {
            return fs::rename(hidden, &self.target).map_err(FileError::Write);
        }
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(CWD, hidden, CWD, &self.target, flags) {
            // A file system that knows no such rename: a second name is as exclusive.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                linkat(CWD, hidden, CWD, &self.target, AtFlags::empty()).map_err(write_error)?;
                fs::remove_file(hidden).map_err(FileError::Write)
            }
            result => result.map_err(write_error),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            // Nothing is left to do about a rest that cannot be removed.
            let _ = fs::remove_file(hidden);
        }
    }
}

/// A file without a name, where the file system has such, and it could be named later.
fn unnamed(folder: &Path) -> Option<File> {
    Path::new("/proc/self/fd").is_dir().then_some(())?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    open(folder, flags, Mode::RUSR | Mode::WUSR)
        .ok()
        .map(File::from)
}

fn named(folder: &Path) -> Result<(File, PathBuf), FileError> {
    let path = hidden_name(folder)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(&path).map_err(FileError::Write)?;
    Ok((file, path))
}

fn hidden_name(folder: &Path) -> Result<PathBuf, FileError> {
    let random: [u8; 8] =
        random::array().map_err(|error| FileError::Write(io::Error::other(error)))?;
    Ok(folder.join(format!(".ostrakon-{:016x}", u64::from_le_bytes(random))))
}

fn write_error(errno: rustix::io::Errno) -> FileError {
    if errno == rustix::io::Errno::EXIST {
        FileError::OutputExists
    } else {
        FileError::Write(errno.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Both ways of making a file, since a test's file system has only one of them.
    const WAYS: [fn(&Path, bool) -> Output; 2] = [
        |target, overwrite| Output::create(target, overwrite).unwrap(),
        |target, overwrite| {
            let mut output = Output::create(target, overwrite).unwrap();
            let (file, path) = named(&output.folder).unwrap();
            output.file = file;
            output.hidden = Some(path);
            output
        },
    ];

    #[test]
    fn a_dropped_output_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for way in WAYS {
            let output = way(&folder.path().join("x"), false);
            output.file().write_all(b"half").unwrap();
        }
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_kept_output_never_replaces_what_came_between() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        for way in WAYS {
            let output = way(&target, false);
            output.file().write_all(b"mine").unwrap();
            fs::write(&target, "theirs").unwrap();
            assert!(matches!(output.keep(), Err(FileError::OutputExists)));
            assert_eq!(fs::read(&target).unwrap(), b"theirs");
            fs::remove_file(&target).unwrap();
        }
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_kept_output_has_its_name_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        for overwrite in [false, true] {
            for way in WAYS {
                let output = way(&target, overwrite);
                output.file().write_all(b"mine").unwrap();
                output.keep().unwrap();
                assert_eq!(names(folder.path()), ["x"]);
                let mode = target.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                if !overwrite {
                    fs::remove_file(&target).unwrap();
                }
            }
        }
        assert!(matches!(
            Output::create(&target, false),
            Err(FileError::OutputExists)
        ));
    }
}
