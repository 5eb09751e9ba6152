//! Fixtures for tests of the whole system.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`command`] | the built binaries, run to their end |
//! | [`home`] | a server's home in a folder of its own, and what its database says afterwards |
//! | [`keyserver`] | a running server: the real binary, or one in this process with a clock of the test's |
//! | [`user`] | a device and its profile, which seals files and asks for their shards |
//! | [`forge`] | envelopes as no honest client makes them |
//! | [`http`] | HTTP down to the byte |
//!
//! Everything blocks and every wait has an end; whatever goes wrong panics, with what the server wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "fixtures: a failure here is a failure of the test"
)]

pub mod command;
pub mod forge;
pub mod home;
pub mod http;
pub mod keyserver;
mod output;
pub mod user;

pub use command::{Ran, binary, command_of, keyserver_command, run};
pub use home::{Records, TestHome, now};
pub use http::HttpAnswer;
pub use keyserver::{Keyserver, LocalServer, Serve};
pub use user::{Asked, File, TestUser};

/// A policy that decrypts everything.
pub const APPROVE_ALL: &str = "decrypt: [[{rule: approve-rule}]]\n\
    rename: [[{rule: approve-rule}]]\n\
    secure_export: [[{rule: approve-rule}]]\n";

/// A policy that decrypts `limit` files a day for each profile.
#[must_use]
pub fn daily_limit(limit: u64) -> String {
    format!("decrypt: [[{{rule: per-profile-throttle-rule, rule_id: daily, per_day: {limit}}}]]\n")
}
