use std::sync::atomic::{AtomicBool, Ordering};

use ostrakon_custody::{Change, LedgerError};

use ostrakon_storage::InstanceId;
use ostrakon_transport::binding::Announcement;

use crate::pipeline::Pipeline;

/// A running server: what its routes share.
pub(crate) struct Node {
    pub(crate) pipeline: Pipeline,
    pub(crate) announcement: Announcement,
    pub(crate) instance: InstanceId,
    pub(crate) draining: AtomicBool,
    pub(crate) switching: tokio::sync::Mutex<()>,
}

impl Node {
    /// Why the server cannot answer requests now, if it cannot.
    ///
    /// After a failed write the ledger is tried again here, so that a server that gets no requests
    /// because it is not ready becomes ready.
    pub(crate) async fn unready(&self) -> Option<&'static str> {
        let ledger = &self.pipeline.ledger;
        if self.draining.load(Ordering::Relaxed) {
            Some("shutting down")
        } else if !ledger.is_writable() && ledger.probe().await.is_err() {
            Some("ledger cannot be written")
        } else if self.pipeline.store.ping().await.is_err() {
            Some("database does not answer")
        } else {
            None
        }
    }

    /// Makes the server answer requests, or none, from now on.
    pub(crate) async fn set_enabled(&self, enabled: bool) -> Result<(), LedgerError> {
        let pipeline = &self.pipeline;
        // One after the other, so that memory and database end alike.
        let _one = self.switching.lock().await;
        if !enabled {
            // Nothing is approved any more, also if the database cannot be told.
            pipeline.enabled.store(false, Ordering::Release);
        }
        pipeline
            .ledger
            .administer(Change::SetEnabled(enabled), pipeline.clock.now())
            .await?;
        pipeline.enabled.store(enabled, Ordering::Release);
        Ok(())
    }
}
