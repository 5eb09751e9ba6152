//! What an operator, or the server, changes, within the transaction that puts it on record.

use ostrakon_storage::{StoreError, Transaction};
use ostrakon_types::{Digest, UnixMillis};
use sha2::{Digest as _, Sha256};

use super::{Change, Relay, Spends, ceremonies::relay};
use crate::AuditEvent;

/// Makes the change. Gives the events that are to be recorded with it, and the answer.
pub(super) async fn administer(
    tx: &mut Transaction<'_>,
    change: &Change,
    now: UnixMillis,
) -> Result<(Vec<AuditEvent>, i64), StoreError> {
    let (event, answer) = match change {
        Change::SaveBackup {
            generation,
            file,
            detail,
        } => {
            tx.insert_backup(*generation, file, now).await?;
            let event = AuditEvent::Administered {
                action: "save-backup-key".to_owned(),
                detail: detail.clone(),
            };
            (Some(event), 0)
        }
        Change::Stage => {
            tx.stage().await?;
            let event = AuditEvent::Administered {
                action: "disable".to_owned(),
                detail: "recovered, until it is enabled".to_owned(),
            };
            (Some(event), 0)
        }
        Change::TakeProfile {
            profile,
            versions,
            known,
        } => {
            let taken = tx.restore_profile(versions, *known, now).await?;
            let event = AuditEvent::ProfileShown {
                profile: profile.id(),
                head: profile.head().into(),
            };
            (taken.then_some(event), i64::from(taken))
        }
        Change::TakeLocation { profile, carried } => {
            let taken = tx.take_location(profile, carried).await?;
            let event = AuditEvent::Administered {
                action: "restore".to_owned(),
                detail: format!("folder {} of profile {profile}", carried.location),
            };
            (taken.then_some(event), i64::from(taken))
        }
        // Disabled again, it is as it was: whoever may disable it does not fill the log.
        Change::SetEnabled { enabled: false, .. } if !tx.is_enabled().await? => (None, 0),
        Change::SetEnabled {
            enabled,
            by,
            spends,
        } => {
            let mut events = Vec::new();
            if let Some(spends) = spends {
                // The row is gone with this transaction, or was with another's that cancelled it: whoever
                // disables the server at another instance has done one before that.
                events = spend(tx, spends, now).await?;
                if events.is_empty() {
                    return Ok((events, 0));
                }
            }
            tx.set_enabled(*enabled).await?;
            let action = if *enabled { "enable" } else { "disable" };
            let event = AuditEvent::Administered {
                action: action.to_owned(),
                detail: by.clone().unwrap_or_default(),
            };
            events.push(event);
            return Ok((events, 1));
        }
        Change::LoadPolicy {
            time_zone,
            source,
            number,
            by,
        } => {
            let next = tx.policy_version().await?.saturating_add(1);
            if number.is_some_and(|number| number != next) {
                return Ok((Vec::new(), 0));
            }
            let approved = number.is_some();
            let version = tx.insert_policy(time_zone, source, approved, now).await?;
            let event = AuditEvent::PolicyLoaded {
                version,
                time_zone: time_zone.clone(),
                source: Digest::from_bytes(Sha256::digest(source).into()),
                by: by.clone(),
            };
            (Some(event), version)
        }
        Change::Certificate { row, event } => {
            tx.put_certificate(row).await?;
            (Some(event.clone()), 0)
        }
        Change::ClearQuota { profile, by } => {
            let counters = tx.clear_counters(profile.as_ref()).await?;
            let event = AuditEvent::QuotaCleared {
                profile: *profile,
                counters,
                by: by.clone(),
            };
            (Some(event), count(counters))
        }
        Change::Break(broken) => {
            tx.set_enabled(false).await?;
            (Some(broken.event()), 0)
        }
        Change::Checkpoint(row) => {
            tx.insert_checkpoint(row).await?;
            (None, 0)
        }
        Change::Archive { row, event } => {
            tx.insert_archive(row).await?;
            (Some(event.clone()), 0)
        }
        Change::PruneRecords {
            instance,
            through,
            count: at_most,
        } => {
            let pruned = tx.prune_audit(*instance, *through, *at_most).await?;
            (None, count(pruned))
        }
        Change::PruneCheckpoints {
            before,
            count: at_most,
        } => {
            let pruned = tx.prune_checkpoints(*before, *at_most).await?;
            (None, count(pruned))
        }
    };
    Ok((event.into_iter().collect(), answer))
}

/// Ends a ceremony whose approval is used. No event where it has ended before.
async fn spend(
    tx: &mut Transaction<'_>,
    spends: &Spends,
    now: UnixMillis,
) -> Result<Vec<AuditEvent>, StoreError> {
    let closing = Relay::Close {
        profile: spends.profile,
        ceremony: spends.ceremony,
        requester: spends.requester,
        outcome: "approved",
    };
    relay(tx, &closing, now).await
}

fn count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
