use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ostrakon_custody::{
    AuditError, AuditEvent, Auditor, Change, Ledger, LedgerError, SignedManifest,
};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_storage::{Store, StoreError};
use ostrakon_types::UnixMillis;
use serde::Serialize;

use crate::{
    Clock, Home,
    admin::{AskError, Client},
    offline::{Offline, Opened},
    server::BuildError,
};

/// Rows that are taken away in one transaction: others wait for it.
const BATCH: u32 = 1000;

/// What was archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Archived {
    /// The archive's number.
    pub number: u64,
    /// Records in it.
    pub records: u64,
    /// The checkpoint up to which it goes.
    pub checkpoint: u64,
    /// The SHA-256 of its manifest, as the audit log names it.
    pub sha256: String,
    /// Rows that were taken out of the database.
    pub pruned: u64,
}

/// Why nothing was archived, or not all was taken out of the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The database.
    #[error(transparent)]
    Open(#[from] BuildError),
    /// The log, or the file.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The file does not read back as it was written.
    #[error("the archive does not read back as it was written; the database was not changed")]
    ReadBack,
    /// The running server.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The ledger.
    #[error(transparent)]
    Keep(#[from] KeepArchiveError),
}

/// Why an archive was not put on record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepArchiveError {
    /// Its manifest is not this server's, or not the next one.
    #[error("the archive is not the next one of this server")]
    NotNext,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Moves the records that were written before `before`, as far as a checkpoint covers them, to a new file,
/// and takes them out of the database once the file was read back and checked. `None` when there are none.
///
/// # Errors
/// When the file is there already, or anything fails. What was archived is in the database or in the file,
/// or in both.
pub async fn archive(
    home: &Home,
    before: UnixMillis,
    path: &Path,
    clock: &Clock,
) -> Result<Option<Archived>, ArchiveError> {
    let opened = Opened::open(home).await?;
    let written = write(&opened, before, path, clock.now()).await;
    opened.store.close().await;
    let signed = match written {
        Ok(signed) => signed,
        Err(ArchiveError::Audit(AuditError::Nothing)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (root, kss_id) = {
        let keyserver = &opened.identity.keyserver;
        (*keyserver.root_key(), keyserver.kss_id())
    };
    let manifest = signed
        .verify(&kss_id, &root)
        .map_err(|_| ArchiveError::ReadBack)?;
    let pruned = match keep(home, &signed, clock).await {
        Ok(pruned) => pruned,
        Err((kept, error)) => {
            // Whether it is on record may be open: an answer that was lost, a commit of unknown outcome.
            if !kept && !may_be_on_record(home, &signed).await {
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
    };
    Ok(Some(Archived {
        number: manifest.number,
        records: manifest.records,
        checkpoint: manifest.checkpoint,
        sha256: signed.hash().to_string(),
        pruned,
    }))
}

/// Whether the archive is on record, as far as can be told: then its file must stay.
async fn may_be_on_record(home: &Home, signed: &SignedManifest) -> bool {
    let Ok(opened) = Opened::open(home).await else {
        return true;
    };
    let archives = opened.store.archives().await;
    opened.store.close().await;
    let bytes = signed.to_bytes();
    archives.map_or(true, |rows| rows.iter().any(|row| row.signed == bytes))
}

/// Writes the file, and reads it back.
async fn write(
    opened: &Opened,
    before: UnixMillis,
    path: &Path,
    now: UnixMillis,
) -> Result<SignedManifest, ArchiveError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| AuditError::Open {
            path: path.to_owned(),
            source,
        })?;
    let written = write_to(opened, before, path, now, file).await;
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

async fn write_to(
    opened: &Opened,
    before: UnixMillis,
    path: &Path,
    now: UnixMillis,
    file: File,
) -> Result<SignedManifest, ArchiveError> {
    let auditor = Auditor::new(&opened.identity, &opened.store);
    let out = BufWriter::new(file);
    let made = auditor.archive(before, now, &opened.identity.signer, out);
    let (signed, out) = made.await?;
    let file = out
        .into_inner()
        .map_err(|error| AuditError::from(error.into_error()))?;
    sync(&file, path).map_err(AuditError::from)?;
    let file = File::open(path).map_err(AuditError::from)?;
    let read = auditor.verify_archive(file, |_, _, _| {})?;
    let keyserver = &opened.identity.keyserver;
    let manifest = signed.verify(&keyserver.kss_id(), keyserver.root_key());
    // A gap that is on record stays one.
    let only_known = |fault: &super::AuditFault| fault.kind == super::FaultKind::MissingKnown;
    if read.manifest.as_ref() != manifest.ok() || !read.faults.iter().all(only_known) {
        return Err(ArchiveError::ReadBack);
    }
    Ok(signed)
}

fn sync(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Puts the archive on record and takes its records out of the database. On failure, tells whether it is on
/// record all the same.
async fn keep(
    home: &Home,
    signed: &SignedManifest,
    clock: &Clock,
) -> Result<u64, (bool, ArchiveError)> {
    let client = Client::new(home);
    let mut pruned = 0;
    match client.keep_archive(signed).await {
        Ok(()) => loop {
            match client.prune().await {
                Ok(0) => return Ok(pruned),
                Ok(rows) => pruned += rows,
                Err(error) => return Err((true, error.into())),
            }
        },
        Err(AskError::NotRunning) => {}
        Err(error) => return Err((false, error.into())),
    }
    let offline = Offline::start(home, clock).await;
    let offline = offline.map_err(|error| (false, error.into()))?;
    let kept = keep_archive(
        signed,
        &offline.keyserver,
        &offline.store,
        &offline.ledger,
        clock.now(),
    );
    let mut outcome = kept.await.map_err(|error| (false, error.into()));
    while outcome.is_ok() {
        let (keyserver, store, ledger) = (&offline.keyserver, &offline.store, &offline.ledger);
        match prune(keyserver, store, ledger, clock.now()).await {
            Ok(0) => break,
            Ok(rows) => pruned += rows,
            Err(error) => outcome = Err((true, error.into())),
        }
    }
    offline.finish().await;
    outcome.map(|()| pruned)
}

/// Puts an archive on record, from which on the chains begin behind it.
pub(crate) async fn keep_archive(
    signed: &SignedManifest,
    keyserver: &VerifiedKeyserver,
    store: &Store,
    ledger: &Ledger,
    now: UnixMillis,
) -> Result<(), KeepArchiveError> {
    let manifest = signed
        .verify(&keyserver.kss_id(), keyserver.root_key())
        .map_err(|_| KeepArchiveError::NotNext)?;
    let newest = store.archives().await?.pop();
    if newest.map_or(0, |newest| newest.number) + 1 != manifest.number {
        return Err(KeepArchiveError::NotNext);
    }
    let event = AuditEvent::Archived {
        number: manifest.number,
        checkpoint: manifest.checkpoint,
        records: manifest.records,
        manifest: signed.hash(),
    };
    let row = signed.row();
    ledger
        .administer(Change::Archive { row, event }, now)
        .await?;
    Ok(())
}

/// Takes some rows that the newest archive holds out of the database, and tells how many.
pub(crate) async fn prune(
    keyserver: &VerifiedKeyserver,
    store: &Store,
    ledger: &Ledger,
    now: UnixMillis,
) -> Result<u64, KeepArchiveError> {
    let newest = store.archives().await?.pop();
    let signed = newest.and_then(|row| SignedManifest::from_bytes(&row.signed).ok());
    let Some(signed) = signed else { return Ok(0) };
    let manifest = signed
        .verify(&keyserver.kss_id(), keyserver.root_key())
        .map_err(|_| KeepArchiveError::NotNext)?;
    let spans = manifest.spans.iter().map(|span| Change::PruneRecords {
        instance: span.instance,
        through: span.last,
        count: BATCH,
    });
    let checkpoints = Change::PruneCheckpoints {
        before: manifest.checkpoint,
        count: BATCH,
    };
    let mut pruned = 0;
    for change in spans.chain([checkpoints]) {
        let rows = ledger.administer(change, now).await?;
        pruned += u64::try_from(rows).unwrap_or(0);
    }
    Ok(pruned)
}
