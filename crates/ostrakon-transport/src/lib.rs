//! How requests reach a key shard server.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`message`] | what a device asks for, and what a server answers |
//! | [`envelope`] | the seal around both, sans-io |
//! | [`http`] | listeners and clients that carry bytes, whatever they are |
//! | [`binding`] | how envelopes travel over HTTP |
//!
//! The way of a request, from left to right and back:
//!
//! ```text
//! RequestBody ── seal_request ──> envelope ── HttpClient ──> serve ── EnvelopeKey::open ──> Opened
//!                                                                          verify, parse │
//! ResponseBody <── PendingResponse::open ─────────────────────── ReplyKey::seal <── RequestBody
//! ```
//!
//! # Deliberately absent
//!
//! What is decided about a request, and by whom: an envelope only says from which device it is. The
//! memory of requests that makes a replay harmless is the server's ledger. Clocks: time is an argument.

pub mod binding;
pub mod envelope;
#[cfg(test)]
mod fixture;
pub mod http;
pub mod message;
