use std::time::Duration;

use ostrakon_server::audit::{AuditEntry, AuditReader};
use serde_json::Value;

use super::Context;
use crate::{
    cli::{Format, RemoteArgs},
    commands::remote,
    error::Failure,
};

/// How often new records are looked for.
const EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(
    context: &Context,
    lines: u64,
    follow: bool,
    args: &RemoteArgs,
) -> Result<(), Failure> {
    if args.server.is_some() {
        let client = remote::client(context, args)?;
        let mut feed = client.audit();
        print(&feed.newest(lines).await?, context.format);
        if !follow {
            return Ok(());
        }
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            print(&feed.newer().await?, context.format);
        }
    }
    let mut reader = AuditReader::open(&context.home).await?;
    let mut entries = reader.newest(lines).await?;
    let mut tick = tokio::time::interval(EVERY);
    loop {
        print(&entries, context.format);
        if !follow {
            return Ok(());
        }
        tick.tick().await;
        entries = reader.newer().await?;
    }
}

fn print(entries: &[AuditEntry], format: Format) {
    for entry in entries {
        match format {
            Format::Human => println!("{}", entry.to_line()),
            Format::Json | Format::Cef => println!("{}", Value::Object(entry.to_json())),
        }
    }
}
