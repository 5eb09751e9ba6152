//! Whether the audit log is where it was left, and what becomes of it if not.

use ostrakon_custody::{
    AuditEvent, AuditLog, Break, ChainHead, Change, Checkpoint, Ledger, LedgerError,
    SignedCheckpoint,
};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_storage::Store;
use ostrakon_types::{ErrorChain, UnixMillis};

use super::witness::{Places, read_state};
use crate::{BuildError, Home, config::Audit};

/// A log that is ready to go on.
pub(crate) struct Resumed {
    /// The newest checkpoint, wherever it was found.
    pub(crate) last: Option<SignedCheckpoint>,
    /// Chains that are not where they were left.
    pub(crate) breaks: Vec<Break>,
    /// Why the head file begins anew, if it does.
    pub(crate) head_file_lost: Option<String>,
}

/// Asks every witness where the chains were, and lets this instance's chain go on behind that.
pub(crate) async fn resume(
    home: &Home,
    config: &Audit,
    store: &Store,
    keyserver: &VerifiedKeyserver,
    audit: &mut AuditLog,
) -> Result<Resumed, BuildError> {
    let mut witnesses: Vec<(ChainHead, String)> = Vec::new();
    let mut last: Option<(Checkpoint, SignedCheckpoint)> = None;
    let mut hear = |signed: SignedCheckpoint, place: &str| {
        let verified = signed.verify(&keyserver.kss_id(), keyserver.root_key());
        match verified.cloned() {
            Ok(checkpoint) => {
                let by = format!("checkpoint {} {place}", checkpoint.number);
                let heads = checkpoint.heads.iter();
                witnesses.extend(heads.map(|head| (*head, by.clone())));
                let newer = last
                    .as_ref()
                    .is_none_or(|(last, _)| last.number < checkpoint.number);
                if newer {
                    last = Some((checkpoint, signed));
                }
            }
            Err(error) => tracing::error!("the checkpoint {place} cannot be used: {error}"),
        }
    };
    if let Some(row) = store.newest_checkpoint().await? {
        match SignedCheckpoint::from_bytes(&row.signed) {
            Ok(signed) => hear(signed, "in the database"),
            Err(error) => tracing::error!("the checkpoint in the database: {error}"),
        }
    }
    match read_state(home) {
        Ok(Some(Ok(signed))) => hear(signed, "in the state file"),
        Ok(Some(Err(error))) => tracing::error!("the state file of the audit log: {error}"),
        Ok(None) => {}
        Err(error) => tracing::error!("the state file of the audit log: {error}"),
    }
    match Places::new(home, config).last_in_file() {
        Some(Ok(signed)) => hear(signed, "in the checkpoint file"),
        Some(Err(error)) => tracing::error!("the checkpoint file cannot be read: {error}"),
        None => {}
    }
    let head_file = home.audit_head();
    let head_file_lost = match audit.read_head_file(store, &head_file).await? {
        Ok(Some(head)) => {
            let head = ChainHead::from((audit.instance(), head));
            witnesses.push((head, "the head file".to_owned()));
            None
        }
        Ok(None) => None,
        Err(error) => Some(ErrorChain(&error).to_string()),
    };
    let breaks = audit.breaks(store, &witnesses).await?;
    for broken in &breaks {
        audit.continue_behind(broken);
    }
    audit.keep_head_file(&head_file)?;
    Ok(Resumed {
        last: last.map(|(_, signed)| signed),
        breaks,
        head_file_lost,
    })
}

impl Resumed {
    /// Puts on record what was found. Whoever calls this answers no requests any more if it tells of a
    /// break.
    pub(crate) async fn record(&self, ledger: &Ledger, now: UnixMillis) -> Result<(), LedgerError> {
        for broken in &self.breaks {
            tracing::error!("the audit log is not where it was left: {broken}");
            ledger.administer(Change::Break(broken.clone()), now).await?;
        }
        if let Some(reason) = &self.head_file_lost {
            tracing::error!("{reason}: it begins anew");
            let event = AuditEvent::Administered {
                action: "audit head file".to_owned(),
                detail: format!("begins anew: {reason}"),
            };
            ledger.note(event, now).await?;
        }
        Ok(())
    }
}
