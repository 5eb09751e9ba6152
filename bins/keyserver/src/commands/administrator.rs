use std::path::Path;

use jiff::Timestamp;
use ostrakon_server::{
    Clock,
    admin::{AskError, Client},
    authority::{ClientKey, IdentityFile},
    certificates::{
        Administrator, AdministratorName, NewAdministrator, create_stopped, list_stopped,
        revoke_stopped,
    },
};
use ostrakon_types::UnixMillis;
use serde_json::json;

use super::{Context, remote};
use crate::{
    cli::{AdministratorCommand, Format, RemoteArgs},
    error::Failure,
};

pub(crate) async fn run(context: &Context, command: AdministratorCommand) -> Result<(), Failure> {
    match command {
        AdministratorCommand::Create { name, output, days } => {
            let name = name
                .parse()
                .map_err(|error| Failure::new(format!("{error}")))?;
            let new = |public_key| NewAdministrator {
                name,
                days,
                public_key,
            };
            create(context, new, &output).await
        }
        AdministratorCommand::List { remote } => list(context, &remote).await,
        AdministratorCommand::Revoke { which, remote } => revoke(context, &which, &remote).await,
    }
}

async fn create(
    context: &Context,
    new: impl FnOnce(Vec<u8>) -> NewAdministrator,
    path: &Path,
) -> Result<(), Failure> {
    let file = IdentityFile::reserve(path)?;
    let key = ClientKey::generate().map_err(ostrakon_server::BuildError::from)?;
    let new = new(key.public());
    let issued = match Client::new(&context.home).create_administrator(&new).await {
        Ok(issued) => issued,
        Err(AskError::NotRunning) => create_stopped(&context.home, new, &Clock::system()).await?,
        Err(error) => return Err(error.into()),
    };
    file.write(&key, &issued.certificate, &issued.authority)?;
    let made = &issued.administrator;
    match context.format {
        Format::Human => {
            println!(
                "administrator's certificate {} is in `{}`",
                made.id,
                path.display()
            );
        }
        Format::Json | Format::Cef => println!(
            "{}",
            json!({ "id": made.id, "expires_at": made.expires_at, "path": path })
        ),
    }
    eprintln!(
        "It is valid until {}. Whoever has that file is heard as an administrator:",
        day(made.expires_at)
    );
    eprintln!("`keyserver administrator revoke {}` ends that.", made.id);
    Ok(())
}

async fn list(context: &Context, args: &RemoteArgs) -> Result<(), Failure> {
    let all = match remote::client(context, args)?.administrators().await {
        Ok(all) => all,
        Err(AskError::NotRunning) => list_stopped(&context.home).await?,
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Human if all.is_empty() => println!("no administrator has a certificate"),
        Format::Human => all.iter().for_each(print),
        Format::Json | Format::Cef => println!("{}", json!(all)),
    }
    Ok(())
}

async fn revoke(context: &Context, which: &str, args: &RemoteArgs) -> Result<(), Failure> {
    let named: AdministratorName = which
        .parse()
        .map_err(|error| Failure::new(format!("{error}")))?;
    let client = remote::client(context, args)?;
    let revoked = match client.revoke_administrator(&named).await {
        Ok(revoked) => revoked,
        Err(AskError::NotRunning) => {
            revoke_stopped(&context.home, &named, &Clock::system()).await?
        }
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Human => {
            for one in &revoked {
                println!("certificate {} is revoked", one.id);
            }
        }
        Format::Json | Format::Cef => println!("{}", json!(revoked)),
    }
    Ok(())
}

fn print(administrator: &Administrator) {
    let Administrator {
        id,
        name,
        issued_at,
        expires_at,
        revoked_at,
        ..
    } = administrator;
    let state = match revoked_at {
        Some(at) => format!("revoked {}", day(*at)),
        None if *expires_at <= Clock::system().now() => format!("expired {}", day(*expires_at)),
        None => format!("until {}", day(*expires_at)),
    };
    println!(
        "{id}  issued {}, {state}  {}",
        day(*issued_at),
        name.as_str()
    );
}

fn day(at: UnixMillis) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.strftime("%Y-%m-%d").to_string()
}
