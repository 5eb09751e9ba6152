use ostrakon_server::{
    Clock, Name,
    admin::AskError,
    ceremony::{Administer, Administered, NewBackupFile},
    setup,
};
use serde_json::json;

use super::{Context, ceremony, config, create, remote, save_backup_key};
use crate::{
    cli::{AskArgs, BackupArgs, Format, RemoteArgs},
    error::Failure,
};

/// Makes the server answer requests. Where a backup key is asked for, it gets one; and where there is no server,
/// one is made first, which is the older spelling of `create`.
pub(crate) async fn enable(
    context: &Context,
    backup: &BackupArgs,
    args: &RemoteArgs,
) -> Result<(), Failure> {
    if args.server.is_some() {
        if backup.backup_path.is_some() {
            let said = "a backup key is made on the server's own machine alone";
            return Err(Failure::new(said).hint("leave out `--backup-path`"));
        }
        // From afar, a profile is that of those who must approve.
        return again(context, args, &backup.ask).await;
    }
    if !backup.is_asked() {
        if backup.ignore_security_checks {
            return Err(create::nothing_to_check());
        }
        return again(context, args, &backup.ask).await;
    }
    if !context.home.has_database() {
        let name = Name::new("keyserver").map_err(|error| Failure::new(error.to_string()))?;
        return create::with_backup(context, name, None, backup).await;
    }
    let path = backup.path(context);
    let file = NewBackupFile::reserve(&path)?;
    again(context, args, &backup.ask).await?;
    let unchecked = backup.ignore_security_checks;
    let saved = save_backup_key::into(context, &path, file, unchecked, &backup.ask);
    saved.await.inspect_err(|_| {
        eprintln!("The server is enabled. It has no new backup key; an earlier one stays good.");
    })
}

async fn again(context: &Context, args: &RemoteArgs, ask: &AskArgs) -> Result<(), Failure> {
    let client = remote::client(context, args)?;
    let running = match client.set_enabled(true).await {
        Ok(()) => true,
        Err(AskError::NotRunning) if !config(context)?.admin_quorum => {
            setup::set_enabled_stopped(&context.home, true, &Clock::system()).await?;
            false
        }
        Err(error) if error.may_be_approved() => {
            let running = !matches!(error, AskError::NotRunning);
            match ceremony::administer(context, client, Administer::Enable, ask).await? {
                Administered::Enabled => running,
                _ => return Err(ceremony::another()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    tell(context, true, running);
    Ok(())
}

/// Makes the server answer no requests.
pub(crate) async fn disable(context: &Context, args: &RemoteArgs) -> Result<(), Failure> {
    let running = match remote::client(context, args)?.set_enabled(false).await {
        Ok(()) => true,
        Err(AskError::NotRunning) => {
            setup::set_enabled_stopped(&context.home, false, &Clock::system()).await?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    tell(context, false, running);
    Ok(())
}

fn tell(context: &Context, enabled: bool, running: bool) {
    match context.format {
        Format::Json | Format::Cef => {
            println!("{}", json!({ "enabled": enabled, "running": running }));
        }
        Format::Human => {
            let state = if enabled { "enabled" } else { "disabled" };
            println!("key shard server {state}");
        }
    }
    if !running {
        eprintln!("It does not run now; this holds from its next start.");
    }
}
