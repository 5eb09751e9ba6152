use jiff::Timestamp;
use ostrakon_server::{
    admin::{AskError, AuditStatus, Client, RunState, Status},
    setup,
};

use super::Context;
use crate::{cli::Format, error::Failure};

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let status = match Client::new(&context.home).status().await {
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
    let records = format!("{} records", audit.records);
    let checkpoint = match (audit.checkpoint, audit.checkpoint_at) {
        (Some(number), Some(at)) => {
            let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
            let at = at.strftime("%Y-%m-%d %H:%M:%S UTC");
            format!("checkpoint {number} at {at}")
        }
        _ => "no checkpoint yet".to_owned(),
    };
    match audit.writable {
        Some(false) => format!("{records}, {checkpoint}, cannot be written"),
        _ => format!("{records}, {checkpoint}"),
    }
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
    println!("protector  {}", status.protector);
    if let Some(generation) = &status.generation {
        println!("generation {generation}");
    }
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
