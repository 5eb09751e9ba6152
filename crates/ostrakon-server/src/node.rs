use std::sync::atomic::{AtomicBool, Ordering};

use ostrakon_custody::{AuditEvent, Change, LedgerError, Spends};

use ostrakon_storage::{InstanceId, StoreError};
use ostrakon_transport::binding::Announcement;
use ostrakon_types::{CertificateId, ErrorChain};

use crate::{
    audit::{Keeper, Tallies},
    ceremony::{Pending, Room, enables},
    clock_watch::ClockFault,
    home::Home,
    lineage::OUT_OF_DATE,
    pipeline::Pipeline,
    rate::RateLimits,
};

/// A running server: what its routes share.
pub(crate) struct Node {
    pub(crate) pipeline: Pipeline,
    pub(crate) announcement: Announcement,
    pub(crate) instance: InstanceId,
    pub(crate) draining: AtomicBool,
    pub(crate) switching: tokio::sync::Mutex<()>,
    pub(crate) keeper: Keeper,
    pub(crate) home: Home,
    pub(crate) ceremonies: Pending,
    pub(crate) admin_quorum: bool,
    /// What each certificate has had written lately.
    pub(crate) paces: RateLimits<CertificateId>,
    /// Chains that were not where they were left when the server started, ready to be shown.
    pub(crate) breaks: Vec<String>,
}

