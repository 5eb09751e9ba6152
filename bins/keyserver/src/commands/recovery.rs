use std::path::Path;

use ostrakon_server::{
    Clock, Name,
    ceremony::{Ingestion, Stand},
};
use serde_json::json;

use super::{Context, backup_key, ceremony};
use crate::{
    cli::{AskArgs, Format},
    error::Failure,
};

pub(crate) async fn run(context: &Context, path: &Path, args: &AskArgs) -> Result<(), Failure> {
    let file = backup_key::read(path, args, context.format).await?;
    let versions = backup_key::versions(&file, args)?;
    let generation = file.generation();
    if backup_key::is_behind(&file, &versions) {
        eprintln!(
            "warning: the profile has changed since this backup file was made: a newer one may exist"
        );
    }
    let mut ingestion = Ingestion::open(
        &context.home,
        file,
        &versions,
        machine()?,
        args.wait.wait_ms(),
        &Clock::system(),
    )?;
    match ceremony::hold(&mut ingestion, args, context.format).await? {
        Stand::Approved => {}
        stand => return Err(ceremony::not_approved(stand)),
    }
    let ingested = ingestion.finish().await?;
    let kss_id = ingested.keyserver.kss_id();
    match context.format {
        Format::Human => println!("{kss_id}"),
        Format::Json | Format::Cef => {
            println!(
                "{}",
                json!({ "kss_id": kss_id, "generation": generation.to_string() })
            );
        }
    }
    let home = context.home.folder().display();
    eprintln!("The identity of the lost key shard server is in `{home}`, and waits there.");
    eprintln!("Never let two servers with one id run at a time. To let this one begin:");
    eprintln!("    keyserver --home {home} enable");
    eprintln!("    keyserver --home {home} serve");
    Ok(())
}

/// This machine's name.
pub(crate) fn machine() -> Result<Name, Failure> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    Name::new(&name).map_err(|error| Failure::new(format!("this machine's name: {error}")))
}
