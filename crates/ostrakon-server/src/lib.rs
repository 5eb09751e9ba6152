//! The key shard server.
//!
//! [`Config`] is what `server.toml` says. [`Server::build`] checks everything before anything is
//! bound, [`Server::run`] answers requests until it is told to stop. [`setup`] makes a server, and
//! [`admin`] is what an operator may ask of a running one.
//!
//! A request goes one way: the envelope is opened and its sender known, each item is judged by the
//! policy, the ledger settles all of them and writes the audit log, and only then is a shard released
//! (see `pipeline`). Deliberately absent: any way around the ledger. The shard key lives in
//! `ostrakon-custody`, which gives an approval for what is on record and for nothing else.

pub mod admin;
mod administrators;
pub mod audit;
pub mod authority;
pub mod backup;
mod basis;
pub mod ceremony;
pub mod certificates;
mod clock;
mod clock_watch;
pub mod clone_db;
mod cluster;
pub mod config;
mod directory;
pub mod hardening;
mod home;
pub mod instances;
mod lineage;
mod node;
mod offline;
mod pipeline;
mod policy;
pub mod quota;
mod rate;
mod reserve;
mod routes;
mod server;
mod sessions;
pub mod setup;

/// The policy engine, for whoever has this crate alone.
pub mod policy_engine {
    pub use jiff::tz::TimeZone;
    pub use ostrakon_policy::*;
}

pub use clock::Clock;
pub use config::Config;
pub use ostrakon_shards::name::Name;
pub use ostrakon_storage::{DatabaseUri, LoadError, Place, ProtectorError, StoreError};

pub use home::{HeldBy, Home, HomeError, HomeLock, read_text, with_password};
pub use lineage::LineageError;
pub use server::{BuildError, Server};
