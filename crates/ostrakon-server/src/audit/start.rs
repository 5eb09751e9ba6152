//! Whether the audit log is where it was left, and what becomes of it if not.

use ostrakon_custody::{
    AuditEvent, AuditLog, Break, ChainHead, Change, Identity, Ledger, LedgerError, SignedCheckpoint,
};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_storage::Store;
use ostrakon_types::{ErrorChain, UnixMillis};

use super::witness::{last_in_file, read_state};
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

/// What the witnesses say.
struct Heard {
    heads: Vec<(ChainHead, String)>,
    last: Option<SignedCheckpoint>,
    /// What cannot be used of them, ready to be shown.
    lost: Vec<String>,
    head_file_lost: Option<String>,
}

/// Asks every witness where the chains were, and lets this instance's chain go on behind that.
pub(crate) async fn resume(
    home: &Home,
    config: &Audit,
    store: &Store,
    keyserver: &VerifiedKeyserver,
    audit: &mut AuditLog,
) -> Result<Resumed, BuildError> {
    let heard = hear(home, config, store, keyserver, audit).await?;
    for lost in &heard.lost {
        tracing::error!("{lost}");
    }
    let breaks = audit.breaks(store, &heard.heads).await?;
    for broken in &breaks {
        audit.continue_behind(broken);
    }
    audit.keep_head_file(&home.audit_head())?;
    Ok(Resumed {
        last: heard.last,
        breaks,
        head_file_lost: heard.head_file_lost,
    })
}

/// Tells what a server that does not run would find wrong with the log, and changes nothing.
pub(crate) async fn look(
    home: &Home,
    store: &Store,
    identity: &Identity,
) -> Result<Vec<String>, BuildError> {
    let (keyserver, audit) = (&identity.keyserver, &identity.audit);
    let heard = hear(home, &Audit::default(), store, keyserver, audit).await?;
    let breaks = audit.breaks(store, &heard.heads).await?;
    let broken = breaks.iter().map(ToString::to_string);
    Ok(broken
        .chain(heard.lost)
        .chain(heard.head_file_lost)
        .collect())
}

async fn hear(
    home: &Home,
    config: &Audit,
    store: &Store,
    keyserver: &VerifiedKeyserver,
    audit: &AuditLog,
) -> Result<Heard, BuildError> {
    let mut heard = Heard {
        heads: Vec::new(),
        last: None,
        lost: Vec::new(),
        head_file_lost: None,
    };
    let mut newest = 0;
    let in_database = store.newest_checkpoint().await?;
    let in_database = in_database.map(|row| SignedCheckpoint::from_bytes(&row.signed));
    let mut checkpoints: Vec<_> = in_database
        .into_iter()
        .map(|read| ("in the database", read))
        .collect();
    match read_state(home) {
        Ok(read) => checkpoints.extend(read.map(|read| ("in the state file", read))),
        Err(error) => heard
            .lost
            .push(format!("the state file cannot be read: {error}")),
    }
    match last_in_file(config) {
        Some(Ok(signed)) => checkpoints.push(("in the checkpoint file", Ok(signed))),
        Some(Err(error)) => {
            heard
                .lost
                .push(format!("the checkpoint file cannot be read: {error}"));
        }
        None => {}
    }
    for (place, read) in checkpoints {
        let verified = read.and_then(|signed| {
            let checkpoint = signed.verify(&keyserver.kss_id(), keyserver.root_key())?;
            Ok((checkpoint.clone(), signed))
        });
        match verified {
            Ok((checkpoint, signed)) => {
                let by = format!("checkpoint {} {place}", checkpoint.number);
                let heads = checkpoint.heads.iter();
                heard.heads.extend(heads.map(|head| (*head, by.clone())));
                if checkpoint.number > newest {
                    newest = checkpoint.number;
                    heard.last = Some(signed);
                }
            }
            Err(error) => {
                heard
                    .lost
                    .push(format!("the checkpoint {place} cannot be used: {error}"));
            }
        }
    }
    match audit.read_head_file(store, &home.audit_head()).await? {
        Ok(Some(head)) => {
            let head = ChainHead::from((audit.instance(), head));
            heard.heads.push((head, "the head file".to_owned()));
        }
        Ok(None) => {}
        Err(error) => heard.head_file_lost = Some(ErrorChain(&error).to_string()),
    }
    Ok(heard)
}

impl Resumed {
    /// Puts on record what was found. Whoever calls this answers no requests any more if it tells of a
    /// break.
    pub(crate) async fn record(&self, ledger: &Ledger, now: UnixMillis) -> Result<(), LedgerError> {
        for broken in &self.breaks {
            tracing::error!("the audit log is not where it was left: {broken}");
            ledger
                .administer(Change::Break(broken.clone()), now)
                .await?;
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
