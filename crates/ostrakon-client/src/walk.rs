//! The files that a path argument stands for.

use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use walkdir::WalkDir;

use crate::{file::FileError, report::Skip};

/// A file to work on.
pub(crate) struct Source {
    /// As the user sees it: the argument and what comes below.
    pub(crate) shown: PathBuf,
    /// Without symbolic links.
    pub(crate) real: PathBuf,
    /// Below the argument; the name alone where the argument is the file.
    pub(crate) within: PathBuf,
    /// Whether the argument is the file itself.
    pub(crate) named: bool,
}

/// What is at a path.
pub(crate) enum Found {
    File(Source),
    Skipped(PathBuf, Skip),
    Failed(PathBuf, FileError),
}

/// Finds the files at and below `argument`, in the order of their names. Symbolic links below it are
/// not followed.
pub(crate) fn walk(argument: &Path) -> Box<dyn Iterator<Item = Found> + Send> {
    let shown = argument.to_path_buf();
    let real = match argument.canonicalize() {
        Ok(real) => real,
        Err(error) => {
            let failed = Found::Failed(shown, FileError::Read(error));
            return Box::new(std::iter::once(failed));
        }
    };
    let entries = WalkDir::new(&real).follow_links(false).sort_by_file_name();
    let found = entries.into_iter().filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let below = error.path().and_then(|path| path.strip_prefix(&real).ok());
                let shown = below.map_or_else(|| shown.clone(), |below| join(&shown, below));
                let cause = error
                    .into_io_error()
                    .unwrap_or_else(|| io::Error::other("a loop"));
                return Some(Found::Failed(shown, FileError::Read(cause)));
            }
        };
        if entry.file_type().is_dir() {
            return None;
        }
        let below = entry.path().strip_prefix(&real).unwrap_or(entry.path());
        let named = below.as_os_str().is_empty();
        let shown = join(&shown, below);
        Some(match entry.file_type() {
            kind if kind.is_file() => Found::File(Source {
                within: if named {
                    entry.file_name().into()
                } else {
                    below.to_path_buf()
                },
                real: entry.path().to_path_buf(),
                named,
                shown,
            }),
            _ if named => Found::Failed(shown, FileError::NotAFile),
            kind if kind.is_symlink() => Found::Skipped(shown, Skip::SymbolicLink),
            _ => Found::Skipped(shown, Skip::NotAFile),
        })
    });
    Box::new(found)
}

/// Opens a file that must be a regular one still: no link that took its place, no pipe that blocks.
pub(crate) fn open(path: &Path) -> Result<File, FileError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    // The bits of these flags are below the sign bit.
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(FileError::Read)?;
    let metadata = file.metadata().map_err(FileError::Read)?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(FileError::NotAFile)
    }
}

fn join(argument: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() {
        argument.to_path_buf()
    } else {
        argument.join(below)
    }
}
