//! Sessions: one key agreement and one signature for many requests.
//!
//! A request of version 2 asks for a session. The server grants it with its answer, or does not, and
//! then the answer is as any other. What makes a session is in two halves: a secret that both sides
//! export from the HPKE context of that request, and the random nonce of the answer that grants it. So
//! only the device that signed and the server that opened the request have the session; and the same
//! request, sent again, never makes the same session again.
//!
//! ```text
//! client                                             server
//! seal_request(Contact::Lasting) ── version 2 ──>    open, verify, parse
//! PendingResponse::receive <─────── version 2 ───    Authentic::grant ──> ServerSession
//!      │
//! ClientSession::seal ──────────── version 3 ──>     SessionMessage::parse ── its id ──> ServerSession
//!                                                    ServerSession::open ──> Authentic, as any other
//! PendingResponse::open <────────── version 3 ───    ReplyKey::seal
//! ```
//!
//! Each message has a number, and carries 32 random bytes in clear. Key and nonce of its cipher are
//! derived from the session's secret, the direction, the number and those bytes: so a restored copy of
//! a machine, which repeats numbers, does not repeat a key. The server takes each number once, in about
//! the order in which they were given out. A session ends after [`SESSION_MILLIS`] or
//! [`SESSION_MESSAGES`]; both sides hold it in memory alone. Whatever goes wrong, the client makes a
//! fresh envelope for the same request.

mod client;
mod keys;
mod server;
mod window;

pub use client::{ClientSession, SealInSessionError};
pub use server::{ServerSession, SessionMessage};

pub(super) use keys::{Offer, SessionReply};

/// How long a session lasts, in milliseconds.
pub const SESSION_MILLIS: i64 = 10 * 60_000;

/// How many requests a session takes.
pub const SESSION_MESSAGES: u32 = 1 << 20;

/// The name of a session on the wire. It is not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 16]);

#[cfg(test)]
mod tests;
