use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ostrakon_storage::{AuditHead, Store, StoreError, Transaction};
use ostrakon_types::{
    Charge, Decision, Denial, ErrorChain, Recorded, Refusal, Reply, Settled, Settling, Step,
    UnixMillis,
};
use tokio::sync::mpsc;

use super::{Act, Change, Explain, Job, LedgerError, RequestItem, SettleRequest, Verdict};
use crate::{Approval, AuditEvent, AuditLog, AuditRecord};

/// The task that owns the audit chain and every write.
pub(super) struct Writer {
    store: Arc<Store>,
    audit: AuditLog,
    /// The chain's newest link; `None` when it must be read again, after a failure.
    head: Option<AuditHead>,
    writable: Arc<AtomicBool>,
    batch: usize,
}

/// What became of a job inside its transaction: told to the one who asked only after the commit.
enum Done {
    Settled(Result<Settled, Refusal>),
    Administered(i64),
}

impl Writer {
    pub(super) fn new(
        store: Arc<Store>,
        audit: AuditLog,
        writable: Arc<AtomicBool>,
        batch: usize,
    ) -> Self {
        Self {
            store,
            audit,
            head: None,
            writable,
            batch,
        }
    }

    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(self.batch);
        while waiting.recv_many(&mut jobs, self.batch).await > 0 {
            match self.write(&jobs).await {
                Ok(done) => {
                    jobs.drain(..)
                        .zip(done)
                        .for_each(|(job, done)| answer(job, Ok(done)));
                }
                // One of them may be at fault: each for itself.
                Err(_) if jobs.len() > 1 => {
                    for job in jobs.drain(..) {
                        let done = self.write(std::slice::from_ref(&job)).await;
                        answer(job, done.map_err(unavailable).and_then(only));
                    }
                }
                Err(error) => {
                    let error = unavailable(error);
                    jobs.drain(..)
                        .for_each(|job| answer(job, Err(error.clone())));
                }
            }
        }
    }

    /// Carries out the jobs in one transaction. Nothing has happened unless it returns `Ok`, but for a
    /// commit whose outcome the database did not tell.
    async fn write(&mut self, jobs: &[Job]) -> Result<Vec<Done>, StoreError> {
        let written = self.try_write(jobs).await;
        match &written {
            Ok((_, head)) => self.head = Some(*head),
            Err(error) => {
                self.head = None;
                tracing::error!(error = %ErrorChain(error), "the ledger cannot be written");
            }
        }
        if self.writable.swap(written.is_ok(), Ordering::Relaxed) != written.is_ok()
            && written.is_ok()
        {
            tracing::info!("the ledger can be written again");
        }
        written.map(|(done, _)| done)
    }

    async fn try_write(&self, jobs: &[Job]) -> Result<(Vec<Done>, AuditHead), StoreError> {
        let head = match self.head {
            Some(head) => head,
            None => self.store.audit_head(self.audit.instance()).await?,
        };
        let tx = self.store.begin().await?;
        let mut act = Acting {
            store: &self.store,
            audit: &self.audit,
            tx,
            head,
        };
        let mut done = Vec::with_capacity(jobs.len());
        for job in jobs {
            done.push(match job {
                Job::Settle(request, _) => Done::Settled(act.settle(request).await?),
                Job::Administer(change, now, _) => {
                    Done::Administered(act.administer(change, *now).await?)
                }
                Job::Note(record, _) => {
                    act.log(record.clone()).await?;
                    Done::Administered(0)
                }
                Job::Forget(now, _) => {
                    act.tx.forget_requests(*now).await?;
                    act.tx.forget_counters(*now).await?;
                    act.tx.probe().await?;
                    Done::Administered(0)
                }
            });
        }
        act.tx.commit().await?;
        Ok((done, act.head))
    }
}

/// One transaction under way.
struct Acting<'a> {
    store: &'a Store,
    audit: &'a AuditLog,
    tx: Transaction<'a>,
    head: AuditHead,
}

