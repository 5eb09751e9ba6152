//! Writing archives, and checking them.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use ostrakon_storage::{AuditHead, AuditRow, CheckpointRow, InstanceId};
use ostrakon_types::UnixMillis;

use super::{
    AuditError, AuditRecord, Auditor, Checkpoint, FaultKind, Manifest, SignedCheckpoint,
    SignedManifest, Span,
    archive::{Frame, FrameReader, FrameWriter},
    auditor::PAGE,
    fault::Faults,
    walk::Walk,
};
use crate::{AuditFault, Signer};

/// What an archive holds, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// What it says of itself, where that is true.
    pub manifest: Option<Manifest>,
    /// The first faults.
    pub faults: Vec<AuditFault>,
    /// How many there are in all.
    pub fault_count: u64,
}

impl Auditor<'_> {
    /// Writes the records that no archive holds yet, up to the newest checkpoint of `before` or earlier,
    /// to `out`. Nothing is taken from the database.
    ///
    /// # Errors
    /// When there are none, they are not what was written, or `out` takes them not.
    pub async fn archive<W: Write>(
        &self,
        before: UnixMillis,
        now: UnixMillis,
        signer: &Signer,
        out: W,
    ) -> Result<(SignedManifest, W), AuditError> {
        let mut faults = Faults::default();
        let base = self.base(&mut faults).await?;
        if let Some(fault) = faults.first.into_iter().next() {
            return Err(AuditError::Broken(fault));
        }
        let row = self.store.checkpoint_until(before).await?;
        let (checkpoint, signed) = self.opened(row)?;
        if base
            .as_ref()
            .is_some_and(|base| base.checkpoint >= checkpoint.number)
        {
            return Err(AuditError::Nothing);
        }
        let spans: Vec<Span> = checkpoint
            .heads
            .iter()
            .map(|head| {
                let start = base.as_ref().and_then(|base| base.base(head.instance));
                let start = start.unwrap_or(AuditHead::EMPTY);
                Span {
                    instance: head.instance,
                    first: start.sequence + 1,
                    before: ostrakon_types::Digest::from_bytes(start.mac),
                    last: head.sequence,
                    mac: head.mac,
                }
            })
            .collect();
        if spans.iter().all(|span| span.first > span.last) {
            return Err(AuditError::Nothing);
        }
        let mut out = FrameWriter::new(out)?;
        out.write(&Frame::Begin(spans.clone()))?;
        let mut records = 0;
        for span in &spans {
            records += self.copy(span, &mut out).await?;
        }
        let first = base.as_ref().map_or(1, |base| base.checkpoint + 1);
        self.copy_checkpoints(first, checkpoint.number, &mut out)
            .await?;
        let previous = base.map(|base| base.number);
        let previous = match previous {
            Some(number) => {
                let rows = self.store.archives().await?;
                let row = rows.into_iter().find(|row| row.number == number);
                let signed = row.and_then(|row| SignedManifest::from_bytes(&row.signed).ok());
                signed.map(|signed| (number, signed.hash()))
            }
            None => None,
        };
        let manifest = Manifest::new(
            self.kss_id,
            previous,
            now,
            (checkpoint.number, signed.hash()),
            spans,
            records,
            out.digest(),
        );
        let manifest = signer.archive(manifest);
        out.write(&Frame::Manifest(Box::new(manifest.clone())))?;
        Ok((manifest, out.finish()?))
    }

    fn opened(
        &self,
        row: Option<CheckpointRow>,
    ) -> Result<(Checkpoint, SignedCheckpoint), AuditError> {
        let row = row.ok_or(AuditError::Nothing)?;
        let signed = SignedCheckpoint::from_bytes(&row.signed);
        let verified = signed.and_then(|signed| {
            let checkpoint = signed.verify(&self.kss_id, &self.root)?.clone();
            Ok((checkpoint, signed))
        });
        verified.map_err(|_| {
            AuditError::Broken(AuditFault {
                kind: FaultKind::CheckpointChanged,
                chain: None,
                first: row.number,
                last: row.number,
                note: String::new(),
            })
        })
    }

    /// Writes the records of a span, which must be what was written. A gap that the server put on record
    /// is let pass, so that what follows can be archived some day.
    async fn copy<W: Write>(
        &self,
        span: &Span,
        out: &mut FrameWriter<W>,
    ) -> Result<u64, AuditError> {
        let mut faults = Faults::default();
        let mut walk = Walk::new(self.store, self.key, span.instance, span.start());
        'pages: while walk.at().sequence < span.last {
            let from = walk.at().sequence + 1;
            let page = self.store.audit_page(span.instance, from, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                if row.sequence > span.last {
                    break 'pages;
                }
                let frame = Frame::Record {
                    instance: span.instance,
                    sequence: row.sequence,
                    sealed: row.sealed.clone(),
                    mac: row.mac.clone(),
                };
                walk.step(row, &mut faults);
                out.write(&frame)?;
            }
        }
        let (records, end) = (walk.records(), walk.at());
        walk.finish(&mut faults);
        end_of(span, end, &mut faults);
        let serious = |fault: &AuditFault| fault.kind != FaultKind::MissingKnown;
        match faults.first.into_iter().find(serious) {
            Some(fault) => Err(AuditError::Broken(fault)),
            None => Ok(records),
        }
    }

    async fn copy_checkpoints<W: Write>(
        &self,
        mut from: u64,
        through: u64,
        out: &mut FrameWriter<W>,
    ) -> Result<(), AuditError> {
        while from <= through {
            let page = self.store.checkpoint_page(from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            for row in page.into_iter().take_while(|row| row.number <= through) {
                out.write(&Frame::Checkpoint(row.signed))?;
            }
        }
        Ok(())
    }

    /// Reads an archive through, checks it, and hands each record to `each`.
    ///
    /// # Errors
    /// When it cannot be read, or is none. What is wrong with one is in the report.
    pub fn verify_archive(
        &self,
        from: impl Read,
        mut each: impl FnMut(InstanceId, u64, &AuditRecord),
    ) -> Result<ArchiveReport, AuditError> {
        let mut faults = Faults::default();
        let mut frames = FrameReader::new(from)?;
        let Some(Frame::Begin(spans)) = frames.next()? else {
            return Err(AuditError::NoArchive("it does not say where it begins"));
        };
        let mut walks: BTreeMap<InstanceId, Walk<'_>> = spans
            .iter()
            .map(|span| {
                let walk = Walk::new(self.store, self.key, span.instance, span.start());
                (span.instance, walk)
            })
            .collect();
        let signed = loop {
            match frames.next()? {
                Some(Frame::Record {
                    instance,
                    sequence,
                    sealed,
                    mac,
                }) => {
                    let Some(walk) = walks.get_mut(&instance) else {
                        return Err(AuditError::NoArchive("it has a record of no chain"));
                    };
                    if sequence <= walk.at().sequence {
                        return Err(AuditError::NoArchive("its records are not in order"));
                    }
                    let row = AuditRow {
                        sequence,
                        sealed,
                        mac,
                    };
                    if let Some(record) = walk.step(row, &mut faults) {
                        each(instance, sequence, &record);
                    }
                }
                Some(Frame::Checkpoint(bytes)) => {
                    let signed = SignedCheckpoint::from_bytes(&bytes);
                    let verified = signed
                        .and_then(|signed| signed.verify(&self.kss_id, &self.root).map(|_| ()));
                    if let Err(error) = verified {
                        let note = format!("a checkpoint in the archive: {error}");
                        faults.add(FaultKind::ArchiveChanged, None, (0, 0), note);
                    }
                }
                Some(Frame::Manifest(signed)) => break signed,
                Some(Frame::Begin(_)) => {
                    return Err(AuditError::NoArchive("it begins twice"));
                }
                None => return Err(AuditError::NoArchive("it is cut off")),
            }
        };
        let body = frames.digest_before_last();
        if frames.next()?.is_some() {
            return Err(AuditError::NoArchive("something follows its end"));
        }
        let changed = "the archive is not what was written";
        let manifest = match signed.verify(&self.kss_id, &self.root) {
            Ok(manifest) if manifest.body == body && manifest.spans == spans => {
                Some(manifest.clone())
            }
            Ok(_) => {
                faults.add(FaultKind::ArchiveChanged, None, (0, 0), changed);
                None
            }
            Err(error) => {
                let note = format!("the archive's manifest: {error}");
                faults.add(FaultKind::ArchiveChanged, None, (0, 0), note);
                None
            }
        };
        for span in &spans {
            if let Some(walk) = walks.remove(&span.instance) {
                let end = walk.at();
                walk.finish(&mut faults);
                end_of(span, end, &mut faults);
            }
        }
        Ok(ArchiveReport {
            manifest,
            faults: faults.first,
            fault_count: faults.count,
        })
    }
}

/// The last record of a span must be the one that it names.
fn end_of(span: &Span, end: AuditHead, faults: &mut Faults) {
    let chain = Some(span.instance);
    if end.sequence < span.last {
        let gap = (end.sequence + 1, span.last);
        faults.add(FaultKind::CutOff, chain, gap, "a checkpoint");
    } else if end != span.end() {
        let last = (span.last, span.last);
        faults.add(FaultKind::Other, chain, last, "a checkpoint");
    }
}
