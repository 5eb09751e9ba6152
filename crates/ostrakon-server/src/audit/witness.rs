//! Where checkpoints go beside the database: the state file in the home, a file elsewhere, the system's log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::{fs::OpenOptionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_custody::{CheckpointError, SignedCheckpoint};
use tokio::task::JoinError;

use crate::{Home, config::Audit};

/// As much of the end of a checkpoint file is looked at when the server starts.
const TAIL: u64 = 64 << 10;

/// Facility `authpriv` (10), severity `notice` (5), as RFC 3164 counts them.
const PRIORITY: u8 = 10 * 8 + 5;

/// The places, and what each of them has taken.
#[derive(Debug)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    name: &'static str,
    path: PathBuf,
    write: fn(&Path, &str) -> io::Result<()>,
    /// The number of the newest checkpoint that it took: it gets none twice because another place took none.
    taken: u64,
}

/// A place that did not take a checkpoint.
#[derive(Debug, thiserror::Error)]
#[error("the audit checkpoint cannot be written to {place}")]
pub(crate) struct PlaceError {
    place: &'static str,
    source: io::Error,
}

impl PlaceError {
    /// That the thread which was to write has died.
    pub(super) fn any(died: JoinError) -> Result<(), Self> {
        Err(Self {
            place: "its places",
            source: died.into(),
        })
    }
}

impl Places {
    pub(super) fn new(home: &Home, audit: &Audit) -> Self {
        let elsewhere = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        type Write = fn(&Path, &str) -> io::Result<()>;
        let places: [(&'static str, Option<PathBuf>, Write); 3] = [
            ("the state file", Some(home.audit_state()), replace),
            (
                "the checkpoint file",
                elsewhere(&audit.checkpoint_file),
                append,
            ),
            ("the system's log", elsewhere(&audit.syslog), send),
        ];
        let place = |(name, path, write): (&'static str, Option<PathBuf>, Write)| {
            Some(Place {
                name,
                path: path?,
                write,
                taken: 0,
            })
        };
        Self(places.into_iter().filter_map(place).collect())
    }

    /// Writes the checkpoint to every place that has not taken it, durably where there is a disk behind it.
    /// The first place that fails is told, but none is left out for it. It may block for long.
    pub(super) fn write(&mut self, checkpoint: &SignedCheckpoint) -> Result<(), PlaceError> {
        let number = checkpoint.number();
        let line = checkpoint.to_string();
        let mut written = Ok(());
        for place in self.0.iter_mut().filter(|place| place.taken < number) {
            match (place.write)(&place.path, &line) {
                Ok(()) => place.taken = number,
                Err(source) => {
                    let place = place.name;
                    written = written.and(Err(PlaceError { place, source }));
                }
            }
        }
        written
    }
}

/// The newest checkpoint that the file elsewhere ends with, if there is one.
pub(super) fn last_in_file(audit: &Audit) -> Option<io::Result<SignedCheckpoint>> {
    if audit.checkpoint_file.is_empty() {
        return None;
    }
    match last_line(Path::new(&audit.checkpoint_file)) {
        Ok(checkpoint) => checkpoint.map(Ok),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
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

/// Replaces a file of the owner's alone by a line, whole or not at all, power cuts included.
fn replace(path: &Path, line: &str) -> io::Result<()> {
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
    writeln!(file, "{line}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Appends a line. What an earlier try left unfinished is ended first: a line for itself, and none.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o640).open(path)?;
    let last = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last).map(|()| last)
    });
    // An empty file has none, nor has one that may be written to but not read.
    let is_cut = last.is_ok_and(|last| last != *b"\n");
    let end = if is_cut { "\n" } else { "" };
    // In one write.
    file.write_all(format!("{end}{line}\n").as_bytes())?;
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
    use ostrakon_custody::Checkpoint;

    use super::*;

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        append(&path, "one").unwrap();
        let mut cut = OpenOptions::new().append(true).open(&path).unwrap();
        cut.write_all(b"two").unwrap();
        append(&path, "three").unwrap();
        append(&path, "four").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "one\ntwo\nthree\nfour\n"
        );
        assert!(last_line(&path).unwrap().is_none());
    }

    /// Places with a checkpoint file, and a system's log where nobody listens.
    fn places(folder: &Path) -> Places {
        let path = |name: &str| folder.join(name).display().to_string();
        let audit = Audit {
            checkpoint_file: path("checkpoints"),
            syslog: path("log"),
            ..Audit::default()
        };
        Places::new(&Home::new(folder), &audit)
    }

    /// The first two checkpoints of a new server.
    async fn two_checkpoints() -> [SignedCheckpoint; 2] {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let name = ostrakon_shards::name::Name::new("kss").unwrap();
        let clock = crate::Clock::system();
        crate::setup::create(&home, name, None, &clock)
            .await
            .unwrap();
        let opened = crate::offline::Opened::open(&home).await.unwrap();
        let kss_id = opened.identity.keyserver.kss_id();
        let after = |before: Option<&SignedCheckpoint>| {
            let next = Checkpoint::after(before, kss_id, &[], clock.now());
            opened.identity.signer.checkpoint(next)
        };
        let first = after(None);
        let second = after(Some(&first));
        [first, second]
    }

    #[tokio::test]
    async fn a_place_that_took_a_checkpoint_does_not_get_it_again_for_another_place() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = two_checkpoints().await;
        let mut places = places(folder.path());
        for _ in 0..3 {
            let error = places.write(&first).unwrap_err();
            assert!(error.to_string().contains("the system's log"), "{error}");
        }
        let log = UnixDatagram::bind(folder.path().join("log")).unwrap();
        log.set_nonblocking(true).unwrap();
        for checkpoint in [&first, &first, &second, &first] {
            places.write(checkpoint).unwrap();
        }
        let text = fs::read_to_string(folder.path().join("checkpoints")).unwrap();
        assert_eq!(text, format!("{first}\n{second}\n"));
        let mut buffer = [0; 2000];
        for _ in 0..2 {
            log.recv(&mut buffer).unwrap();
        }
        assert!(log.recv(&mut buffer).is_err(), "sent twice");
        let state = fs::read_to_string(folder.path().join("audit.checkpoint")).unwrap();
        assert_eq!(state, format!("{second}\n"));
    }

    #[test]
    fn the_state_file_is_replaced_whole_also_over_a_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.checkpoint");
        fs::write(path.with_extension("new"), "rest").unwrap();
        for text in ["first", "second"] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}\n"));
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
