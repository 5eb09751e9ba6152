//! Archives in the age format.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use age::{DecryptError, Decryptor, Identity, stream::StreamReader, x25519};
use zeroize::Zeroizing;

use super::{IdentityError, OpenError};

/// Room for some hundred identities with their comments.
const MAX_FILE: usize = 64 << 10;

/// Begins to decrypt `archive` with the first fitting identity of these files.
pub(super) fn open(
    archive: File,
    files: &[PathBuf],
) -> Result<StreamReader<BufReader<File>>, OpenError> {
    if files.is_empty() {
        return Err(OpenError::NoIdentity);
    }
    let mut identities = Vec::new();
    for path in files {
        let found = read(path).map_err(|source| OpenError::Identity {
            path: path.clone(),
            source,
        })?;
        identities.extend(found);
    }
    let known = identities.iter().map(|identity| identity as &dyn Identity);
    Decryptor::new_buffered(BufReader::new(archive))
        .and_then(|decryptor| decryptor.decrypt(known))
        .map_err(|error| match error {
            DecryptError::NoMatchingKeys => OpenError::NoKey { said: None },
            DecryptError::Io(error) => failed(error),
            _ => OpenError::Damaged { said: None },
        })
}

/// Why the plaintext ended early.
pub(super) fn failed(error: io::Error) -> OpenError {
    match error.kind() {
        // What age says of a chunk that is cut, missing or not authentic.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            OpenError::Damaged { said: None }
        }
        _ => OpenError::Io(error),
    }
}

/// The identities of a file, which is wiped from memory.
fn read(path: &Path) -> Result<Vec<x25519::Identity>, IdentityError> {
    // Never moved, so that nothing of it is left behind.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    let limit = content.capacity() as u64;
    File::open(path)?.take(limit).read_to_end(&mut content)?;
    if content.len() > MAX_FILE {
        return Err(IdentityError::TooLarge);
    }
    let mut identities = Vec::new();
    for (place, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let identity = str::from_utf8(line).ok().and_then(|line| line.parse().ok());
        identities.push(identity.ok_or(IdentityError::Line { line: place + 1 })?);
    }
    if identities.is_empty() {
        return Err(IdentityError::Empty);
    }
    Ok(identities)
}
