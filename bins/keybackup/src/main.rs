//! Backups of key shard servers and of their clients, proven to restore.

mod cli;
mod commands;
mod context;
mod error;
mod pipe;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use ostrakon_server::hardening;

use crate::{
    cli::{Cli, Command},
    error::{Failure, code},
};

fn main() -> ExitCode {
    if hardening::protect_secrets().is_err() {
        aside("warning: core dumps cannot be switched off on this system");
    }
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ran = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::new(code::FAILED, format!("cannot start: {error}"))),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.report()),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => commands::create::run(cli.create).await,
        Some(Command::Create(args)) => commands::create::run(args).await,
        Some(Command::Verify(args)) => commands::verify::run(args).await,
        Some(Command::Restore(args)) => commands::restore::run(*args).await,
        Some(Command::Drill(args)) => commands::drill::run(args).await,
        Some(Command::List(args)) => commands::list::run(&args),
    }
}

/// Writes a result.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| {
        Failure::new(
            code::FAILED,
            format!("cannot write to standard output: {error}"),
        )
    })
}

/// Writes a line for people, beside the results.
fn aside(text: &str) {
    // There is no third place to say that this one is closed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
