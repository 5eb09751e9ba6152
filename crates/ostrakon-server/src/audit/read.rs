use std::sync::Arc;

use ostrakon_custody::{AuditRecord, SignedCheckpoint};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_storage::{AuditRow, InstanceId, Store, StoreError};
use ostrakon_types::{UnixMillis, canonical};
use serde::{Deserialize, Serialize};

use crate::{Home, offline::Opened, server::BuildError};

/// How many records are read at once.
const PAGE: u32 = 500;

/// How much later than the checkpoint that covers it a record may be dated, in milliseconds: a request is
/// dated when it comes, and recorded when it is decided.
const SLACK: i64 = 5 * 60 * 1000;

/// A record of the audit log, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// The instance that wrote it.
    pub instance: String,
    /// Its number.
    pub sequence: u64,
    /// What it says.
    pub record: AuditRecord,
}

/// Reads an audit log. The server may be running. Records are opened, but not checked for what is missing:
/// that is [`verify`](super::verify)'s.
pub struct AuditReader {
    store: Arc<Store>,
    keyserver: VerifiedKeyserver,
    /// Up to where each chain was read.
    read: Vec<(InstanceId, u64)>,
}

/// Up to where a chain was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    instance: String,
    sequence: u64,
}

impl AuditReader {
    /// Opens the log of the server in `home`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn open(home: &Home) -> Result<Self, BuildError> {
        let Opened {
            store,
            identity,
            instance,
        } = Opened::open(home).await?;
        Ok(Self::new(store, identity.keyserver, instance).await?)
    }

    /// Reads the log of this instance, and of all others, in a database that is open.
    pub(crate) async fn new(
        store: Arc<Store>,
        keyserver: VerifiedKeyserver,
        instance: InstanceId,
    ) -> Result<Self, StoreError> {
        let heads = store.audit_heads().await?;
        let mut read: Vec<_> = heads
            .iter()
            .map(|(id, head)| (*id, head.sequence))
            .collect();
        if read.iter().all(|(id, _)| *id != instance) {
            read.push((instance, 0));
        }
        Ok(Self {
            store,
            keyserver,
            read,
        })
    }

    /// Up to where the chains were read.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.read.iter().map(|(instance, sequence)| Place {
            instance: instance.to_string(),
            sequence: *sequence,
        })
    }

    /// Goes on from where another reader was. What it did not know begins at the beginning.
    pub(crate) fn go_back_to(&mut self, places: &[Place]) {
        for (instance, read) in &mut self.read {
            let name = instance.to_string();
            let known = places.iter().find(|place| place.instance == name);
            *read = known.map_or(0, |place| place.sequence.min(*read));
        }
    }

    /// The newest `count` records of all chains, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn newest(&self, count: u64) -> Result<Vec<AuditEntry>, BuildError> {
        let mut entries = Vec::new();
        for &(instance, newest) in &self.read {
            let (mut before, mut left) = (newest.saturating_add(1), count);
            while left > 0 {
                let size = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
                let store = &self.store;
                let page = store.audit_page_back(instance, before, size).await?;
                let Some(first) = page.last() else { break };
                before = first.sequence;
                left -= page.len() as u64;
                for row in page {
                    entries.push(self.entry(instance, &row)?);
                }
            }
        }
        entries.sort_by_key(|entry| (entry.record.at, entry.sequence));
        let skipped = entries
            .len()
            .saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(entries.split_off(skipped))
    }

    /// The records that were written since the last call, or since the log was opened.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn newer(&mut self) -> Result<Vec<AuditEntry>, BuildError> {
        let mut entries = Vec::new();
        for at in 0..self.read.len() {
            let Some(&(instance, read)) = self.read.get(at) else {
                break;
            };
            let page = self.store.audit_page(instance, read + 1, PAGE).await?;
            for row in &page {
                entries.push(self.entry(instance, row)?);
            }
            if let (Some(last), Some(place)) = (page.last(), self.read.get_mut(at)) {
                place.1 = last.sequence;
            }
        }
        Ok(entries)
    }

    /// Hands the records from `since` on, and until `until`, to `each`, chain by chain, in order. What lies
    /// long before or behind is not read: checkpoints tell where that is.
    ///
    /// # Errors
    /// When they cannot be read, or `each` fails.
    pub async fn between<E: From<BuildError>>(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        mut each: impl FnMut(&AuditEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.heads_at(since.plus(-1)).await.map_err(E::from)?;
        let behind = self
            .heads_behind(until.plus(SLACK))
            .await
            .map_err(E::from)?;
        let of = |heads: &[(InstanceId, u64)], id| {
            let head = heads.iter().find(|(of, _)| *of == id);
            head.map(|(_, sequence)| *sequence)
        };
        for &(instance, newest) in &self.read {
            let mut from = of(&before, instance).unwrap_or(0) + 1;
            let last = of(&behind, instance).map_or(newest, |behind| behind.min(newest));
            while from <= last {
                let page = self.store.audit_page(instance, from, PAGE).await;
                let page = page.map_err(BuildError::from).map_err(E::from)?;
                let Some(end) = page.last() else { break };
                from = end.sequence + 1;
                for row in page.iter().filter(|row| row.sequence <= last) {
                    let entry = self.entry(instance, row).map_err(E::from)?;
                    if (since..=until).contains(&entry.record.at) {
                        each(&entry)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Where the newest checkpoint until `at` saw the chains.
    async fn heads_at(&self, at: UnixMillis) -> Result<Vec<(InstanceId, u64)>, BuildError> {
        let row = self.store.checkpoint_until(at).await?;
        Ok(row.map_or_else(Vec::new, |row| self.heads(&row.signed)))
    }

    /// Where the first checkpoint behind `at` saw the chains; nothing where there is none.
    async fn heads_behind(&self, at: UnixMillis) -> Result<Vec<(InstanceId, u64)>, BuildError> {
        let before = self.store.checkpoint_until(at).await?;
        let from = before.map_or(1, |row| row.number + 1);
        let page = self.store.checkpoint_page(from, 1).await?;
        Ok(page
            .first()
            .map_or_else(Vec::new, |row| self.heads(&row.signed)))
    }

    fn heads(&self, signed: &[u8]) -> Vec<(InstanceId, u64)> {
        let keyserver = &self.keyserver;
        let signed = SignedCheckpoint::from_bytes(signed).ok();
        let checkpoint = signed.and_then(|signed| {
            let verified = signed.verify(&keyserver.kss_id(), keyserver.root_key());
            verified.ok().cloned()
        });
        let heads = checkpoint
            .into_iter()
            .flat_map(|checkpoint| checkpoint.heads);
        heads.map(|head| (head.instance, head.sequence)).collect()
    }

    fn entry(&self, instance: InstanceId, row: &AuditRow) -> Result<AuditEntry, BuildError> {
        let corrupt = |_| StoreError::Corrupt {
            table: "audit",
            column: "sealed",
        };
        let bytes = self.store.open_audit(instance, row)?;
        Ok(AuditEntry {
            instance: instance.to_string(),
            sequence: row.sequence,
            record: canonical::decode(&bytes).map_err(corrupt)?,
        })
    }
}
