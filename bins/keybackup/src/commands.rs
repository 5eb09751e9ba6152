//! One file a command, and what they share.

pub(crate) mod canary;
pub(crate) mod create;
pub(crate) mod drill;
pub(crate) mod list;
pub(crate) mod metrics;
pub(crate) mod restore;
pub(crate) mod verify;
