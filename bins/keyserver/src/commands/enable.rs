use ostrakon_server::{
    Clock, Name,
    admin::{AskError, Client},
    ceremony::NewBackupFile,
    setup,
};
use serde_json::json;

use super::{Context, create, save_backup_key};
use crate::{
    cli::{BackupArgs, Format},
    error::Failure,
};

/// Makes the server answer requests. Where a backup key is asked for, it gets one; and where there is no server,
/// one is made first, which is the older spelling of `create`.
pub(crate) async fn enable(context: &Context, backup: &BackupArgs) -> Result<(), Failure> {
    if !backup.is_asked() {
        if backup.ignore_security_checks {
            return Err(create::nothing_to_check());
        }
        return switch(context, true).await;
    }
    if !context.home.has_database() {
        let name = Name::new("keyserver").map_err(|error| Failure::new(error.to_string()))?;
        return create::with_backup(context, name, None, backup).await;
    }
    let path = backup.path(context);
    let file = NewBackupFile::reserve(&path)?;
    switch(context, true).await?;
    let unchecked = backup.ignore_security_checks;
    let saved = save_backup_key::into(context, &path, file, unchecked, &backup.ask);
    saved.await.inspect_err(|_| {
        eprintln!("The server is enabled. It has no new backup key; an earlier one stays good.");
    })
}

/// Makes the server answer requests, or none.
pub(crate) async fn switch(context: &Context, enabled: bool) -> Result<(), Failure> {
    let running = match Client::new(&context.home).set_enabled(enabled).await {
        Ok(()) => true,
        Err(AskError::NotRunning) => {
            setup::set_enabled_stopped(&context.home, enabled, &Clock::system()).await?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Json | Format::Cef => {
            println!("{}", json!({ "enabled": enabled, "running": running }))
        }
        Format::Human => {
            println!(
                "key shard server {}",
                if enabled { "enabled" } else { "disabled" }
            );
        }
    }
    if !running {
        eprintln!("It does not run now; this holds from its next start.");
    }
    Ok(())
}
