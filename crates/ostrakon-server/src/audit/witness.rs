//! Where checkpoints go beside the database: the state file in the home, a file elsewhere, the system's log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{fs::OpenOptionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_custody::{CheckpointError, SignedCheckpoint};

use crate::{Home, config::Audit};

/// As much of the end of a checkpoint file is looked at when the server starts.
const TAIL: u64 = 64 << 10;

/// Facility `authpriv` (10), severity `notice` (5), as RFC 3164 counts them.
const PRIORITY: u8 = 10 * 8 + 5;

/// The places.
#[derive(Debug)]
pub(super) struct Places {
    state: PathBuf,
    file: Option<PathBuf>,
    syslog: Option<PathBuf>,
}

/// A place that did not take a checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("the audit checkpoint cannot be written to {place}")]
pub(crate) struct PlaceError {
    place: &'static str,
    source: io::Error,
}

impl Places {
    pub(super) fn new(home: &Home, audit: &Audit) -> Self {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        Self {
            state: home.audit_state(),
            file: path(&audit.checkpoint_file),
            syslog: path(&audit.syslog),
        }
    }

    /// Writes the checkpoint to every place, durably where there is a disk behind it. The first place that
    /// fails is told, but none is left out for it.
    pub(super) fn write(&self, checkpoint: &SignedCheckpoint) -> Result<(), PlaceError> {
        let line = format!("{checkpoint}\n");
        let failed = |place| move |source| PlaceError { place, source };
        let state = replace(&self.state, line.as_bytes()).map_err(failed("the state file"));
        let file = match &self.file {
            Some(path) => append(path, line.as_bytes()).map_err(failed("the checkpoint file")),
            None => Ok(()),
        };
        let syslog = match &self.syslog {
            Some(path) => send(path, line.trim_end()).map_err(failed("the system's log")),
            None => Ok(()),
        };
        state.and(file).and(syslog)
    }

    /// The newest checkpoint that the file elsewhere ends with, if there is one.
    pub(super) fn last_in_file(&self) -> Option<io::Result<SignedCheckpoint>> {
        let path = self.file.as_ref()?;
        match last_line(path) {
            Ok(checkpoint) => checkpoint.map(Ok),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// The checkpoint in the state file, if there is one.
pub(super) fn read_state(
    home: &Home,
) -> io::Result<Option<Result<SignedCheckpoint, CheckpointError>>> {
    match fs::read(home.audit_state()) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let read = SignedCheckpoint::in_line(&text);
            Ok(Some(read.unwrap_or(Err(CheckpointError::Altered))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn last_line(path: &Path) -> io::Result<Option<SignedCheckpoint>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().rev();
    Ok(lines.find_map(|line| SignedCheckpoint::in_line(line)?.ok()))
}

/// Replaces a file of the owner's alone, whole or not at all, power cuts included.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Appends a line. What an earlier try left unfinished is ended first: a line for itself, and none.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o640).open(path)?;
    let last = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last).map(|()| last)
    });
    // An empty file has none, nor has one that may be written to but not read.
    let is_cut = last.is_ok_and(|last| last != *b"\n");
    let mut bytes = Vec::with_capacity(line.len() + 1);
    if is_cut {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line);
    file.write_all(&bytes)?;
    file.sync_all()
}

/// Sends a line to the system's log, in the form of RFC 3164.
fn send(socket: &Path, line: &str) -> io::Result<()> {
    let (pid, time) = (std::process::id(), stamp());
    let message = format!("<{PRIORITY}>{time} keyserver[{pid}]: {line}");
    let sender = UnixDatagram::unbound()?;
    // A log that does not read must not stop the server.
    sender.set_nonblocking(true)?;
    sender.send_to(message.as_bytes(), socket).map(|_| ())
}

/// The time as RFC 3164 writes it.
fn stamp() -> String {
    let now = crate::Clock::system().now();
    let now = Timestamp::from_millisecond(now.0).unwrap_or_default();
    now.to_zoned(TimeZone::system())
        .strftime("%b %e %H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        append(&path, b"one\n").unwrap();
        append(&path, b"two").unwrap();
        append(&path, b"three\n").unwrap();
        append(&path, b"four\n").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "one\ntwo\nthree\nfour\n"
        );
        assert!(last_line(&path).unwrap().is_none());
    }

    #[test]
    fn the_state_file_is_replaced_whole_also_over_a_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.checkpoint");
        fs::write(path.with_extension("new"), "rest").unwrap();
        for text in ["first", "second"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_systems_log_gets_one_datagram_with_a_priority_and_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(send(&path, "x").is_err(), "nobody listens");
        let log = UnixDatagram::bind(&path).unwrap();
        send(&path, "ostrakon-checkpoint-1:AAAA").unwrap();
        let mut buffer = [0; 200];
        let length = log.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(text.starts_with("<85>"), "{text}");
        assert!(text.contains(" keyserver[") && text.ends_with(": ostrakon-checkpoint-1:AAAA"));
    }
}
