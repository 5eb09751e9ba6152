use std::{
    io::{self, Write as _},
    time::Duration,
};

use ostrakon_server::audit::{AuditEntry, AuditReader};
use serde_json::Value;

use super::Context;
use crate::{cli::Format, error::Failure};

/// How often new records are looked for.
const EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context, lines: u64, follow: bool) -> Result<(), Failure> {
    let mut reader = AuditReader::open(&context.home).await?;
    let mut entries = reader.newest(lines).await?;
    let mut tick = tokio::time::interval(EVERY);
    loop {
        if !print(&entries, context.format)? || !follow {
            return Ok(());
        }
        tick.tick().await;
        entries = reader.newer().await?;
    }
}

/// Prints records. `false` when nobody reads them any more.
fn print(entries: &[AuditEntry], format: Format) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    for entry in entries {
        let line = match format {
            Format::Human => entry.to_line(),
            Format::Json | Format::Cef => Value::Object(entry.to_json()).to_string(),
        };
        if let Err(error) = writeln!(out, "{line}") {
            return gone(&error);
        }
    }
    match out.flush() {
        Ok(()) => Ok(true),
        Err(error) => gone(&error),
    }
}

fn gone(error: &io::Error) -> Result<bool, Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(false)
    } else {
        Err(Failure::new(format!("cannot write: {error}")))
    }
}
