//! What somebody with the database, and nothing else, may try on the audit log.

use std::{fs, io, path::PathBuf};

use ostrakon_server::{Home, audit::AuditSummary};

use crate::error::Failure;

/// A copy of the database of a server that does not run.
pub(super) struct Tampering {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A database in which one bit after the other is changed, each in another record.
pub(super) struct Changed {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where in the file records are, the last one first.
    records: Vec<usize>,
    /// The byte that is changed now.
    flipped: Option<usize>,
}

impl Tampering {
    pub(super) fn keep(home: &Home) -> Result<Self, Failure> {
        let path = home.database();
        let bytes = fs::read(&path).map_err(Failure::file(&path))?;
        Ok(Self { path, bytes })
    }

    /// Puts the copy in the place of the database.
    pub(super) fn put_back(&self) -> Result<(), Failure> {
        replace(&self.path, &self.bytes)
    }

    /// Looks for records of the chain: each row begins with the instance's id, and the sealed record
    /// follows. An id that is left in a part of the file that is not used changes nothing.
    pub(super) fn change_a_record(&self, audit: &AuditSummary) -> Result<Changed, Failure> {
        let instance = audit.chains.first().and_then(|chain| {
            let bytes = hex::decode(&chain.instance);
            bytes.ok()
        });
        let instance = instance.ok_or_else(|| Failure::new("there is no chain".to_owned()))?;
        let windows = self.bytes.windows(instance.len()).enumerate().rev();
        let records = windows
            .filter(|(_, window)| *window == instance.as_slice())
            .map(|(at, _)| at + instance.len() + INTO_THE_RECORD)
            .collect();
        Ok(Changed {
            path: self.path.clone(),
            bytes: self.bytes.clone(),
            records,
            flipped: None,
        })
    }
}

/// How far behind the instance's id a byte is that belongs to the sealed record for certain: the number
/// between the two has at most eight bytes.
const INTO_THE_RECORD: usize = 40;

impl Changed {
    /// Changes one bit in the next record, and no other any more. `false` when there is none.
    pub(super) fn flip_next(&mut self) -> Result<bool, Failure> {
        if let Some(byte) = self.flipped.take().and_then(|at| self.bytes.get_mut(at)) {
            *byte ^= 1;
        }
        while let Some(at) = self.records.pop() {
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte ^= 1;
                self.flipped = Some(at);
                replace(&self.path, &self.bytes)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Writes a database, without what SQLite kept beside the one that was there.
fn replace(path: &PathBuf, bytes: &[u8]) -> Result<(), Failure> {
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.clone().into_os_string();
        beside.push(suffix);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::file(path)(error));
            }
            _ => {}
        }
    }
    fs::write(path, bytes).map_err(Failure::file(path))
}