impl Node {
    /// What its ceremonies need.
    pub(crate) fn room(&self) -> Room<'_> {
        let pipeline = &self.pipeline;
        Room {
            home: &self.home,
            node: Some(self),
            store: &pipeline.store,
            ledger: &pipeline.ledger,
            signer: &pipeline.signer,
            keyserver: &pipeline.keyserver,
            lineage: &pipeline.lineage,
            instance: self.instance,
            now: pipeline.clock.now(),
        }
    }

    /// Ends the ceremonies that an earlier process has left open.
    pub(crate) async fn end_leftovers(&self) {
        if let Err(error) = self.room().abandon().await {
            // They wait until they expire, and nobody is asked anything wrong.
            tracing::error!(error = %ErrorChain(&error), "ceremonies of before cannot be ended");
        }
    }

    /// Why the server cannot answer requests now, if it cannot.
    ///
    /// After a failed write the ledger, or the checkpoint, is tried again here, so that a server that gets
    /// no requests because it is not ready becomes ready.
    pub(crate) async fn unready(&self) -> Option<&'static str> {
        let ledger = &self.pipeline.ledger;
        if self.draining.load(Ordering::Relaxed) {
            Some("shutting down")
        } else if self.pipeline.lineage.is_superseded() {
            Some(OUT_OF_DATE)
        } else if let Some(fault) = self.pipeline.clock_fault() {
            Some(match fault {
                ClockFault::Set(_) => "clock was set",
                ClockFault::Apart(_) => "clock differs from the database's",
            })
        } else if let Err(error) = self.pipeline.store.ping().await {
            Some(match error {
                StoreError::NoReplica => "no durable replica",
                _ => "database does not answer",
            })
        } else if self.was_moved().await {
            Some("state was moved to another database")
        } else if !ledger.is_writable() && ledger.probe().await.is_err() {
            Some("ledger cannot be written")
        } else if self.lacks_a_checkpoint().await {
            Some("audit checkpoint cannot be written")
        } else {
            None
        }
    }

    /// Whether somebody has moved the state to another database meanwhile: from a file, nobody can.
    async fn was_moved(&self) -> bool {
        let store = &self.pipeline.store;
        store.is_shared() && matches!(store.check_here().await, Err(StoreError::Moved { .. }))
    }

    /// Whether a checkpoint is not where it should be, also after another try.
    async fn lacks_a_checkpoint(&self) -> bool {
        if self.keeper.shown().failing.is_none() {
            return false;
        }
        let Pipeline {
            store,
            ledger,
            signer,
            clock,
            ..
        } = &self.pipeline;
        let now = clock.now();
        if self.has_upkeep().await {
            self.keeper.keep_again(store, ledger, signer, now).await;
        } else {
            self.keeper.follow(store).await;
        }
        self.keeper.shown().failing.is_some()
    }

    /// Makes a checkpoint if there are new records.
    pub(crate) async fn checkpoint(&self) {
        let Pipeline {
            store,
            ledger,
            signer,
            clock,
            ..
        } = &self.pipeline;
        if self.has_upkeep().await {
            self.keeper.keep(store, ledger, signer, clock.now()).await;
        } else {
            self.keeper.follow(store).await;
        }
    }

    /// Records what was turned away since the last time.
    pub(crate) async fn record_tallies(&self) {
        let now = self.pipeline.clock.now();
        let Some(event) = self.tallies().take(now) else {
            return;
        };
        if let Err(error) = self.pipeline.ledger.note(event.clone(), now).await {
            tracing::error!(error = %ErrorChain(&error), "what was turned away cannot be recorded");
            self.tallies().put_back(event);
        }
    }

    pub(crate) fn tallies(&self) -> &Tallies {
        &self.pipeline.tallies
    }

    /// Makes the server answer no requests from now on, and ends what would let it answer again: an approval of
    /// before is none.
    pub(crate) async fn disable(&self, by: Option<String>) -> Result<(), LedgerError> {
        let pipeline = &self.pipeline;
        pipeline.enabled.store(false, Ordering::Release);
        pipeline.held_down.store(true, Ordering::Release);
        if let Err(error) = self.ceremonies.end_all(&self.room(), enables).await {
            tracing::error!(error = %ErrorChain(&error), "ceremonies cannot be ended on record");
        }
        self.set_enabled(false, by, None).await.map(|_| ())
    }

    /// Makes the server answer requests, or none, from now on.
    /// `by` says on whose word, where it is not the operator's alone. `false` when the ceremony that it `spends`
    /// was ended meanwhile, and nothing was done.
    pub(crate) async fn set_enabled(
        &self,
        enabled: bool,
        by: Option<String>,
        spends: Option<Spends>,
    ) -> Result<bool, LedgerError> {
        let pipeline = &self.pipeline;
        // One after the other, so that memory and database end alike.
        let _one = self.switching.lock().await;
        if !enabled {
            // Nothing is approved any more, also if the database cannot be told.
            pipeline.enabled.store(false, Ordering::Release);
            pipeline.held_down.store(true, Ordering::Release);
        }
        let change = Change::SetEnabled {
            enabled,
            by,
            spends,
        };
        let done = pipeline.ledger.administer(change, pipeline.clock.now());
        if done.await? == 0 && spends.is_some() {
            return Ok(false);
        }
        pipeline.held_down.store(false, Ordering::Release);
        pipeline.enabled.store(enabled, Ordering::Release);
        if enabled {
            // Who enables it has looked at its clock.
            pipeline.watch.accept();
        }
        Ok(true)
    }

    /// Puts on record that the clock is not believed any more, or is again.
    pub(crate) async fn record_clock(&self, before: Option<ClockFault>) -> Option<ClockFault> {
        let fault = self.pipeline.clock_fault();
        if fault.is_some() == before.is_some() {
            return fault;
        }
        let detail = match fault {
            Some(fault) => {
                tracing::error!(
                    "{fault}: no request is answered until it is right, or `keyserver enable`"
                );
                format!("{fault}: no request is answered")
            }
            None => {
                tracing::info!("the clock is taken for right again");
                "taken for right again".to_owned()
            }
        };
        let event = AuditEvent::Administered {
            action: "clock".to_owned(),
            detail,
        };
        let pipeline = &self.pipeline;
        match pipeline.ledger.note(event, pipeline.clock.now()).await {
            Ok(()) => fault,
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "that cannot be recorded");
                // It is tried again.
                before
            }
        }
    }
}
