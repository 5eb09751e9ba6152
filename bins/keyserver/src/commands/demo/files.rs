use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::Failure;

/// The files of the demonstration. They are copied, never touched.
pub(super) struct Files {
    /// The folder that they are below.
    pub(super) root: PathBuf,
    /// Their paths below it, in order.
    relative: Vec<PathBuf>,
    /// Keeps a folder that was made for them.
    _made: Option<tempfile::TempDir>,
}

impl Files {
    /// The files at or below `path`, or the project's own README and docs.
    pub(super) fn find(path: Option<&Path>) -> Result<Self, Failure> {
        let nothing = || {
            Failure::new("there are no files to show anything on")
                .hint("name a file or a folder: `keyserver demo PATH`")
        };
        match path {
            Some(path) if path.is_dir() => Self::below(path.to_owned(), None),
            Some(path) => Self::gather(&[path]),
            None if Path::new("README.md").is_file() => {
                Self::gather(&[Path::new("README.md"), Path::new("docs")])
            }
            None => return Err(nothing()),
        }
        .map_err(|error| Failure::new(format!("cannot read the files: {error}")))
        .and_then(|files| {
            if files.relative.is_empty() {
                Err(nothing())
            } else {
                Ok(files)
            }
        })
    }

    /// Copies single files and folders into one folder.
    fn gather(paths: &[&Path]) -> io::Result<Self> {
        let made = tempfile::Builder::new()
            .prefix("ostrakon-demo-")
            .tempdir()?;
        for path in paths {
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                copy(path, &made.path().join(name))?;
            } else if path.exists() || paths.len() == 1 {
                fs::copy(path, made.path().join(name))?;
            }
        }
        Self::below(made.path().to_owned(), Some(made))
    }

    fn below(root: PathBuf, made: Option<tempfile::TempDir>) -> io::Result<Self> {
        let mut relative = Vec::new();
        walk(&root, &mut |path| {
            if let Ok(path) = path.strip_prefix(&root) {
                relative.push(path.to_owned());
            }
            Ok(())
        })?;
        relative.sort();
        Ok(Self {
            root,
            relative,
            _made: made,
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.relative.len() as u64
    }

    /// Copies all of them to a new folder.
    pub(super) fn copy_to(&self, folder: &Path) -> io::Result<()> {
        copy(&self.root, folder)
    }

    /// Where the first one is after it was encrypted in `folder`.
    pub(super) fn first_encrypted(&self, folder: &Path) -> PathBuf {
        let first = self
            .relative
            .first()
            .map(PathBuf::as_path)
            .unwrap_or(Path::new(""));
        encrypted(&folder.join(first))
    }

    /// Copies the first one, encrypted, from one folder to another under a new name.
    pub(super) fn copy_one(&self, from: &Path, to: &Path) -> Result<PathBuf, Failure> {
        let source = self.first_encrypted(from);
        let target = encrypted(&to.join("moved"));
        fs::copy(source, &target).map_err(Failure::file(&target))?;
        Ok(target)
    }

    /// Whether none of them is in these folders but encrypted.
    pub(super) fn none_in_clear(&self, folders: &[&Path]) -> Result<bool, Failure> {
        Ok(folders.iter().all(|folder| {
            self.relative
                .iter()
                .all(|path| !folder.join(path).exists() && encrypted(&folder.join(path)).exists())
        }))
    }
}

fn encrypted(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ostrakon_client::EXTENSION);
    PathBuf::from(name)
}

/// Whether two folders hold the same files with the same content.
pub(super) fn same(one: &Path, other: &Path) -> Result<bool, Failure> {
    let mut same = true;
    let mut compared = 0_u64;
    walk(one, &mut |path| {
        let relative = path.strip_prefix(one).unwrap_or(path);
        same = same && fs::read(path)? == fs::read(other.join(relative))?;
        compared += 1;
        Ok(())
    })
    .map_err(|error| Failure::new(format!("cannot compare: {error}")))?;
    Ok(same && compared > 0)
}

/// Visits the plain files below a folder. Links are left alone.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), visit)?;
        } else if kind.is_file() {
            visit(&entry.path())?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    walk(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).unwrap_or(path));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(path, target).map(|_| ())
    })
}