impl Acting<'_> {
    /// Drives the state machine that settles a request.
    async fn settle(
        &mut self,
        request: &SettleRequest,
    ) -> Result<Result<Settled, Refusal>, StoreError> {
        let proposals = request
            .items
            .iter()
            .map(|item| item.proposal.clone())
            .collect();
        let mut settling = Settling::new(request.body, proposals);
        let mut refused = Vec::new();
        let mut reply = Reply::Start;
        loop {
            reply = match settling.next(reply) {
                Step::Recall => Reply::Recalled(self.tx.recall(&request.key).await?),
                Step::Charge(charge) => {
                    let fits = self.tx.charge(charge).await?;
                    if !fits {
                        refused.push(charge.clone());
                    }
                    Reply::Charged(fits)
                }
                Step::Refund(charge) => {
                    self.tx.refund(charge).await?;
                    Reply::Done
                }
                Step::Apply(item) => Reply::Applied(match request.items.get(item) {
                    Some(item) => self.apply(request, item).await?,
                    None => false,
                }),
                Step::Record(recorded) => {
                    self.tx.record(&request.key, recorded, request.at).await?;
                    self.log_decisions(request, recorded, &refused).await?;
                    Reply::Done
                }
                Step::Finish(settled) => return Ok(settled),
            };
        }
    }

    async fn apply(
        &mut self,
        request: &SettleRequest,
        item: &RequestItem,
    ) -> Result<bool, StoreError> {
        match &item.act {
            Act::None | Act::Release(_) => Ok(true),
            Act::CreateProfile(new) => {
                let (profile, signed) = &**new;
                self.tx.insert_profile(profile, signed, request.at).await
            }
            Act::CreateLocation(record) => {
                self.tx.insert_location(&request.key.profile, record).await
            }
        }
    }

    async fn log_decisions(
        &mut self,
        request: &SettleRequest,
        recorded: &Recorded,
        refused: &[Charge],
    ) -> Result<(), StoreError> {
        for (number, (item, decision)) in (0..).zip(request.items.iter().zip(&recorded.decisions)) {
            let event = AuditEvent::Decided {
                profile: request.key.profile,
                device: request.key.device,
                request: request.key.request,
                item: number,
                kind: item.kind,
                cryptographic_id: item.cryptographic_id,
                meta: item.meta.clone(),
                decision: decision.clone(),
                explanation: explained(item, decision, refused),
            };
            self.log(AuditRecord {
                at: request.at,
                event,
            })
            .await?;
        }
        Ok(())
    }

    async fn administer(&mut self, change: &Change, now: UnixMillis) -> Result<i64, StoreError> {
        let (action, detail, result) = match change {
            Change::SetEnabled(enabled) => {
                self.tx.set_enabled(*enabled).await?;
                (
                    if *enabled { "enable" } else { "disable" },
                    String::new(),
                    0,
                )
            }
            Change::LoadPolicy { time_zone, source } => {
                let version = self.tx.insert_policy(time_zone, source, now).await?;
                ("policy --load", format!("version {version}"), version)
            }
        };
        let event = AuditEvent::Administered {
            action: action.to_owned(),
            detail,
        };
        self.log(AuditRecord { at: now, event }).await?;
        Ok(result)
    }

    async fn log(&mut self, record: AuditRecord) -> Result<(), StoreError> {
        let (row, head) = self.audit.link(self.store, &self.head, &record)?;
        self.tx.append_audit(self.audit.instance(), &row).await?;
        self.head = head;
        Ok(())
    }
}

/// Why the item is denied, if it is, in words for the operator.
fn explained(item: &RequestItem, decision: &Decision, refused: &[Charge]) -> Option<String> {
    match (decision, item.explanation.as_ref()?) {
        (Decision::Approve { .. }, _) => None,
        (Decision::Deny { .. }, Explain::Policy(text)) => Some(text.clone()),
        (
            Decision::Deny {
                denial: Denial::Quota { .. },
            },
            Explain::Quota(explain),
        ) => Some(explain(refused)),
        (Decision::Deny { .. }, Explain::Quota(_)) => None,
    }
}

/// Tells the one who asked. Approvals are made here and nowhere else: after the commit.
fn answer(job: Job, done: Result<Done, LedgerError>) {
    match (job, done) {
        (Job::Settle(request, reply), done) => {
            let verdicts = done.and_then(|done| match done {
                Done::Settled(Ok(settled)) => Ok(verdicts(&request, &settled)),
                Done::Settled(Err(refusal)) => Err(refusal.into()),
                Done::Administered(_) => Err(Refusal::OutOfTurn.into()),
            });
            let _ = reply.send(verdicts);
        }
        (Job::Administer(_, _, reply) | Job::Forget(_, reply) | Job::Note(_, reply), done) => {
            let _ = reply.send(done.and_then(|done| match done {
                Done::Administered(version) => Ok(version),
                Done::Settled(_) => Err(Refusal::OutOfTurn.into()),
            }));
        }
    }
}

fn verdicts(request: &SettleRequest, settled: &Settled) -> Vec<Verdict> {
    (0..)
        .zip(request.items.iter().zip(&settled.decisions))
        .map(|(number, (item, decision))| match (decision, &item.act) {
            (Decision::Approve { .. }, Act::Release(binding)) => {
                Verdict::Approved(Some(Approval::grant(request.key, number, *binding)))
            }
            (Decision::Approve { .. }, _) => Verdict::Approved(None),
            (Decision::Deny { denial }, _) => Verdict::Denied(*denial),
        })
        .collect()
}

fn only(done: Vec<Done>) -> Result<Done, LedgerError> {
    done.into_iter().next().ok_or(LedgerError::Stopped)
}

fn unavailable(error: StoreError) -> LedgerError {
    LedgerError::Unavailable(Arc::new(error))
}
