mod explain;
mod simulate;
mod test;

use std::{fs, path::Path};

use ostrakon_server::{
    admin::AskError,
    ceremony::{Administer, Administered},
    policy_engine::{LoadPolicyError, Policy, Registry, TimeZone},
    read_text,
};
use serde_json::json;

use super::{Context, ceremony, remote, zone};
use crate::{
    cli::{AskArgs, Format, PolicyArgs, PolicyCommand, RemoteArgs},
    error::{Failure, bad_policy},
};

pub(crate) async fn run(
    context: Result<Context, Failure>,
    args: PolicyArgs,
    format: Format,
    registry: &Registry,
) -> Result<(), Failure> {
    match args.command {
        Some(PolicyCommand::Check { strict, file }) => check(&file, strict, format, registry),
        Some(PolicyCommand::Test { paths, junit }) => {
            test::run(&paths, junit.as_deref(), format, registry)
        }
        Some(PolicyCommand::Explain { policy, request }) => {
            explain::run(&context?, policy.as_deref(), &request, registry).await
        }
        Some(PolicyCommand::Simulate { file, since }) => {
            simulate::run(&context?, &file, since, registry).await
        }
        Some(PolicyCommand::Schema) => schema(registry),
        None => match args.dump {
            Some(path) => dump(&context?, path.as_deref(), &args.remote).await,
            None => {
                let path = args.load.flatten();
                load(&context?, path.as_deref(), &args.ask, &args.remote).await
            }
        },
    }
}

async fn load(
    context: &Context,
    path: Option<&Path>,
    ask: &AskArgs,
    args: &RemoteArgs,
) -> Result<(), Failure> {
    let path = match path {
        // Another file would be undone at the next start, by the one in the home.
        Some(_) if args.server.is_none() => {
            let said = "the server on this machine loads `keyserver.yml` in its home alone";
            return Err(Failure::new(said).hint("leave out the path, or name a server"));
        }
        Some(path) => path.to_owned(),
        None => context.home.policy(),
    };
    let source = read_text(&path).map_err(Failure::file(&path))?;
    let client = remote::client(context, args)?;
    let loaded = match client.load_policy(source.clone()).await {
        Err(AskError::NotRunning) => return Err(AskError::NotRunning.into()),
        Err(error) if error.may_be_approved() => {
            let asked = Administer::LoadPolicy { source };
            match ceremony::administer(context, client, asked, ask).await? {
                Administered::PolicyLoaded(loaded) => loaded,
                _ => return Err(ceremony::another()),
            }
        }
        loaded => loaded?,
    };
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    match context.format {
        Format::Human => {
            println!("policy version {} is in force", loaded.version);
            for quota in &loaded.quotas {
                println!("{quota}");
            }
        }
        Format::Json | Format::Cef => println!(
            "{}",
            json!({ "policy_version": loaded.version, "quotas": loaded.quotas })
        ),
    }
    Ok(())
}

async fn dump(context: &Context, path: Option<&Path>, args: &RemoteArgs) -> Result<(), Failure> {
    let policy = remote::client(context, args)?.policy().await?;
    match path {
        Some(path) => fs::write(path, policy.source).map_err(Failure::file(path)),
        None => {
            print!("{}", policy.source);
            Ok(())
        }
    }
}

fn check(file: &Path, strict: bool, format: Format, registry: &Registry) -> Result<(), Failure> {
    let text = read_text(file).map_err(Failure::file(file))?;
    let name = file.display().to_string();
    let loaded = Policy::load(&name, &text, &TimeZone::UTC, registry);
    let (error, warnings) = match loaded {
        Ok(loaded) => {
            let warnings = loaded.warnings.clone();
            (
                if strict {
                    loaded.deny_warnings().err()
                } else {
                    None
                },
                warnings,
            )
        }
        Err(error) => (Some(error), Vec::new()),
    };
    match (format, error) {
        (Format::Json | Format::Cef, error) => print_json(error, &warnings),
        (Format::Human, Some(error)) => Err(bad_policy(&error)),
        (Format::Human, None) => {
            for warning in &warnings {
                eprintln!("{warning}");
            }
            println!("{name}: ok");
            Ok(())
        }
    }
}

fn print_json(
    error: Option<LoadPolicyError>,
    warnings: &[ostrakon_server::policy_engine::Diagnostic],
) -> Result<(), Failure> {
    let ok = error.is_none();
    let diagnostics = error
        .as_ref()
        .map_or(warnings, LoadPolicyError::diagnostics);
    println!("{}", json!({ "ok": ok, "diagnostics": diagnostics }));
    if ok {
        Ok(())
    } else {
        Err(Failure::Printed {
            code: crate::error::BAD_CONFIGURATION,
        })
    }
}

fn schema(registry: &Registry) -> Result<(), Failure> {
    let schema = serde_json::to_string_pretty(&registry.schema());
    println!(
        "{}",
        schema.map_err(|error| Failure::new(error.to_string()))?
    );
    Ok(())
}

/// The policy in the file, on a server in `zone`.
fn policy_in(file: &Path, zone: &TimeZone, registry: &Registry) -> Result<Policy, Failure> {
    let text = read_text(file).map_err(Failure::file(file))?;
    let name = file.display().to_string();
    match Policy::load(&name, &text, zone, registry) {
        Ok(loaded) => Ok(loaded.policy),
        Err(error) => Err(bad_policy(&error)),
    }
}
