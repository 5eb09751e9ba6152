//! The audit log, as an operator reads, checks and archives it.

mod archive;
mod keeper;
mod read;
mod render;
mod start;
mod tallies;
mod verify;
mod witness;

pub use ostrakon_custody::{AuditEvent, AuditFault, AuditRecord, FaultKind};

pub(crate) use self::{
    archive::{keep_archive, prune},
    keeper::Keeper,
    start::{look, resume},
    tallies::{Reason, Tallies},
    verify::unless_archived,
};
pub use archive::{ArchiveError, Archived, archive};
pub(crate) use read::Place;
pub use read::{AuditEntry, AuditReader};
pub use verify::{ArchiveSummary, AuditSummary, ChainSummary, Told, VerifyOptions, verify};
