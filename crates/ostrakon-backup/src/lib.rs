//! Backups of key shard servers and of their clients.

mod gpg;
mod opening;
mod recipients;

#[cfg(test)]
mod keyrings;

pub use opening::{IdentityError, OpenError, Opening, Plain};
pub use recipients::{
    EncryptError, KeyFault, ReadKeyError, RecipientError, Recipients, UnusableKey,
};
