//! Reads request bodies within limits of size, time and memory.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::ListenerLimits;

/// The memory that unfinished and unanswered bodies may take, and the limits of each.
///
/// Room is taken as bytes arrive, not as they are announced: to use memory up, a client must send as
/// much.
pub(super) struct BodyBudget {
    room: Arc<Semaphore>,
    bytes: usize,
    timeout: Duration,
}

/// Why a request has no body to look at.
#[derive(Debug)]
pub(super) enum BodyError {
    TooLarge,
    TooSlow,
    Broken,
    NoRoom,
}

impl BodyBudget {
    pub(super) fn new(limits: &ListenerLimits) -> Self {
        let room = limits.body_bytes_total.min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(room)),
            bytes: limits.body_bytes,
            timeout: limits.body_timeout,
        }
    }

    /// Reads `body` to its end. The bytes are counted until the permit is dropped.
    pub(super) async fn read(
        &self,
        body: Incoming,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > self.bytes {
            return Err(BodyError::TooLarge);
        }
        timeout(self.timeout, self.collect(body))
            .await
            .unwrap_or(Err(BodyError::TooSlow))
    }

    async fn collect(
        &self,
        mut body: Incoming,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let mut held = self.hold(0)?;
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyError::Broken)?;
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            if chunk.len() > self.bytes.saturating_sub(whole.len()) {
                return Err(BodyError::TooLarge);
            }
            held.merge(self.hold(chunk.len())?);
            if whole.is_empty() && body.is_end_stream() {
                return Ok((chunk, held));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok((whole.freeze(), held))
    }

    fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::TooLarge)?;
        Arc::clone(&self.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_| BodyError::NoRoom)
    }
}
