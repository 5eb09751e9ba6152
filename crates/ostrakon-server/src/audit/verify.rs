use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use ostrakon_custody::{
    AuditError, AuditEvent, AuditFault, AuditRecord, Auditor, Evidence, Outside, SignedCheckpoint,
};
use ostrakon_types::UnixMillis;
use serde::{Serialize, Serializer};

use super::witness::read_state;
use crate::{Clock, Home, offline::Opened, server::BuildError};

/// What else is looked at than the database and the home.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// A file with checkpoints in its lines, such as the one of `audit.checkpoint_file`, or the system's
    /// log.
    pub checkpoints: Option<PathBuf>,
    /// Archives.
    pub archives: Vec<PathBuf>,
    /// Whether every counter, and every request that is remembered, is compared with the log.
    pub quotas: bool,
}

/// What an audit log holds, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditSummary {
    /// Records in the database.
    pub records: u64,
    /// Items of requests that were approved.
    pub approved: u64,
    /// Items of requests that were denied.
    pub denied: u64,
    /// Each chain.
    pub chains: Vec<ChainSummary>,
    /// Checkpoints in the database.
    pub checkpoints: u64,
    /// The number of the newest one.
    pub newest_checkpoint: Option<u64>,
    /// When it was made.
    pub newest_checkpoint_at: Option<UnixMillis>,
    /// How many of the newest records no checkpoint covers yet.
    pub uncovered: u64,
    /// Checkpoints from elsewhere that were compared.
    pub compared: u64,
    /// Archives that were read.
    pub archives: Vec<ArchiveSummary>,
    /// How many faults there are.
    pub fault_count: u64,
    /// The first of them.
    pub faults: Vec<Told>,
}

/// What is in one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChainSummary {
    /// The instance whose chain it is.
    pub instance: String,
    /// The last record that is in an archive and not here; 0 when none is.
    pub archived: u64,
    /// The newest record.
    pub newest: u64,
}

/// What is in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchiveSummary {
    /// Its file.
    pub file: PathBuf,
    /// Its number, where that can be told.
    pub number: Option<u64>,
    /// Records in it.
    pub records: u64,
}

/// A fault, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// In which file, where it is not the database.
    pub file: Option<PathBuf>,
    /// The fault.
    pub fault: AuditFault,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fault = &self.fault;
        serde_json::json!({
            "kind": fault.kind.name(),
            "file": self.file,
            "chain": fault.chain.map(|chain| chain.to_string()),
            "first": fault.first,
            "last": fault.last,
            "message": self.to_string(),
        })
        .serialize(serializer)
    }
}

/// Checks the audit log. The server may be running.
///
/// # Errors
/// When it cannot be read. What is wrong with it is in the summary.
pub async fn verify(
    home: &Home,
    options: &VerifyOptions,
    clock: &Clock,
) -> Result<AuditSummary, BuildError> {
    let opened = Opened::open(home).await?;
    let verified = unless_archived(async || check(&opened, home, options, clock).await).await;
    opened.store.close().await;
    verified
}

/// How often the log is read when records are archived meanwhile, each time.
const TRIES: u32 = 5;

/// Reads the log, and again where records were archived while it was read.
pub(crate) async fn unless_archived<T>(
    mut read: impl AsyncFnMut() -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    for _ in 1..TRIES {
        match read().await {
            Err(BuildError::Audit(AuditError::Archived)) => {}
            read => return read,
        }
    }
    read().await
}

async fn check(
    opened: &Opened,
    home: &Home,
    options: &VerifyOptions,
    clock: &Clock,
) -> Result<AuditSummary, BuildError> {
    let Opened {
        store, identity, ..
    } = opened;
    // Witnesses first: the log only grows meanwhile.
    let state = read_state(home).map_err(open(&home.audit_state()))?;
    let audit = &identity.audit;
    let head = audit.read_head_file(store, &home.audit_head()).await?;
    let evidence = Evidence {
        head: Some(head),
        state,
    };
    let outside = match &options.checkpoints {
        Some(path) => Some(outside(path).map_err(open(path))?),
        None => None,
    };
    let auditor = Auditor::new(identity, store);
    let mut summary = AuditSummary::default();
    let mut told = ostrakon_custody::Told::new(clock.now());
    let each = |instance, sequence, record: &AuditRecord| {
        told.add(instance, sequence, record);
        summary.count(record);
    };
    let verified = auditor.verify(evidence, outside.into_iter().flatten(), each);
    let mut report = verified.await?;
    auditor
        .compare_state(told, options.quotas, || clock.now(), &mut report)
        .await?;
    summary.records = report.chains.iter().map(|chain| chain.records).sum();
    summary.uncovered = report.chains.iter().map(|chain| chain.uncovered).sum();
    summary.chains = report
        .chains
        .iter()
        .map(|chain| ChainSummary {
            instance: chain.instance.to_string(),
            archived: chain.archived,
            newest: chain.newest,
        })
        .collect();
    summary.checkpoints = report.checkpoints;
    summary.newest_checkpoint = report.newest_checkpoint.map(|(number, _)| number);
    summary.newest_checkpoint_at = report.newest_checkpoint.map(|(_, at)| at);
    summary.compared = report.compared;
    summary.fault_count = report.fault_count;
    let here = |fault| Told { file: None, fault };
    summary.faults = report.faults.into_iter().map(here).collect();
    for path in &options.archives {
        let file = File::open(path).map_err(open(path))?;
        let mut records = 0;
        let read = auditor.verify_archive(file, |_, _, _| records += 1)?;
        summary.fault_count += read.fault_count;
        let there = |fault| Told {
            file: Some(path.clone()),
            fault,
        };
        summary.faults.extend(read.faults.into_iter().map(there));
        summary.archives.push(ArchiveSummary {
            file: path.clone(),
            number: read.manifest.map(|manifest| manifest.number),
            records,
        });
    }
    Ok(summary)
}

impl AuditSummary {
    fn count(&mut self, record: &AuditRecord) {
        if let AuditEvent::Decided { decision, .. } = &record.event {
            let count = if decision.is_approved() {
                &mut self.approved
            } else {
                &mut self.denied
            };
            *count += 1;
        }
    }
}

fn open(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Open { path, source }
}

/// The checkpoints in the lines of a file, one by one.
fn outside(path: &Path) -> io::Result<impl Iterator<Item = Outside>> {
    let name = path.display().to_string();
    let lines = BufReader::new(File::open(path)?).split(b'\n');
    let lines = (1_u64..).zip(lines.map_while(Result::ok));
    Ok(lines.filter_map(move |(number, line)| {
        let line = String::from_utf8_lossy(&line);
        let read = SignedCheckpoint::in_line(&line)?;
        Some((format!("line {number} of {name}"), read))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_is_read_again_where_records_were_archived_meanwhile() {
        for (archived, expected) in [(0, true), (1, true), (TRIES - 1, true), (TRIES, false)] {
            let mut reads = 0;
            let read = unless_archived(async || {
                reads += 1;
                if reads > archived {
                    Ok(())
                } else {
                    Err(AuditError::Archived.into())
                }
            });
            assert_eq!(read.await.is_ok(), expected, "{archived}");
            assert_eq!(reads, (archived + 1).min(TRIES));
        }
        let mut reads = 0;
        let read = unless_archived(async || {
            reads += 1;
            Err::<(), _>(AuditError::Nothing.into())
        });
        assert!(read.await.is_err());
        assert_eq!(reads, 1, "another error is no reason");
    }
}
