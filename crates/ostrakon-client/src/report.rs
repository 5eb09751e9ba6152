use std::{fmt, path::PathBuf};

use ostrakon_types::Denial;

use crate::file::FileError;

/// What became of one file. Its paths are user data: `Debug` does not show them.
pub struct Report {
    /// The file, as it was named or found.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// What can become of a file.
#[non_exhaustive]
pub enum Outcome {
    /// It was encrypted or decrypted.
    Done {
        /// What was written.
        output: PathBuf,
        /// Bytes of plaintext.
        bytes: u64,
    },
    /// It was left alone.
    Skipped(Skip),
    /// The key shard server denied it.
    Denied(Denial),
    /// It could not be done.
    Failed(FileError),
}

/// Why a file below a folder was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// It is a symbolic link.
    SymbolicLink,
    /// It is neither a file nor a folder.
    NotAFile,
    /// It is encrypted already.
    AlreadyEncrypted,
}

/// How many files came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Encrypted or decrypted.
    pub done: u64,
    /// Left alone.
    pub skipped: u64,
    /// Denied.
    pub denied: u64,
    /// Failed.
    pub failed: u64,
}

/// Is told how work goes. A `Vec<Report>` keeps all reports.
pub trait Progress: Send {
    /// A file is finished.
    fn reported(&mut self, report: Report);

    /// Work on a file of `bytes` bytes begins.
    fn began(&mut self, _bytes: u64) {}

    /// So many bytes more are done.
    fn advanced(&mut self, _bytes: u64) {}
}

impl Progress for Vec<Report> {
    fn reported(&mut self, report: Report) {
        self.push(report);
    }
}

/// Something that a [`Progress`] is told, on its way from the thread that does the work.
pub(crate) enum Event {
    Began(u64),
    Advanced(u64),
    Reported(Report),
}

impl Event {
    pub(crate) fn report(path: PathBuf, outcome: Outcome) -> Self {
        Self::Reported(Report { path, outcome })
    }
}

impl Summary {
    /// Counts an event and passes it on.
    pub(crate) fn tell(&mut self, event: Event, progress: &mut dyn Progress) {
        match event {
            Event::Began(bytes) => progress.began(bytes),
            Event::Advanced(bytes) => progress.advanced(bytes),
            Event::Reported(report) => {
                let count = match report.outcome {
                    Outcome::Done { .. } => &mut self.done,
                    Outcome::Skipped(_) => &mut self.skipped,
                    Outcome::Denied(_) => &mut self.denied,
                    Outcome::Failed(_) => &mut self.failed,
                };
                *count += 1;
                progress.reported(report);
            }
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { bytes, .. } => write!(f, "Done({bytes} bytes)"),
            Self::Skipped(skip) => write!(f, "Skipped({skip:?})"),
            Self::Denied(denial) => write!(f, "Denied({denial:?})"),
            Self::Failed(error) => write!(f, "Failed({error:?})"),
        }
    }
}
