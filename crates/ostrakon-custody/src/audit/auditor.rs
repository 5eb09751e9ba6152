//! Checking the whole log: every chain, every checkpoint, what is archived, and what the witnesses say.

use std::collections::{BTreeMap, BTreeSet};

use ostrakon_shards::{chain_key::ChainKey, sign::VerifyKey};
use ostrakon_storage::{ArchiveRow, AuditHead, InstanceId, Store};
use ostrakon_types::{KssId, UnixMillis};

use super::{
    AuditError, AuditFault, AuditRecord, Checkpoint, CheckpointError, FaultKind, Manifest,
    SignedCheckpoint, SignedManifest,
    fault::Faults,
    walk::Walk,
    witnesses::{Expected, Witnesses},
};
use crate::{HeadFileError, Identity};

/// How many rows are read at once.
pub(super) const PAGE: u32 = 1000;

/// Checks audit logs of one server.
pub struct Auditor<'a> {
    pub(super) store: &'a Store,
    pub(super) key: &'a ChainKey,
    pub(super) kss_id: KssId,
    pub(super) root: VerifyKey,
    own: InstanceId,
}

/// What is known of the log from elsewhere than its database.
#[derive(Debug, Default)]
pub struct Evidence {
    /// What the head file says, where there is one; read before the database is.
    pub head: Option<Result<Option<AuditHead>, HeadFileError>>,
    /// The checkpoint in the state file, where there is one.
    pub state: Option<Result<SignedCheckpoint, CheckpointError>>,
}

/// A checkpoint from outside, and where it stood.
pub type Outside = (String, Result<SignedCheckpoint, CheckpointError>);

/// What is in an audit log, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditReport {
    /// Its chains.
    pub chains: Vec<ChainReport>,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// The number of the newest one, and when it was made.
    pub newest_checkpoint: Option<(u64, UnixMillis)>,
    /// How many checkpoints from outside were compared.
    pub compared: u64,
    /// The first faults.
    pub faults: Vec<AuditFault>,
    /// How many there are in all.
    pub fault_count: u64,
    /// The archives behind which the chains were read.
    archives: Vec<ArchiveRow>,
}

/// What is in one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainReport {
    /// Whose.
    pub instance: InstanceId,
    /// The last record that is archived and not in the database any more; 0 when none is.
    pub archived: u64,
    /// How many records there are behind it.
    pub records: u64,
    /// The number of the newest one.
    pub newest: u64,
    /// How many of the newest ones no checkpoint covers yet.
    pub uncovered: u64,
}

impl<'a> Auditor<'a> {
    /// Checks the log in `store` of the server with this identity.
    #[must_use]
    pub fn new(identity: &'a Identity, store: &'a Store) -> Self {
        Self {
            store,
            key: &identity.audit.key,
            kss_id: identity.keyserver.kss_id(),
            root: *identity.keyserver.root_key(),
            own: identity.audit.instance(),
        }
    }

