use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use ostrakon_shards::{
    random::{self, RandomError},
    suite::Suite,
};
use ostrakon_types::UnixMillis;

use super::{
    SESSION_MESSAGES, SESSION_MILLIS,
    keys::{CLEAR_LEN, Clear, Direction, Offer, SessionKeys, SessionReply},
};
use crate::{
    envelope::{MAX_ENVELOPE_LEN, PendingResponse, reply::LEN, wire::TAG_LEN},
    message::RequestBody,
};

/// A device's side of a session. Wiped on drop.
pub struct ClientSession {
    keys: Arc<SessionKeys>,
    began: UnixMillis,
    next: AtomicU32,
}

/// Why a request cannot be sealed in a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealInSessionError {
    /// The session's time or numbers are used up: another one is needed.
    #[error("session has ended")]
    Over,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The message would be longer than [`MAX_ENVELOPE_LEN`].
    #[error("request is longer than {MAX_ENVELOPE_LEN} bytes")]
    TooLarge,
}

impl ClientSession {
    /// `began` is when the request that asked for it was issued, which is before the server granted it:
    /// so this side gives it up first.
    pub(in super::super) fn granted(offer: &Offer, nonce: &[u8; LEN], began: UnixMillis) -> Self {
        Self {
            keys: Arc::new(offer.granted(nonce)),
            began,
            next: AtomicU32::new(0),
        }
    }

    /// The suite of the key agreement that it rests on.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.keys.suite
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        !(0..SESSION_MILLIS).contains(&now.since(self.began))
            || self.next.load(Ordering::Relaxed) >= SESSION_MESSAGES
    }

    /// Seals `body` to the session's server.
    ///
    /// The server takes the bytes once: if an answer does not come, the same request is sealed anew, in
    /// an envelope of its own.
    ///
    /// # Errors
    /// When the session has ended by the time of issue of `body`, there is no randomness, or the request
    /// is too long.
    pub fn seal(
        &self,
        body: &RequestBody,
    ) -> Result<(Vec<u8>, PendingResponse), SealInSessionError> {
        self.seal_impl(body, &random::array()?)
    }

    pub(super) fn seal_impl(
        &self,
        body: &RequestBody,
        random: &[u8; LEN],
    ) -> Result<(Vec<u8>, PendingResponse), SealInSessionError> {
        if self.is_over(body.issued_at()) {
            return Err(SealInSessionError::Over);
        }
        let plaintext = body.to_bytes();
        let length = CLEAR_LEN + plaintext.len() + TAG_LEN;
        if length > MAX_ENVELOPE_LEN {
            return Err(SealInSessionError::TooLarge);
        }
        // Taken for good, whatever comes of it: no number is given out twice.
        let number = self
            .next
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (next < SESSION_MESSAGES).then_some(next + 1)
            })
            .map_err(|_| SealInSessionError::Over)?;
        let clear = Clear {
            suite: self.keys.suite,
            id: self.keys.id,
            number,
            random,
        };
        let mut message = Vec::with_capacity(length);
        clear.write(&mut message);
        self.keys
            .seal(Direction::Request, number, random, &plaintext, &mut message)
            .ok_or(SealInSessionError::TooLarge)?;
        let keys = Arc::clone(&self.keys);
        let pending = PendingResponse::in_session(body, SessionReply { keys, number });
        Ok((message, pending))
    }
}

#[cfg(test)]
impl ClientSession {
    /// Uses a number up.
    pub(super) fn skip(&self) {
        self.next.fetch_add(1, Ordering::Relaxed);
    }
}
