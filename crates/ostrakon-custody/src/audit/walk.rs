//! One chain, link by link.

use std::collections::BTreeSet;

use ostrakon_shards::chain_key::ChainKey;
use ostrakon_storage::{AuditHead, AuditRow, InstanceId, Store};
use ostrakon_types::canonical;

use super::{AuditEvent, AuditRecord, FaultKind, fault::Faults, parts};

/// So many records that do not open are looked for at other places.
const SOUGHT: usize = 64;
/// So far around a place it is looked for what stands there.
const AROUND: u64 = 16;

/// Walks along a chain and says where it is not what was written.
///
/// A record is sealed for its place and so vouches for itself; the authenticators vouch for the order and
/// for what is not there any more. So one record that was changed is one fault, and those behind it are
/// none.
pub(super) struct Walk<'a> {
    store: &'a Store,
    key: &'a ChainKey,
    instance: InstanceId,
    at: AuditHead,
    /// What the next record may follow: nothing is known behind one that is missing or changed.
    previous: Vec<[u8; 32]>,
    /// Records that do not open at their place.
    closed: Vec<AuditRow>,
    records: u64,
}

impl<'a> Walk<'a> {
    /// Begins behind `start`, which is known to be true.
    pub(super) fn new(
        store: &'a Store,
        key: &'a ChainKey,
        instance: InstanceId,
        start: AuditHead,
    ) -> Self {
        Self {
            store,
            key,
            instance,
            at: start,
            previous: vec![start.mac],
            closed: Vec::new(),
            records: 0,
        }
    }

    /// The newest link that was walked along.
    pub(super) fn at(&self) -> AuditHead {
        self.at
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Goes one link on. Gives the record, where it is one.
    pub(super) fn step(&mut self, row: AuditRow, faults: &mut Faults) -> Option<AuditRecord> {
        let instance = self.instance;
        let sequence = row.sequence;
        let opened = self.store.open_audit(instance, &row).ok();
        let record: Option<AuditRecord> = opened.and_then(|bytes| canonical::decode(&bytes).ok());
        if sequence > self.at.sequence + 1 {
            let gap = (self.at.sequence + 1, sequence - 1);
            self.previous.clear();
            match record.as_ref().map(|record| &record.event) {
                Some(AuditEvent::Broken {
                    instance: of,
                    expected,
                    expected_mac,
                    ..
                }) if *of == instance && *expected == gap.1 => {
                    self.previous.push(*expected_mac.as_bytes());
                    let note = format!("record {sequence} says that the server found them gone");
                    faults.add(FaultKind::MissingKnown, Some(instance), gap, note);
                }
                _ => faults.add(FaultKind::Missing, Some(instance), gap, ""),
            }
        }
        self.records += 1;
        let stored = <[u8; 32]>::try_from(row.mac.as_slice()).ok();
        let number = sequence.to_be_bytes();
        let follows = |previous: &[u8; 32]| {
            let parts = parts(&instance, &number, previous, &row.sealed);
            stored.is_some_and(|mac| self.key.verify(&parts, &mac).is_ok())
        };
        let linked = self.previous.iter().any(follows);
        let known = !self.previous.is_empty();
        // What its authenticator should be.
        let computed = self.previous.first().map(|previous| {
            self.key
                .mac(&parts(&instance, &number, previous, &row.sealed))
        });
        self.at = AuditHead {
            sequence,
            mac: stored.unwrap_or_default(),
        };
        self.previous.clear();
        if record.is_none() {
            // What follows it cannot be told, but it stands for itself.
            if self.closed.len() < SOUGHT {
                self.closed.push(row);
            } else {
                let at = (sequence, sequence);
                faults.add(FaultKind::Changed, Some(instance), at, "");
            }
            return None;
        }
        if linked || !known {
            self.previous.extend(stored);
        } else {
            let at = (sequence, sequence);
            faults.add(FaultKind::Unlinked, Some(instance), at, "");
            if let Some(computed) = computed {
                self.at.mac = computed;
            }
            self.previous.extend(computed);
            self.previous.extend(stored);
        }
        record
    }

    /// Says of each record that does not open at its place whether it was another's.
    pub(super) fn finish(self, faults: &mut Faults) {
        let places: BTreeSet<u64> = self.closed.iter().map(|row| row.sequence).collect();
        for row in self.closed {
            let place = row.sequence;
            let near = place.saturating_sub(AROUND)..=place.saturating_add(AROUND);
            let mut candidates = places.iter().copied().chain(near);
            let from = candidates.find(|&sequence| {
                let there = AuditRow {
                    sequence,
                    sealed: row.sealed.clone(),
                    mac: Vec::new(),
                };
                self.store.open_audit(self.instance, &there).is_ok()
            });
            let (kind, note) = match from {
                Some(from) => (FaultKind::Moved, format!("record {from}")),
                None => (FaultKind::Changed, String::new()),
            };
            faults.add(kind, Some(self.instance), (place, place), note);
        }
    }
}
