use std::sync::{Arc, Mutex, PoisonError};

use ostrakon_types::{DeviceId, UnixMillis};

use super::{
    SESSION_MESSAGES, SESSION_MILLIS, SessionId,
    keys::{Clear, Direction, Offer, SessionKeys, SessionReply},
    window::Window,
};
use crate::envelope::{Authentic, MAX_ENVELOPE_LEN, ReplyKey, Stranger, reply::LEN};

/// A request in a session, before it is known to be one.
pub struct SessionMessage<'a> {
    clear: Clear<'a>,
    ciphertext: &'a [u8],
}

/// The server's side of a session. Wiped on drop.
///
/// It says from which device a message is, and that this device signed the request that began the
/// session. Whether the device may still ask is to be looked up for every message.
pub struct ServerSession {
    keys: Arc<SessionKeys>,
    device: DeviceId,
    began: UnixMillis,
    window: Mutex<Window>,
}

impl<'a> SessionMessage<'a> {
    /// Takes bytes apart. What is no message of a session may be an envelope, for
    /// [`EnvelopeKey::open`](super::super::EnvelopeKey::open).
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > MAX_ENVELOPE_LEN {
            return None;
        }
        let (clear, ciphertext) = Clear::parse(bytes)?;
        Some(Self { clear, ciphertext })
    }

    /// The session that it claims to be of.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.clear.id
    }
}

impl ServerSession {
    pub(in super::super) fn granted(
        offer: &Offer,
        nonce: &[u8; LEN],
        device: DeviceId,
        began: UnixMillis,
    ) -> Self {
        Self {
            keys: Arc::new(offer.granted(nonce)),
            device,
            began,
            window: Mutex::new(Window::new()),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.keys.id
    }

    /// The device that it is with.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Whether its time is over. Also when the clock was set back to before it began.
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        !(0..SESSION_MILLIS).contains(&now.since(self.began))
    }

    /// Opens a message of this session, once.
    ///
    /// # Errors
    /// When it is not of this session, was taken before, or the session has ended.
    pub fn open(
        &self,
        message: &SessionMessage<'_>,
        now: UnixMillis,
    ) -> Result<Authentic, Stranger> {
        let SessionMessage { clear, ciphertext } = message;
        let number = clear.number;
        let is_ours = clear.id == self.keys.id && clear.suite == self.keys.suite;
        if !is_ours || number >= SESSION_MESSAGES || self.is_over(now) {
            return Err(Stranger::NoSession);
        }
        let body = self
            .keys
            .open(Direction::Request, number, clear.random, ciphertext)
            .ok_or(Stranger::Sealed)?;
        // Only now, so that nobody but the device uses its numbers up. The lock makes one of two copies
        // the first.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if !window.take(number) {
            return Err(Stranger::Repeated);
        }
        drop(window);
        let keys = Arc::clone(&self.keys);
        let reply = ReplyKey::in_session(SessionReply { keys, number });
        Ok(Authentic::in_session(self.device, body, reply))
    }
}