    /// Reads the whole log in order, chain by chain, checks it, and hands each record to `each`.
    ///
    /// # Errors
    /// When it cannot be read, or records were archived meanwhile: then `each` has got some of two states. What
    /// is wrong with it is in the report.
    pub async fn verify(
        &self,
        evidence: Evidence,
        outside: impl Iterator<Item = Outside>,
        mut each: impl FnMut(InstanceId, u64, &AuditRecord),
    ) -> Result<AuditReport, AuditError> {
        let mut faults = Faults::default();
        let mut report = AuditReport {
            archives: self.store.archives().await?,
            ..AuditReport::default()
        };
        let base = self.base(&mut faults).await?;
        let newest = self
            .checkpoints(base.as_ref(), &mut report, &mut faults)
            .await?;
        let mut said: BTreeMap<InstanceId, Expected> = BTreeMap::new();
        let state = evidence
            .state
            .map(|state| ("the state file".to_owned(), state));
        let known = newest.as_ref().map_or(0, |newest| newest.number);
        let mut later: Option<(u64, String)> = None;
        for (place, checkpoint) in state.into_iter().chain(outside) {
            let known = (base.as_ref(), known);
            let more = self.compare(&place, checkpoint, known, &mut faults).await?;
            report.compared += 1;
            let number = more.as_ref().map_or(0, |more| more.number);
            if number > known.1.max(later.as_ref().map_or(0, |(number, _)| *number)) {
                later = Some((number, place.clone()));
            }
            for head in more.iter().flat_map(|more| &more.heads) {
                let by = format!("a checkpoint in {place}");
                let of_chain = said.entry(head.instance).or_default();
                let of_record = of_chain.entry(head.sequence).or_default();
                of_record.push((*head.mac.as_bytes(), by));
            }
        }
        if let Some((number, place)) = later {
            let note = format!(": the last of them is in {place}");
            faults.add(
                FaultKind::CheckpointMissing,
                None,
                (known + 1, number),
                note,
            );
        }
        match evidence.head {
            Some(Ok(Some(head))) => {
                let of_chain = said.entry(self.own).or_default();
                let of_record = of_chain.entry(head.sequence).or_default();
                of_record.push((head.mac, "the head file".to_owned()));
            }
            Some(Err(error)) => {
                faults.add(FaultKind::WitnessLost, None, (0, 0), error.to_string());
            }
            Some(Ok(None)) | None => {}
        }
        let mut chains: BTreeSet<InstanceId> = said.keys().copied().collect();
        chains.extend(self.store.audit_heads().await?.iter().map(|(id, _)| *id));
        let listed = newest.iter().flat_map(|newest| &newest.heads);
        chains.extend(listed.map(|head| head.instance));
        chains.insert(self.own);
        for instance in chains {
            let start = base.as_ref().and_then(|base| base.base(instance));
            let start = start.unwrap_or(AuditHead::EMPTY);
            let said = said.remove(&instance).unwrap_or_default();
            let witnesses = Witnesses::new(self, newest.as_ref(), instance, start, said);
            let chain = self.chain(instance, start, witnesses, &mut faults, &mut each);
            let mut chain = chain.await?;
            let covered = newest.as_ref().and_then(|newest| newest.head(instance));
            let covered = covered.map_or(0, |head| head.sequence);
            chain.uncovered = chain.newest.saturating_sub(covered.max(start.sequence));
            report.chains.push(chain);
        }
        report.faults = faults.first;
        report.fault_count = faults.count;
        self.is_still_of(&report).await?;
        Ok(report)
    }

    /// Checks that no records were archived since the report was begun. Else some that are missing in it are in
    /// an archive.
    pub(super) async fn is_still_of(&self, report: &AuditReport) -> Result<(), AuditError> {
        if self.store.archives().await? == report.archives {
            Ok(())
        } else {
            Err(AuditError::Archived)
        }
    }

    /// One chain, from `start` on.
    async fn chain(
        &self,
        instance: InstanceId,
        start: AuditHead,
        mut witnesses: Witnesses<'_>,
        faults: &mut Faults,
        each: &mut impl FnMut(InstanceId, u64, &AuditRecord),
    ) -> Result<ChainReport, AuditError> {
        let mut walk = Walk::new(self.store, self.key, instance, start);
        loop {
            let from = walk.at().sequence + 1;
            let page = self.store.audit_page(instance, from, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                let sequence = row.sequence;
                if let Some(record) = walk.step(row, faults) {
                    let at = walk.at();
                    for (mac, by) in witnesses.of(sequence).await? {
                        if mac != at.mac {
                            let at = (sequence, sequence);
                            faults.add(FaultKind::Other, Some(instance), at, by);
                        }
                    }
                    each(instance, sequence, &record);
                }
            }
        }
        let end = walk.at().sequence;
        let report = ChainReport {
            instance,
            archived: start.sequence,
            records: walk.records(),
            newest: end,
            uncovered: 0,
        };
        walk.finish(faults);
        if let Some((last, by)) = witnesses.last().await?.filter(|(last, _)| *last > end) {
            if end == 0 {
                let note = format!("{by} names record {last}");
                faults.add(FaultKind::ChainMissing, Some(instance), (1, last), note);
            } else {
                faults.add(FaultKind::CutOff, Some(instance), (end + 1, last), by);
            }
        }
        Ok(report)
    }

