//! Encrypting files and folders. It takes public cards alone: no server, no secret.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ostrakon_shards::profile::Profile;

use crate::{
    claims::Claims,
    file::{self, EXTENSION, FileError, Output, ProfileRecipient},
    folder::SecureFolder,
    home::sync_folder,
    report::{Event, Outcome, Skip},
    walk::{self, Found, Source, walk},
};

/// How to encrypt.
#[derive(Clone, Default)]
pub struct EncryptOptions {
    /// Where to write; beside the originals when there is none.
    pub output: Option<PathBuf>,
    /// Whether what exists is replaced.
    pub overwrite: bool,
    /// Whether the originals are removed once the encrypted files are durable.
    pub remove: bool,
}

/// Why nothing at all was encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// There is no profile to encrypt for.
    #[error("there is no profile")]
    NoProfile,
}

/// A run of the command over a profile's folders.
pub(crate) struct Encryption<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) folders: &'a [SecureFolder],
    pub(crate) options: &'a EncryptOptions,
    pub(crate) claims: Claims,
}

impl Encryption<'_> {
    /// Encrypts what is at and below `argument`.
    pub(crate) fn run(&mut self, argument: &Path, tell: &mut dyn FnMut(Event)) {
        for found in walk(argument) {
            let (path, outcome) = match found {
                Found::Skipped(path, skip) => (path, Outcome::Skipped(skip)),
                Found::Failed(path, error) => (path, Outcome::Failed(error)),
                Found::File(source) => {
                    let outcome = self.one(&source, tell);
                    (source.shown, outcome.unwrap_or_else(Outcome::Failed))
                }
            };
            tell(Event::report(path, outcome));
        }
    }

    fn one(&mut self, source: &Source, tell: &mut dyn FnMut(Event)) -> Result<Outcome, FileError> {
        if source
            .real
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            return if source.named {
                Err(FileError::AlreadyEncrypted)
            } else {
                Ok(Outcome::Skipped(Skip::AlreadyEncrypted))
            };
        }
        let target = target(source, self.options.output.as_deref())?;
        if !self.claims.claim(&target) {
            return Err(FileError::SameOutput);
        }
        let recipient = self.recipient(&source.real)?;
        let input = walk::open(&source.real)?;
        let before = input.metadata().map_err(FileError::Read)?;
        tell(Event::Began(before.len()));
        let output = Output::create(&target, self.options.overwrite)?;
        let mut advanced = |bytes| tell(Event::Advanced(bytes));
        let bytes = file::encrypt(&input, output.file(), &recipient, &mut advanced)?;
        output.allow(before.permissions().mode())?;
        output.keep()?;
        if self.options.remove {
            remove(&source.real, &input, &before, bytes)?;
        }
        Ok(Outcome::Done {
            output: shown_target(source, target, self.options.output.as_deref()),
            bytes,
        })
    }

    fn recipient(&self, real: &Path) -> Result<ProfileRecipient<'_>, FileError> {
        let folder = self
            .folders
            .iter()
            .find(|folder| real.starts_with(folder.path()));
        let folder = folder.ok_or(FileError::NotInFolder)?;
        if !folder.is_registered() {
            return Err(FileError::FolderPending);
        }
        Ok(ProfileRecipient {
            profile: self.profile,
            suite: folder.suite(),
            meta: folder.meta(real)?,
        })
    }
}

/// Where the encrypted form of `source` is written.
fn target(source: &Source, output: Option<&Path>) -> Result<PathBuf, FileError> {
    let plain = match output {
        Some(folder) => folder.join(&source.within),
        None => source.real.clone(),
    };
    make_parent(&plain, output)?;
    let mut name = plain.into_os_string();
    name.push(".");
    name.push(EXTENSION);
    Ok(name.into())
}

/// The folder for `target`, where it is to be below a folder of the user's choice.
pub(crate) fn make_parent(target: &Path, output: Option<&Path>) -> Result<(), FileError> {
    match (output, target.parent()) {
        (Some(_), Some(folder)) => fs::create_dir_all(folder).map_err(FileError::Write),
        _ => Ok(()),
    }
}

/// What was written, in the terms in which the user named the source.
fn shown_target(source: &Source, target: PathBuf, output: Option<&Path>) -> PathBuf {
    match (output, target.file_name()) {
        (None, Some(name)) => source.shown.with_file_name(name),
        _ => target,
    }
}

/// Removes an original, unless it is another file by now or was written to meanwhile.
fn remove(path: &Path, input: &File, before: &Metadata, bytes: u64) -> Result<(), FileError> {
    let state = |metadata: &Metadata| {
        let (modified, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        (
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            modified,
            nanoseconds,
        )
    };
    let after = input.metadata().map_err(FileError::Read)?;
    let named = fs::symlink_metadata(path).map_err(FileError::Read)?;
    if bytes != before.len() || state(before) != state(&after) || state(before) != state(&named) {
        return Err(FileError::Changed);
    }
    fs::remove_file(path).map_err(FileError::Remove)?;
    let folder = path
        .parent()
        .ok_or_else(|| FileError::Remove(io::ErrorKind::NotFound.into()))?;
    sync_folder(folder).map_err(FileError::Remove)
}
