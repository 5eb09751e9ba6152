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
    let generation = save(context, path, ignore_security_checks, args).await?;
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

/// Has a backup key made and written to `path`, and gives its generation.
pub(crate) async fn save(
    context: &Context,
    path: &Path,
    ignore_security_checks: bool,
    args: &AskArgs,
) -> Result<String, Failure> {
    let file = NewBackupFile::reserve(path)?;
    let ask = Ask {
        operation: Operation::SaveBackupKey {
            ignore_security_checks,
        },
        profile: administrators::profile(args)?,
        wait_ms: args.wait_ms(),
    };
    let fulfilled = ceremony::of_server(context, ask, args).await?;
    let Fulfilled::BackupKey { text } = fulfilled else {
        return Err(Failure::new("the server did something else than was asked"));
    };
    let made = parse_backup(&text)?;
    file.write(&made)?;
    Ok(made.generation().to_string())
}
