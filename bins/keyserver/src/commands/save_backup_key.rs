use std::path::Path;

use ostrakon_server::ceremony::{Ask, Fulfilled, NewBackupFile, Operation, parse_backup};
use serde_json::json;

use super::{Context, administrators, ceremony};
use crate::{
    cli::{AskArgs, Format},
    error::Failure,
};

pub(crate) async fn run(
    context: &Context,
    path: &Path,
    ignore_security_checks: bool,
    args: &AskArgs,
) -> Result<(), Failure> {
    let file = NewBackupFile::reserve(path)?;
    into(context, path, file, ignore_security_checks, args).await
}

/// The same, into a file that was reserved before.
pub(crate) async fn into(
    context: &Context,
    path: &Path,
    file: NewBackupFile,
    ignore_security_checks: bool,
    args: &AskArgs,
) -> Result<(), Failure> {
    let generation = save(context, file, ignore_security_checks, args).await?;
    match context.format {
        Format::Human => println!("backup key {generation} is in `{}`", path.display()),
        Format::Json | Format::Cef => {
            println!(
                "{}",
                json!({ "generation": generation, "backup_path": path })
            );
        }
    }
    eprintln!("Copy that file elsewhere. Earlier files are out of date now, but not harmless:");
    eprintln!(
        "whoever has one, and the devices that it takes, can recover the server from it for ever."
    );
    Ok(())
}

/// Has a backup key made and written to the file, and gives its generation.
async fn save(
    context: &Context,
    file: NewBackupFile,
    ignore_security_checks: bool,
    args: &AskArgs,
) -> Result<String, Failure> {
    let profile = administrators::profile(args)?;
    if profile.is_empty() {
        eprintln!(
            "warning: unless this server is in it, the administrators' profile is known as it was when the last \
             backup key was made. A device that was removed since still counts, and gets a share: where \
             that may be so, name the card as it is now with `--profile CARD`"
        );
    }
    let ask = Ask {
        operation: Operation::SaveBackupKey {
            ignore_security_checks,
        },
        profile,
        wait_ms: args.wait.wait_ms(),
    };
    let mut generation = None;
    let keep = |fulfilled: &Fulfilled| {
        let Fulfilled::BackupKey { text } = fulfilled else {
            return Err(ceremony::another());
        };
        let made = parse_backup(text)?;
        file.write(&made)?;
        generation = Some(made.generation().to_string());
        Ok(())
    };
    ceremony::of_server(context, ask, args, keep).await?;
    generation.ok_or_else(ceremony::another)
}
