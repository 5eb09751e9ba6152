//! Whether a chain is where its witnesses last saw it, and how it goes on where it is not.

use std::path::Path;

use ostrakon_storage::{AuditHead, InstanceId, Store, StoreError};
use ostrakon_types::Digest;

use super::{AuditEvent, AuditLog, ChainHead};
use crate::ledger::head_file::{self, HeadFile, HeadFileError};

/// A chain that is not where a witness saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Where it was.
    pub expected: ChainHead,
    /// The number of the newest record that is there.
    pub found: u64,
    /// Who saw it.
    pub witness: String,
}

impl Break {
    /// The record of it.
    #[must_use]
    pub fn event(&self) -> AuditEvent {
        AuditEvent::Broken {
            instance: self.expected.instance,
            expected: self.expected.sequence,
            expected_mac: self.expected.mac,
            found: self.found,
            witness: self.witness.clone(),
        }
    }
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            expected: ChainHead {
                instance, sequence, ..
            },
            found,
            witness,
        } = self;
        if found < sequence {
            let first = found + 1;
            write!(
                f,
                "records {first} to {sequence} are missing: {witness} knows them"
            )?;
        } else {
            write!(f, "record {sequence} is not the one that {witness} knows")?;
        }
        write!(f, " (chain {instance})")
    }
}

impl AuditLog {
    /// What the head file says of this instance's chain.
    ///
    /// # Errors
    /// When it cannot be read, is not this server's, or is missing though there are records.
    pub async fn read_head_file(
        &self,
        store: &Store,
        path: &Path,
    ) -> Result<Result<Option<AuditHead>, HeadFileError>, StoreError> {
        let read = head_file::read(path, &self.key, self.instance);
        let stored = store.audit_head(self.instance).await?;
        Ok(match read {
            Ok(None) if stored != AuditHead::EMPTY => Err(HeadFileError::Missing),
            read => read,
        })
    }

    /// Compares the chains with what witnesses saw of them, each a head and who saw it. Of several breaks
    /// of one chain the one with the longest chain is told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn breaks(
        &self,
        store: &Store,
        witnesses: &[(ChainHead, String)],
    ) -> Result<Vec<Break>, StoreError> {
        let heads = store.audit_heads().await?;
        let newest = |instance: InstanceId| {
            let head = heads.iter().find(|(of, _)| *of == instance);
            head.map_or(AuditHead::EMPTY, |(_, head)| *head)
        };
        let mut breaks: Vec<Break> = Vec::new();
        for (expected, witness) in witnesses {
            let found = newest(expected.instance);
            if found.sequence >= expected.sequence {
                let row = store
                    .audit_row(expected.instance, expected.sequence)
                    .await?;
                // One that is not there was archived, or is missing: `audit verify` tells.
                if row.is_none_or(|row| row.mac == expected.mac.as_bytes()) {
                    continue;
                }
            }
            let broken = Break {
                expected: *expected,
                found: found.sequence,
                witness: witness.clone(),
            };
            match breaks
                .iter_mut()
                .find(|other| other.expected.instance == expected.instance)
            {
                Some(other) if other.expected.sequence >= expected.sequence => {}
                Some(other) => *other = broken,
                None => breaks.push(broken),
            }
        }
        Ok(breaks)
    }

    /// Goes on behind the record that should be the newest, whatever is there.
    pub fn continue_behind(&mut self, broken: &Break) {
        if broken.expected.instance == self.instance
            && broken.expected.sequence > self.floor.sequence
        {
            self.floor = broken.expected.head();
        }
    }

    /// Where the chain goes on at least.
    pub(crate) fn floor(&self) -> AuditHead {
        self.floor
    }

    /// Keeps the head file at `path` from now on.
    ///
    /// # Errors
    /// When it cannot be opened or made.
    pub fn keep_head_file(&mut self, path: &Path) -> Result<(), HeadFileError> {
        self.head_file = Some(HeadFile::open(path)?);
        Ok(())
    }

    /// The link that the next one follows, where the database's newest is `stored` and `floor` was
    /// durable before: after a failure the newest record is read again, and somebody may have taken
    /// records away meanwhile.
    pub(crate) fn resume(floor: AuditHead, stored: AuditHead) -> AuditHead {
        if stored.sequence < floor.sequence {
            tracing::error!(
                expected = floor.sequence,
                found = stored.sequence,
                "records are missing at the end of the audit log: they were taken away"
            );
            floor
        } else {
            stored
        }
    }

    /// Notes in the head file that the chain has come to `head`, which is durable.
    pub(crate) fn note(&self, head: &AuditHead) {
        let Some(file) = &self.head_file else { return };
        // It stops nobody: the log itself is durable, and checkpoints follow.
        file.write(&self.key, self.instance, head);
    }
}

/// The head of a chain as a witness tells it.
impl From<(InstanceId, AuditHead)> for ChainHead {
    fn from((instance, head): (InstanceId, AuditHead)) -> Self {
        Self {
            instance,
            sequence: head.sequence,
            mac: Digest::from_bytes(head.mac),
        }
    }
}
