//! The header of a file, read within bounds.

use std::{
    cell::RefCell,
    io::{self, BufRead, Read},
};

use age::{DecryptError, Decryptor};
use age_core::format::{FileKey, Stanza};

use super::{FileError, stanza::ShareStanza};

/// The greatest length in bytes of a header. One with 64 devices under the larger suite, the longest
/// of paths and long manifests stays below.
pub(super) const MAX_LEN: usize = 1 << 20;

/// The line with which a header ends begins so.
const LAST_LINE: &[u8] = b"---";
const MAGIC: &[u8] = b"age-encryption.org/";

/// Reads a header, and gives it back in front of the rest, so that the parser behind never reads more
/// than [`MAX_LEN`] bytes for it.
pub(super) fn bounded<R: BufRead>(mut input: R) -> Result<impl BufRead, FileError> {
    let mut head = Vec::new();
    loop {
        let start = head.len();
        let left = MAX_LEN.saturating_sub(start);
        let limit = u64::try_from(left).unwrap_or(u64::MAX);
        let read = (&mut input).take(limit).read_until(b'\n', &mut head);
        read.map_err(FileError::Read)?;
        let line = head.get(start..).unwrap_or_default();
        if start == 0 && !line.starts_with(MAGIC) {
            return Err(FileError::NotEncrypted);
        }
        match line.last() {
            Some(b'\n') if line.starts_with(LAST_LINE) => break,
            Some(b'\n') => {}
            _ if head.len() >= MAX_LEN => return Err(FileError::HeaderTooLarge),
            _ => return Err(FileError::Header),
        }
        // Of a later version, nothing but the first line need be as it is here.
        if start == 0 && line != b"age-encryption.org/v1\n" {
            return Err(FileError::FormatVersion);
        }
    }
    Ok(io::Cursor::new(head).chain(input))
}

/// Parses a header, and gives the shares in it.
pub(super) fn shares(input: impl BufRead) -> Result<Vec<ShareStanza>, FileError> {
    let collect = Collect(RefCell::new(Ok(Vec::new())));
    let decryptor = Decryptor::new_buffered(bounded(input)?).map_err(header_error)?;
    // It never unwraps anything, so this always fails.
    match decryptor.decrypt(std::iter::once(&collect as _)) {
        Err(DecryptError::NoMatchingKeys) => collect.0.into_inner(),
        Err(error) => Err(header_error(error)),
        Ok(_) => Err(FileError::Header),
    }
}

pub(super) fn header_error(error: DecryptError) -> FileError {
    match error {
        DecryptError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            FileError::Read(error)
        }
        DecryptError::UnknownFormat => FileError::FormatVersion,
        _ => FileError::Header,
    }
}

/// Looks at stanzas and unwraps none.
struct Collect(RefCell<Result<Vec<ShareStanza>, FileError>>);

impl age::Identity for Collect {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let shares: Result<Vec<_>, _> = stanzas.iter().filter_map(ShareStanza::from_age).collect();
        *self.0.borrow_mut() = match shares {
            Ok(shares) if shares.is_empty() => Err(FileError::Foreign),
            Ok(shares) => Ok(shares),
            Err(_) => Err(FileError::Header),
        };
        None
    }
}
