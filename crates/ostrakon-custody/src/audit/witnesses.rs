use std::collections::BTreeMap;

use ostrakon_storage::{AuditHead, InstanceId};

use super::{AuditError, Auditor, Checkpoint, SignedCheckpoint, auditor::PAGE};

/// What a witness says of a chain: at this record, this authenticator.
pub(super) type Expected = BTreeMap<u64, Vec<([u8; 32], String)>>;

/// What the checkpoints in the database, and others, say of one chain, in the order of its records.
pub(super) struct Witnesses<'a> {
    auditor: &'a Auditor<'a>,
    instance: InstanceId,
    said: Expected,
    /// The next checkpoint to read, and the last one there is.
    next: u64,
    until: u64,
    /// What was read: everything up to this record.
    read_to: u64,
}

impl<'a> Witnesses<'a> {
    pub(super) fn new(
        auditor: &'a Auditor<'a>,
        newest: Option<&Checkpoint>,
        instance: InstanceId,
        start: AuditHead,
        mut said: Expected,
    ) -> Self {
        // What is archived is the archive's to show.
        said = said.split_off(&(start.sequence + 1));
        Self {
            auditor,
            instance,
            said,
            next: 1,
            until: newest.map_or(0, |newest| newest.number),
            read_to: 0,
        }
    }

    /// Reads checkpoints until they have come to this record.
    async fn read(&mut self, sequence: u64) -> Result<(), AuditError> {
        while self.read_to <= sequence && self.next <= self.until {
            let page = self.auditor.store.checkpoint_page(self.next, PAGE).await?;
            let Some(last) = page.last() else {
                self.next = self.until + 1;
                break;
            };
            self.next = last.number + 1;
            for row in page {
                // Those that are not what was written were found out before.
                let Ok(signed) = SignedCheckpoint::from_bytes(&row.signed) else {
                    continue;
                };
                let verified = signed.verify(&self.auditor.kss_id, &self.auditor.root);
                let head = verified.ok().and_then(|it| it.head(self.instance));
                if let Some(head) = head {
                    let by = format!("checkpoint {}", row.number);
                    let of_record = self.said.entry(head.sequence).or_default();
                    if of_record.iter().all(|(mac, _)| mac != head.mac.as_bytes()) {
                        of_record.push((*head.mac.as_bytes(), by));
                    }
                    self.read_to = head.sequence;
                }
            }
        }
        Ok(())
    }

    /// What is said of a record. Records come in order.
    pub(super) async fn of(
        &mut self,
        sequence: u64,
    ) -> Result<Vec<([u8; 32], String)>, AuditError> {
        self.read(sequence).await?;
        let mut here = Vec::new();
        while let Some(entry) = self.said.first_entry() {
            if *entry.key() > sequence {
                break;
            }
            let (at, said) = entry.remove_entry();
            if at == sequence {
                here = said;
            }
        }
        Ok(here)
    }

    /// The last record of which anything is left to be said, and who says so.
    pub(super) async fn last(mut self) -> Result<Option<(u64, String)>, AuditError> {
        self.read(u64::MAX).await?;
        let last = self.said.pop_last();
        Ok(last.and_then(|(at, said)| Some((at, said.into_iter().next()?.1))))
    }
}
