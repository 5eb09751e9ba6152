use ostrakon_storage::{AuditHead, Durability, Store, StoreError, Transaction};
use ostrakon_types::UnixMillis;

use super::{
    administer::administer,
    ceremonies::{expire, relay},
    job::{Done, Job},
};
use crate::{AuditLog, AuditRecord};

/// How many requests, and how many counters, are forgotten in one transaction at most: as many as are
/// settled in one, so that a long table holds nobody up for longer than a full batch does.
const FORGOTTEN_AT_ONCE: u32 = 512;

/// Carries out a job that has a transaction to itself, behind the chain's `head`. Returns the new head, and
/// how durable it is where that is less than asked for.
pub(super) async fn carry_out(
    store: &Store,
    audit: &AuditLog,
    head: AuditHead,
    job: &Job,
) -> Result<(Done, AuditHead, Option<Durability>), StoreError> {
    let mut tx = store.begin().await?;
    let (done, events, now) = match job {
        Job::Administer(change, now, _) => {
            let (events, number) = administer(&mut tx, change, *now).await?;
            (Done::Administered(number), events, *now)
        }
        Job::Relay(asked, now, _) => {
            let events = relay(&mut tx, asked, *now).await?;
            (Done::Relayed(!events.is_empty()), events, *now)
        }
        Job::Forget(now, _) => {
            let done = forget(&mut tx, *now).await?;
            (done, expire(&mut tx, *now).await?, *now)
        }
        // What shares a transaction does not come here.
        Job::Probe(_) | Job::Settle(..) | Job::Note(..) => {
            tx.probe().await?;
            (Done::Probed, Vec::new(), UnixMillis(0))
        }
    };
    tx.change_number().await?;
    let durability = tx.durability();
    let record = |event| AuditRecord {
        durability,
        ..AuditRecord::new(now, event)
    };
    let records: Vec<AuditRecord> = events.into_iter().map(record).collect();
    let (rows, head) = audit.link(store, head, &records)?;
    tx.append_audit(audit.instance(), rows).await?;
    tx.commit().await?;
    Ok((done, head, durability))
}

async fn forget(tx: &mut Transaction<'_>, now: UnixMillis) -> Result<Done, StoreError> {
    let requests = tx.forget_requests(now, FORGOTTEN_AT_ONCE).await?;
    let counters = tx.forget_counters(now, FORGOTTEN_AT_ONCE).await?;
    let more = requests.max(counters) >= u64::from(FORGOTTEN_AT_ONCE);
    Ok(Done::Forgotten { more })
}