    /// Checks the manifests of archives, and gives the newest one.
    pub(super) async fn base(&self, faults: &mut Faults) -> Result<Option<Manifest>, AuditError> {
        let mut newest: Option<(Manifest, SignedManifest)> = None;
        let mut next = 1;
        for row in self.store.archives().await? {
            for number in next..row.number {
                faults.add(FaultKind::ArchiveMissing, None, (number, number), "");
            }
            let follows = next == row.number;
            next = row.number + 1;
            let signed = SignedManifest::from_bytes(&row.signed);
            let verified = signed.and_then(|signed| {
                let manifest = signed.verify(&self.kss_id, &self.root)?.clone();
                Ok((manifest, signed))
            });
            let after = newest.as_ref().map(|(_, signed)| signed.hash());
            match verified {
                Ok((manifest, signed))
                    if manifest.number == row.number
                        && (!follows || after.is_none_or(|after| manifest.previous == after)) =>
                {
                    newest = Some((manifest, signed));
                }
                _ => {
                    let at = (row.number, row.number);
                    let note = format!("the manifest of archive {} was changed", row.number);
                    faults.add(FaultKind::ArchiveChanged, None, at, note);
                }
            }
        }
        Ok(newest.map(|(manifest, _)| manifest))
    }

    /// Checks the checkpoints, and gives the newest one.
    async fn checkpoints(
        &self,
        base: Option<&Manifest>,
        report: &mut AuditReport,
        faults: &mut Faults,
    ) -> Result<Option<Checkpoint>, AuditError> {
        let first = base.map_or(1, |base| base.checkpoint);
        let mut next = first;
        let mut newest: Option<(Checkpoint, SignedCheckpoint)> = None;
        // Whether the one before is known: what follows it names its hash.
        let mut known = false;
        loop {
            let page = self.store.checkpoint_page(next, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                let number = row.number;
                if number > next {
                    let gap = (next, number - 1);
                    faults.add(FaultKind::CheckpointMissing, None, gap, "");
                    known = false;
                }
                next = number + 1;
                report.checkpoints += 1;
                let signed = SignedCheckpoint::from_bytes(&row.signed);
                let verified = signed.and_then(|signed| {
                    let checkpoint = signed.verify(&self.kss_id, &self.root)?.clone();
                    Ok((checkpoint, signed))
                });
                let (checkpoint, signed) = match verified {
                    Ok(verified) => verified,
                    Err(error) => {
                        faults.add(kind_of(error), None, (number, number), "");
                        known = false;
                        continue;
                    }
                };
                let before = newest.as_ref().filter(|_| known);
                let follows = before.is_none_or(|(_, before)| checkpoint.previous == before.hash());
                // The one at which an archive ended is named by its manifest.
                let ends = base.filter(|base| base.checkpoint == number);
                let follows = follows && ends.is_none_or(|b| b.checkpoint_hash == signed.hash());
                let placed = checkpoint.number == number && checkpoint.at == row.at;
                if !placed || !follows {
                    faults.add(FaultKind::CheckpointChanged, None, (number, number), "");
                }
                newest = Some((checkpoint, signed));
                known = true;
            }
        }
        let newest = newest.map(|(newest, _)| newest);
        report.newest_checkpoint = newest.as_ref().map(|newest| (newest.number, newest.at));
        Ok(newest)
    }

    /// Compares a checkpoint from elsewhere with the one of its number in the database. Gives it where it
    /// says something that the database does not.
    async fn compare(
        &self,
        place: &str,
        checkpoint: Result<SignedCheckpoint, CheckpointError>,
        (base, known): (Option<&Manifest>, u64),
        faults: &mut Faults,
    ) -> Result<Option<Checkpoint>, AuditError> {
        let verified = checkpoint.and_then(|signed| {
            let checkpoint = signed.verify(&self.kss_id, &self.root)?.clone();
            Ok((checkpoint, signed))
        });
        let (checkpoint, signed) = match verified {
            Ok(verified) => verified,
            Err(error) => {
                let note = format!("{place}: {error}");
                faults.add(FaultKind::WitnessLost, None, (0, 0), note);
                return Ok(None);
            }
        };
        let number = checkpoint.number;
        if base.is_some_and(|base| number < base.checkpoint) {
            return Ok(None);
        }
        let page = self.store.checkpoint_page(number, 1).await?;
        let row = page.into_iter().find(|row| row.number == number);
        if row.is_some_and(|row| row.signed == signed.to_bytes()) {
            return Ok(None);
        }
        if number <= known {
            let note = format!(", or the one in {place} was: they differ");
            faults.add(FaultKind::CheckpointChanged, None, (number, number), note);
        }
        Ok(Some(checkpoint))
    }
}

fn kind_of(error: CheckpointError) -> FaultKind {
    match error {
        CheckpointError::Altered => FaultKind::CheckpointChanged,
        CheckpointError::Foreign => FaultKind::CheckpointForeign,
    }
}
