mod archive;
mod archiving;
mod auditor;
mod charged;
mod checkpoint;
mod event;
mod fault;
mod resume;
mod state;
mod walk;
mod witnesses;

use ostrakon_shards::chain_key::ChainKey;
use ostrakon_storage::{AuditHead, AuditRow, InstanceId, StoreError};
use ostrakon_types::canonical;

pub use archive::{Manifest, ManifestError, SignedManifest, Span};
pub use archiving::ArchiveReport;
pub use auditor::{AuditReport, Auditor, ChainReport, Evidence, Outside};
pub use charged::Charged;
pub use checkpoint::{ChainHead, Checkpoint, CheckpointError, SignedCheckpoint};
pub use event::{AuditEvent, AuditRecord, ProfileHead, Tally};
pub use fault::{AuditError, AuditFault, FaultKind};
pub use resume::Break;
pub use state::Told;

use crate::ledger::{database::Database, head_file::HeadFile};

/// The chain of audit records of one instance.
///
/// Each record's authenticator covers the record and the authenticator before it, under a key that is
/// derived from the server's identity: who has the database alone can neither change a record nor take
/// one from the middle unnoticed.
pub struct AuditLog {
    instance: InstanceId,
    pub(crate) key: ChainKey,
    /// The chain goes on behind this link even where the database knows only earlier ones.
    floor: AuditHead,
    head_file: Option<HeadFile>,
}

impl AuditLog {
    pub(crate) fn new(instance: InstanceId, key: ChainKey) -> Self {
        Self {
            instance,
            key,
            floor: AuditHead::EMPTY,
            head_file: None,
        }
    }

    /// The instance whose chain it is.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Makes the next links of the chain behind `head`, and says what its head is then.
    pub(crate) fn link(
        &self,
        store: &impl Database,
        mut head: AuditHead,
        records: &[AuditRecord],
    ) -> Result<(Vec<AuditRow>, AuditHead), StoreError> {
        let encoded = records.iter().map(canonical::encode);
        let sealed = store.seal_audit(self.instance, head.sequence + 1, encoded)?;
        let link = |sealed: Vec<u8>| {
            let sequence = head.sequence + 1;
            let number = sequence.to_be_bytes();
            let mac = self
                .key
                .mac(&parts(&self.instance, &number, &head.mac, &sealed));
            head = AuditHead { sequence, mac };
            AuditRow {
                sequence,
                sealed,
                mac: mac.to_vec(),
            }
        };
        let rows = sealed.into_iter().map(link).collect();
        Ok((rows, head))
    }
}

/// What the authenticator of a record covers.
fn parts<'a>(
    instance: &'a InstanceId,
    sequence: &'a [u8; 8],
    previous: &'a [u8],
    sealed: &'a [u8],
) -> [&'a [u8]; 4] {
    [instance.as_bytes(), sequence, previous, sealed]
}

#[cfg(test)]
mod tests;
