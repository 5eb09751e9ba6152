//! The seal around a request and its answer. Sans-io: bytes and times come and go.
//!
//! A device seals a [`RequestBody`](crate::message::RequestBody) to a server's envelope key with
//! [`seal_request`] and keeps a [`PendingResponse`]. The server opens it in steps, each a type of its
//! own, so that none can be left out:
//!
//! ```text
//! bytes ── EnvelopeKey::open ──> Opened ── verify(card) ──> Authentic ── parse(now) ──> RequestBody
//!                                                                │ reply
//!                                ResponseBody ── seal ── ReplyKey ──> bytes
//! ```
//!
//! # On the wire
//!
//! A request is a version byte, a suite byte, the device's id, the encapsulated key, and the
//! ciphertext with its tag: HPKE (RFC 9180) in base mode, whose `info` binds version, suite, purpose, the
//! server's id and the device's. Inside is the canonical CBOR of the device's card (on first contact),
//! its signature, and the body, still as bytes. The signature covers version, suite, the server's id,
//! the device's id, the encapsulated key and the body.
//!
//! An answer is a version byte, a suite byte, a random nonce of 32 bytes and the ciphertext with its
//! tag: AES-256-GCM under a key that is derived as in RFC 9458, section 4.4, from a secret exported from
//! the request's HPKE context. So it opens with the request's [`PendingResponse`] and nothing else.
//!
//! A request may ask for a session, in which further ones need neither a key agreement nor a signature:
//! see [`ClientSession`] and [`ServerSession`].
//!
//! # Threat model
//!
//! Whoever carries or records envelopes learns the device's id, the suite, lengths and times. They can
//! replay an envelope within its validity; what comes back is the answer that was given before, and it
//! opens for the first sender alone. They cannot alter one, turn it to another server, or learn whether
//! a device is known: every envelope that is not from a known device fails as [`Stranger`], after the
//! same work, and is to be answered alike.
//!
//! Whoever has the server's envelope key can read all requests and answers ever recorded: base mode has
//! no forward secrecy on the recipient's side. They cannot make requests, but in sessions whose first
//! request and answer they have.
//!
//! # Deliberately absent
//!
//! The memory of requests, which is the ledger's. HPKE's authenticated modes: X-Wing has none, and a
//! signature is a proof for the audit log, too. Padding: lengths show.

mod client;
mod reply;
mod server;
mod session;
mod wire;

pub use client::{
    Contact, OpenResponseError, PendingResponse, Received, SealRequestError, seal_request,
};
pub use reply::{ReplyKey, SealResponseError};
pub use server::{Authentic, EnvelopeKey, Opened, Stranger};
pub use session::{
    ClientSession, SESSION_MESSAGES, SESSION_MILLIS, SealInSessionError, ServerSession, SessionId,
    SessionMessage,
};

/// The greatest length in bytes of a sealed request: room for the most items with the longest paths.
pub const MAX_ENVELOPE_LEN: usize = 2 << 20;

/// How long after its issue a request is valid, in milliseconds.
pub const VALIDITY_MILLIS: i64 = 60_000;

/// By how many milliseconds the clocks of client and server may differ, either way.
pub const SKEW_MILLIS: i64 = 30_000;

#[cfg(test)]
mod tests;
