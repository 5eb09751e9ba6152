//! What a key shard server keeps, and how.
//!
//! A [`Store`] is one database under one key hierarchy: a [`ProtectorKey`] (the instance's key file)
//! wraps the root key, the root key wraps data keys, data keys seal columns. A stolen database holds
//! no usable key, and a ciphertext moved to another row, column or table does not open.
//!
//! All writing goes through [`Transaction`]: everything in it becomes durable together or not at all.
//! The database is an embedded file (SQLite in WAL mode with `synchronous = FULL`, so a committed
//! transaction survives power loss), or one that all instances of a server share (MySQL-compatible or
//! PostgreSQL).
//!
//! Deliberately absent: decisions (`ostrakon-policy`, `ostrakon-custody`), and any use of the secrets
//! that are kept here.

mod engine;
mod error;
mod protector;
mod store;
mod uri;

pub use error::StoreError;
pub use protector::{ProtectorError, ProtectorKey};
pub use store::{
    ArchiveRow, AuditHead, AuditRow, CarriedLocation, CeremonyRecord, CertificateRow, ChangeNumber,
    CheckpointRow, Copied, CopyError, CopyId, Counter, CounterChange, Dump, DumpPart, Durability,
    InstanceId, InstanceRecord, LONGEST_WINDOW, Load, LoadError, LocationRecord, MAX_LOCATIONS,
    Moved, NoticeRecord, PartError, PendingCeremony, Place, PolicyVersion, Presence, Progress,
    REQUESTS_KEPT, RequestKey, RequestRecord, Rows, SILENCE, ServerRecord, Snapshot, StateDoubt,
    Step, Store, TakeOverError, Transaction,
};
pub use uri::{DatabaseUri, ParseUriError};
