use jiff::Timestamp;
use ostrakon_server::{
    admin::{AskError, AuditStatus, RunState, Status},
    setup,
};
use ostrakon_types::UnixMillis;

use super::{Context, remote};
use crate::{
    cli::{Format, RemoteArgs},
    error::Failure,
};

pub(crate) async fn run(context: &Context, args: &RemoteArgs) -> Result<(), Failure> {
    let status = match remote::client(context, args)?.status().await {
        Ok(status) => status,
        Err(AskError::NotRunning) => setup::stopped_status(&context.home).await?,
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Human => print(&status),
        Format::Json | Format::Cef => {
            let text = serde_json::to_string(&status);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    Ok(())
}

fn audit(audit: &AuditStatus) -> String {
    let records = match audit.records {
        1 => "1 record".to_owned(),
        records => format!("{records} records"),
    };
    let checkpoint = match (audit.checkpoint, audit.checkpoint_at) {
        (Some(number), Some(at)) => {
            format!("checkpoint {number} at {}", moment(at))
        }
        _ => "no checkpoint yet".to_owned(),
    };
    match audit.writable {
        Some(false) => format!("{records}, {checkpoint}, cannot be written"),
        _ => format!("{records}, {checkpoint}"),
    }
}

fn moment(at: UnixMillis) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What it means that a state is not proved to be the newest, and what ends it.
fn warn_of_care(status: &Status) {
    if status.unproven_since.is_none() {
        return;
    }
    eprintln!(
        "warning: quota windows that began before that count as spent, and no profile is changed"
    );
    eprintln!(
        "warning: {} ends that",
        match status.backup {
            Some(_) => "`keyserver accept-rollback`, or the newest state put in its place,",
            None => "the newest state, put in its place,",
        }
    );
}

fn print(status: &Status) {
    let state = match status.state {
        RunState::Enabled => "enabled",
        RunState::Disabled => "disabled",
        RunState::Stopped => "stopped",
    };
    println!("id         {}", status.kss_id);
    println!("name       {}", status.name);
    println!("state      {state}");
    if status.staged {
        println!("recovered  it waits: `keyserver enable` lets it begin");
    }
    if let Some(reason) = &status.not_ready {
        println!("not ready  {reason}");
    }
    if let Some(since) = status.unproven_since {
        println!(
            "with care  since {}: its state may not be the newest",
            moment(since)
        );
    }
    match status.policy_version {
        Some(version) => println!("policy     version {version}"),
        None => println!("policy     none yet: `keyserver.yml` is loaded when the server starts"),
    }
    println!("profiles   {}", status.profiles);
    println!("audit      {}", audit(&status.audit));
    for trouble in &status.audit.trouble {
        println!("trouble    {trouble}");
    }
    println!("database   {}", status.database);
    if let Some(ahead) = status.clock_ahead_ms {
        println!("clock      {ahead:+} ms from the database's");
    }
    println!("protector  {}", status.protector);
    if let Some(generation) = &status.generation {
        println!("generation {generation}");
    }
    warn_of_care(status);
    match &status.backup {
        Some(backup) => {
            let holders = &backup.holders;
            let made = Timestamp::from_millisecond(backup.made_at.0).unwrap_or_default();
            println!(
                "backup key {} of {}, any {} of {} devices open it",
                backup.generation(),
                made.strftime("%Y-%m-%d"),
                holders.threshold,
                holders.devices
            );
            for warning in holders.warnings() {
                eprintln!("warning: {warning}");
            }
        }
        None => println!("backup key none: `keyserver save-backup-key` makes one"),
    }
    println!("instance   {}", status.instance);
    println!("version    {}", status.version);
}
