use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use ostrakon_shards::backup::BackupFile;

use crate::home::read_text;

/// A file for a backup key that is about to be made. It is there, and empty, from the beginning, so that
/// nothing is asked of people that fails for want of a place; and is removed again unless it was written.
#[derive(Debug)]
pub struct NewBackupFile {
    path: PathBuf,
    file: File,
    written: bool,
}

/// Why a backup file was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteBackupError {
    /// There is a file of this name.
    #[error("`{}` exists already", .0.display())]
    Exists(PathBuf),
    /// There is one of this name with nothing in it.
    #[error("`{}` exists already, and is empty", .0.display())]
    Empty(PathBuf),
    /// It cannot be written, or read back.
    #[error("cannot write the backup file `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("the backup file `{}` is not what was written", .0.display())]
    Other(PathBuf),
}

impl NewBackupFile {
    /// Makes the file, which must not be there.
    ///
    /// # Errors
    /// When it is, or cannot be made.
    pub fn reserve(path: &Path) -> Result<Self, WriteBackupError> {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let file = made.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists if is_empty(path) => {
                WriteBackupError::Empty(path.to_owned())
            }
            io::ErrorKind::AlreadyExists => WriteBackupError::Exists(path.to_owned()),
            _ => failed(path)(source),
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            written: false,
        })
    }

    /// Writes it, durably, and reads it back.
    ///
    /// # Errors
    /// When that fails; then there is no file.
    pub fn write(mut self, backup: &BackupFile) -> Result<(), WriteBackupError> {
        let text = backup.to_text();
        let written = self
            .file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_all())
            .and_then(|()| sync_folder(&self.path));
        written.map_err(failed(&self.path))?;
        let read = read_text(&self.path).map_err(failed(&self.path))?;
        match BackupFile::parse(&read) {
            Ok(read) if read == *backup => {
                self.written = true;
                Ok(())
            }
            _ => Err(WriteBackupError::Other(self.path.clone())),
        }
    }
}

impl Drop for NewBackupFile {
    fn drop(&mut self) {
        if !self.written {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_empty(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|about| about.is_file() && about.len() == 0)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> WriteBackupError {
    let path = path.to_owned();
    move |source| WriteBackupError::Io { path, source }
}
