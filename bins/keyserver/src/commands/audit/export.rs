use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ostrakon_server::{
    BuildError,
    audit::{AuditEntry, AuditReader},
};
use ostrakon_types::UnixMillis;
use serde_json::Value;

use super::Context;
use crate::{cli::Format, error::Failure, out};

pub(super) async fn run(
    context: &Context,
    since: Option<UnixMillis>,
    until: Option<UnixMillis>,
    file: Option<&Path>,
) -> Result<(), Failure> {
    let between = (
        since.unwrap_or(UnixMillis(i64::MIN)),
        until.unwrap_or(UnixMillis(i64::MAX)),
    );
    let reader = AuditReader::open(&context.home).await?;
    let Some(path) = file else {
        let out = BufWriter::new(io::stdout().lock());
        return match write(&reader, between, context.format, out).await {
            Ok(_) => Ok(()),
            Err(Stopped::Read(error)) => Err(error.into()),
            Err(Stopped::Write(error)) => out::unwritten(error),
        };
    };
    // A new file, for its owner alone: it names paths.
    let new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Failure::file(path))?;
    let written = write(&reader, between, context.format, BufWriter::new(new)).await;
    let synced = written.and_then(|out| {
        let file = out
            .into_inner()
            .map_err(|error| Stopped::Write(error.into_error()))?;
        file.sync_all().map_err(Stopped::Write)
    });
    synced.map_err(|stopped| {
        // Half an export would be taken for a whole one.
        let _ = fs::remove_file(path);
        stopped.failure(path)
    })
}

/// Why an export is not whole.
enum Stopped {
    Read(BuildError),
    Write(io::Error),
}

impl From<BuildError> for Stopped {
    fn from(error: BuildError) -> Self {
        Self::Read(error)
    }
}

impl Stopped {
    fn failure(self, path: &Path) -> Failure {
        match self {
            Self::Read(error) => error.into(),
            Self::Write(error) => Failure::file(path)(error),
        }
    }
}

async fn write<W: Write>(
    reader: &AuditReader,
    (since, until): (UnixMillis, UnixMillis),
    format: Format,
    mut out: W,
) -> Result<W, Stopped> {
    let each = |entry: &AuditEntry| {
        let line = match format {
            Format::Cef => entry.to_cef(),
            Format::Human | Format::Json => Value::Object(entry.to_json()).to_string(),
        };
        writeln!(out, "{line}").map_err(Stopped::Write)
    };
    reader.between(since, until, each).await?;
    out.flush().map_err(Stopped::Write)?;
    Ok(out)
}
