//! Backups of key shard servers and of their clients, proven to restore.

mod cli;
mod commands;
mod context;
mod error;
mod pipe;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use ostrakon_server::hardening;
use tokio::signal::unix::{SignalKind, signal};

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
        Ok(runtime) => {
            let ran = runtime.block_on(async {
                tokio::select! {
                    ran = run(cli) => ran,
                    signal = told_to_stop() => Err(signal),
                }
            });
            // What blocks still has nobody who waits for it.
            runtime.shutdown_background();
            ran
        }
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

/// Waits until somebody wants it to end. What was unpacked for a while goes with the command that did it.
async fn told_to_stop() -> Failure {
    let listen = |kind| signal(kind).map_err(|error| Failure::of(code::FAILED, &error));
    let signals = listen(SignalKind::interrupt())
        .and_then(|first| Ok((first, listen(SignalKind::terminate())?)))
        .and_then(|two| Ok((two, listen(SignalKind::hangup())?)));
    match signals {
        Ok(((mut interrupt, mut terminate), mut hangup)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            Failure::new(code::FAILED, "interrupted")
        }
        Err(failure) => failure,
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
