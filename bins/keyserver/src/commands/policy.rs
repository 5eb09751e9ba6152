use std::{
    fs,
    path::{Path, PathBuf},
};

use ostrakon_server::{
    admin::Client,
    policy_engine::{
        LoadPolicyError, Policy, Registry, TimeZone,
        suite::{self, Suite},
    },
    read_text,
};
use serde_json::json;

use super::Context;
use crate::{
    cli::{Format, PolicyArgs, PolicyCommand},
    error::{FAILED, Failure, bad_policy},
};

pub(crate) async fn run(
    context: Result<Context, Failure>,
    args: PolicyArgs,
    format: Format,
) -> Result<(), Failure> {
    match args.command {
        Some(PolicyCommand::Check { strict, file }) => check(&file, strict, format),
        Some(PolicyCommand::Test { paths }) => test(&paths, format),
        None => match args.dump {
            Some(path) => dump(&context?, path.as_deref()).await,
            None => load(&context?).await,
        },
    }
}

async fn load(context: &Context) -> Result<(), Failure> {
    let path = context.home.policy();
    let source = read_text(&path).map_err(Failure::file(&path))?;
    let loaded = Client::new(&context.home).load_policy(source).await?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    match context.format {
        Format::Human => println!("policy version {} is in force", loaded.version),
        Format::Json => println!("{}", json!({ "policy_version": loaded.version })),
    }
    Ok(())
}

async fn dump(context: &Context, path: Option<&Path>) -> Result<(), Failure> {
    let policy = Client::new(&context.home).policy().await?;
    match path {
        Some(path) => fs::write(path, policy.source).map_err(Failure::file(path)),
        None => {
            print!("{}", policy.source);
            Ok(())
        }
    }
}

fn check(file: &Path, strict: bool, format: Format) -> Result<(), Failure> {
    let text = read_text(file).map_err(Failure::file(file))?;
    let name = file.display().to_string();
    let loaded = Policy::load(&name, &text, &TimeZone::UTC, &Registry::bundled());
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
        (Format::Json, error) => print_json(error, &warnings),
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

fn test(paths: &[PathBuf], format: Format) -> Result<(), Failure> {
    let registry = Registry::bundled();
    let (mut passed, mut failed) = (0, 0);
    let mut reports = Vec::new();
    for file in suites(paths)? {
        let name = file.display().to_string();
        let text = read_text(&file).map_err(Failure::file(&file))?;
        let suite = match Suite::from_str(&name, &text) {
            Ok(suite) => suite,
            Err(error) => {
                eprintln!("{error}");
                failed += 1;
                continue;
            }
        };
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let report = suite::run_with(&suite, &registry, |policy| {
            read_text(&folder.join(policy)).map_err(|error| error.to_string())
        });
        passed += report.passed();
        failed += report.failed();
        match format {
            Format::Human if report.failed() > 0 => print!("{report}"),
            Format::Human => {}
            Format::Json => reports.push(report),
        }
    }
    match format {
        Format::Human => println!("{passed} passed, {failed} failed"),
        Format::Json => {
            println!(
                "{}",
                json!({ "passed": passed, "failed": failed, "suites": reports })
            );
        }
    }
    if passed + failed == 0 {
        return Err(Failure::new("there are no suites"));
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Printed { code: FAILED })
    }
}

/// The suites among the paths, in order: files as named, folders searched for `.json`, `.yml`, `.yaml`.
fn suites(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(Failure::file(path))? {
            inside.push(entry.map_err(Failure::file(path))?.path());
        }
        inside.sort();
        let (folders, files): (Vec<_>, Vec<_>) = inside.into_iter().partition(|path| path.is_dir());
        let is_suite = |path: &PathBuf| {
            path.extension()
                .is_some_and(|end| end == "json" || end == "yml" || end == "yaml")
        };
        found.extend(files.into_iter().filter(is_suite));
        found.extend(suites(&folders)?);
    }
    Ok(found)
}
