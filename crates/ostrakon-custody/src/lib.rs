//! The one room in which a key shard server's shard is opened.
//!
//! [`ShardKey`] owns the secret to which shards are sealed, and does one thing: it opens the one shard
//! for which an [`Approval`] was given, and spends the approval. Approvals come from [`Ledger::settle`]
//! alone, and only once the decision, what it charges and its audit record are durable. So a shard that
//! left the server has a record, and no code outside this crate can make it otherwise: the fields are
//! private, approvals cannot be copied, and the key has no other method.
//!
//! Deliberately absent: policy (proposals are handed in), the network, and any way to read the secrets
//! back. The envelope has a key of its own, of another type, that opens no shard.

mod approval;
mod audit;
mod backup;
mod identity;
mod ledger;

pub use approval::{Approval, ReleaseError, ShardKey, binding};
pub use audit::{
    ArchiveReport, AuditError, AuditEvent, AuditFault, AuditLog, AuditRecord, AuditReport, Auditor,
    Break, ChainHead, ChainReport, Charged, Checkpoint, CheckpointError, Evidence, FaultKind,
    Manifest, ManifestError, Outside, ProfileHead, SignedCheckpoint, SignedManifest, Span, Tally,
    Told,
};
pub use backup::BackUpError;
pub use identity::{Identity, IdentityError, NewIdentity, Signer};
pub use ledger::{
    Act, Change, Explain, HeadFileError, Ledger, LedgerError, LedgerLimits, Relay, RequestItem,
    SettleRequest, Spends, Verdict,
};

/// Run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("compile_fail.md")]
struct CompileFail;
