//! The `ostrakon` command: profiles, secure folders and files on a workstation.
//!
//! What it does is in `ostrakon-client`; here is what a command line adds: flags, places, sentences.

mod approvals;
mod bench;
mod cli;
mod context;
mod decrypt;
mod device;
mod encrypt;
mod error;
mod files;
mod folder;
mod generate;
mod hardening;
mod interrupt;
mod person;
mod profile;
mod progress;
mod qr;
mod show;

use std::{panic, process::ExitCode};

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    context::Context,
    error::Failure,
};

fn main() -> ExitCode {
    panic::set_hook(Box::new(error::report_panic));
    let cli = Cli::parse();
    let result = panic::catch_unwind(|| {
        hardening::apply()?;
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::runtime)?
            .block_on(run(cli))
    });
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        Err(unwound) => show::code_of(&*unwound),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let command = match cli.command {
        Command::Completions { shell } => return generate::completions(shell),
        Command::Man { output } => return generate::man(&output),
        command => command,
    };
    let context = Context::new(cli.global)?;
    match command {
        Command::Profile { command } => profile::run(context, command).await,
        Command::Device { command } => device::run(context, command).await,
        Command::Approvals { command } => approvals::run(context, command).await,
        Command::Folder { command } => folder::run(context, command).await,
        Command::Encrypt(arguments) => encrypt::run(context, arguments).await,
        Command::Decrypt(arguments) => decrypt::run(context, arguments).await,
        Command::Bench(arguments) => bench::run(context, arguments).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}
