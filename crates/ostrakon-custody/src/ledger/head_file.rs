//! A small file beside the database that says how far the chain has come.
//!
//! It is written in place after each commit, before anybody is answered, and not synced: the page cache
//! outlives the process, not the machine. So it is never ahead of the database by itself, and a chain that
//! is shorter was cut. Its authenticator keeps who has no key from writing another; an older copy of it
//! can be put back.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use ostrakon_shards::chain_key::ChainKey;
use ostrakon_storage::{AuditHead, InstanceId};

const MAGIC: &[u8; 16] = b"ostrakon-head-1\n";
const LEN: usize = 16 + 16 + 8 + 32 + 32;

/// The file, open for writing.
pub(crate) struct HeadFile {
    file: File,
    /// Whether the last write failed: each outage is told once.
    failing: AtomicBool,
}

/// Why the head file says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadFileError {
    /// It cannot be read.
    #[error("cannot use the head file of the audit log: {0}")]
    Io(io::Error),
    /// It was changed, or is another server's.
    #[error("the head file of the audit log was changed, or is another server's")]
    Changed,
    /// It is not there, and should be.
    #[error("the head file of the audit log is missing")]
    Missing,
}

impl HeadFile {
    /// Opens the file, and makes it where there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, HeadFileError> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map(|file| Self {
                file,
                failing: AtomicBool::new(false),
            })
            .map_err(HeadFileError::Io)
    }

    /// Writes how far the chain has come. That it cannot be written is logged.
    pub(crate) fn write(&self, key: &ChainKey, instance: InstanceId, head: &AuditHead) {
        let number = head.sequence.to_be_bytes();
        let tag = key.mac(&parts(&instance, &number, &head.mac));
        let mut bytes = Vec::with_capacity(LEN);
        for part in [&MAGIC[..], instance.as_bytes(), &number, &head.mac, &tag] {
            bytes.extend_from_slice(part);
        }
        let written = self.file.write_all_at(&bytes, 0);
        let failed = self.failing.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Err(error) if !failed => {
                tracing::error!(%error, "the head file of the audit log cannot be written");
            }
            Ok(()) if failed => {
                tracing::info!("the head file of the audit log can be written again");
            }
            _ => {}
        }
    }
}

/// What the file says; nothing when there is none.
pub(crate) fn read(
    path: &Path,
    key: &ChainKey,
    instance: InstanceId,
) -> Result<Option<AuditHead>, HeadFileError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(HeadFileError::Io(error)),
    };
    decode(&bytes, key, instance)
        .map(Some)
        .ok_or(HeadFileError::Changed)
}

fn decode(bytes: &[u8], key: &ChainKey, instance: InstanceId) -> Option<AuditHead> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (of, rest) = rest.split_first_chunk::<16>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (mac, rest) = rest.split_first_chunk::<32>()?;
    let tag = <&[u8; 32]>::try_from(rest).ok()?;
    if of != instance.as_bytes() {
        return None;
    }
    key.verify(&parts(&instance, number, mac), tag).ok()?;
    Some(AuditHead {
        sequence: u64::from_be_bytes(*number),
        mac: *mac,
    })
}

/// What the authenticator covers. A record's has another first part, of another length.
fn parts<'a>(instance: &'a InstanceId, number: &'a [u8; 8], mac: &'a [u8; 32]) -> [&'a [u8]; 4] {
    [b"head file", instance.as_bytes(), number, mac]
}
