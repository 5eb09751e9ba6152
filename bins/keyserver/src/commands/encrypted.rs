//! A backup file that its owner keeps encrypted in a secure folder.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use ostrakon_client::{SealedFile, people::Profile};
use ostrakon_server::{
    Clock,
    ceremony::{BackupFile, FileOpening, Stand, parse_backup},
};
use ostrakon_types::ErrorChain;

use super::{administrators, ceremony, recovery::machine};
use crate::{
    cli::{AskArgs, Format},
    error::Failure,
};

/// How a file in the age format begins.
const MAGIC: &[u8] = b"age-encryption.org/";

/// More than any backup file has.
const MOST: usize = 8 << 20;

/// Whether a file is encrypted.
pub(crate) fn is_encrypted(path: &Path) -> Result<bool, Failure> {
    let begin = || -> io::Result<Vec<u8>> {
        let mut begin = Vec::new();
        let most = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
        File::open(path)?.take(most).read_to_end(&mut begin)?;
        Ok(begin)
    };
    Ok(begin().map_err(Failure::file(path))? == MAGIC)
}

/// Opens it with the shares of the devices that it is encrypted for. What is in it stays in memory.
pub(crate) async fn read(
    path: &Path,
    args: &AskArgs,
    format: Format,
) -> Result<BackupFile, Failure> {
    let said = |error: &dyn std::error::Error| {
        Failure::new(format!("`{}`: {}", path.display(), ErrorChain(error)))
    };
    let versions = administrators::profile(args)?;
    if versions.is_empty() {
        let said = format!(
            "`{}` is encrypted, and no profile is known here",
            path.display()
        );
        return Err(Failure::new(said).hint(
            "load it from one of its devices (`ostrakon profile recovery`), or name its card with `--profile`",
        ));
    }
    let profile = Profile::from_chain(versions.iter().cloned()).map_err(|error| said(&error))?;
    let sealed = SealedFile::open(path, &profile).map_err(|error| said(&error))?;
    let shares = sealed.shares().to_vec();
    eprintln!(
        "the backup file is encrypted: devices open it first, and give their shares of it after that"
    );
    let wait_ms = args.wait.wait_ms();
    let mut opening = FileOpening::open(shares, &versions, machine()?, wait_ms, &Clock::system())?;
    match ceremony::hold(&mut opening, args, format).await? {
        Stand::Approved => {}
        stand => return Err(ceremony::not_approved(stand)),
    }
    let key = opening.finish()?;
    let content = sealed.decrypt(&key, MOST).map_err(|error| said(&error))?;
    let text = std::str::from_utf8(&content)
        .map_err(|_| Failure::new(format!("`{}` holds no backup file", path.display())))?;
    parse_backup(text).map_err(|error| said(&error))
}
