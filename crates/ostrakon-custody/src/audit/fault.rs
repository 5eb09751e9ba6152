use std::fmt;

use ostrakon_storage::{InstanceId, StoreError};

/// What is wrong with an audit log, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFault {
    /// What.
    pub kind: FaultKind,
    /// In whose chain, where it is a chain's.
    pub chain: Option<InstanceId>,
    /// The first number that is meant: of a record, a checkpoint or an archive.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Who says so, or what is there instead, in words.
    pub note: String,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Records are not there, and later ones are.
    Missing,
    /// Records are not there, and the server put that on record when it found out.
    MissingKnown,
    /// Records are not there, and no later ones are.
    CutOff,
    /// No record of a chain is there.
    ChainMissing,
    /// A record is not what was written.
    Changed,
    /// A record stands at another place than it was written to, or twice.
    Moved,
    /// A record's authenticator is not what was written, or the record follows another one.
    Unlinked,
    /// A record is another one than a witness says.
    Other,
    /// Checkpoints are not there.
    CheckpointMissing,
    /// A checkpoint is not what was written.
    CheckpointChanged,
    /// A checkpoint is another server's.
    CheckpointForeign,
    /// The manifest of an archive is not there.
    ArchiveMissing,
    /// An archive or its manifest is not what was written.
    ArchiveChanged,
    /// A witness is not there, or is not what was written.
    WitnessLost,
    /// A counter says something else than the log.
    Counter,
    /// What is remembered of a request is not what was decided.
    Request,
    /// A profile is not in the version that was put in force last.
    Profile,
    /// The policy or the state of the server is not the one that was put in force.
    State,
}

impl FaultKind {
    /// Its name, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::MissingKnown => "missing_known",
            Self::CutOff => "cut_off",
            Self::ChainMissing => "chain_missing",
            Self::Changed => "changed",
            Self::Moved => "moved",
            Self::Unlinked => "unlinked",
            Self::Other => "other_record",
            Self::CheckpointMissing => "checkpoint_missing",
            Self::CheckpointChanged => "checkpoint_changed",
            Self::CheckpointForeign => "checkpoint_foreign",
            Self::ArchiveMissing => "archive_missing",
            Self::ArchiveChanged => "archive_changed",
            Self::WitnessLost => "witness_lost",
            Self::Counter => "counter",
            Self::Request => "request",
            Self::Profile => "profile",
            Self::State => "state",
        }
    }
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            chain,
            first,
            last,
            note,
        } = self;
        let (one, many) = if first == last {
            ("record", format!("record {first} is"))
        } else {
            ("records", format!("records {first} to {last} are"))
        };
        match kind {
            FaultKind::Missing => write!(f, "{many} missing"),
            FaultKind::MissingKnown => write!(f, "{many} missing: {note}"),
            FaultKind::CutOff => write!(f, "{many} cut off the end: {note} names {one} {last}"),
            FaultKind::ChainMissing => {
                write!(f, "the whole chain is missing, {last} records: {note}")
            }
            FaultKind::Changed => write!(f, "record {first} was changed"),
            FaultKind::Moved => write!(f, "record {first} was replaced by {note}"),
            FaultKind::Unlinked => write!(
                f,
                "record {first} does not follow the one before it: its authenticator was changed, or another record stood there"
            ),
            FaultKind::Other => write!(f, "record {first} is not the one that {note} names"),
            FaultKind::CheckpointMissing if first == last => {
                write!(f, "checkpoint {first} is missing{note}")
            }
            FaultKind::CheckpointMissing => {
                write!(f, "checkpoints {first} to {last} are missing{note}")
            }
            FaultKind::CheckpointChanged => write!(f, "checkpoint {first} was changed{note}"),
            FaultKind::CheckpointForeign => {
                write!(f, "checkpoint {first} is another server's{note}")
            }
            FaultKind::ArchiveMissing => write!(f, "the manifest of archive {first} is missing"),
            FaultKind::ArchiveChanged
            | FaultKind::WitnessLost
            | FaultKind::Counter
            | FaultKind::Request
            | FaultKind::Profile
            | FaultKind::State => f.write_str(note),
        }?;
        match chain {
            Some(chain) => write!(f, " (chain {chain})"),
            None => Ok(()),
        }
    }
}

/// Why an audit log could not be read through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The database.
    #[error("cannot read the audit log")]
    Store(#[from] StoreError),
    /// A file.
    #[error("cannot read or write the file")]
    File(#[from] std::io::Error),
    /// A file that is to be looked at.
    #[error("cannot use `{}`", path.display())]
    Open {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What was to be archived is not whole.
    #[error("the audit log is not what was written: {0}")]
    Broken(AuditFault),
    /// What was read is of two states of the log.
    #[error("records were archived while the audit log was read: ask again")]
    Archived,
    /// There is nothing to archive.
    #[error("no checkpoint covers records that are not archived yet")]
    Nothing,
    /// The file is no archive.
    #[error("no audit archive, or a damaged one: {0}")]
    NoArchive(&'static str),
}

/// So many faults are told one by one.
const TOLD: usize = 100;

/// All faults, counted, and the first ones.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) first: Vec<AuditFault>,
    pub(crate) count: u64,
}

impl Faults {
    pub(crate) fn push(&mut self, fault: AuditFault) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(fault);
        }
    }

    pub(crate) fn add(
        &mut self,
        kind: FaultKind,
        chain: Option<InstanceId>,
        (first, last): (u64, u64),
        note: impl Into<String>,
    ) {
        self.push(AuditFault {
            kind,
            chain,
            first,
            last,
            note: note.into(),
        });
    }
}
