//! The key shard server and its administration, for a program that adds rules of its own.
//!
//! The binary `keyserver` is [`main_with`] the bundled rules. Another binary that hands in its own
//! [`Registry`] has every command of `keyserver`, and each of them knows its rules: `serve` and
//! `policy --load` take policies that name them, and so do `policy check`, `test`, `explain`, `simulate`
//! and `schema`, and `quota list` of a server that does not run. It shows with `examples/server-with-rule`.

#[macro_use]
mod out;

mod cli;
mod commands;
mod error;
mod hardening;
mod moment;
mod secret_argument;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
pub use ostrakon_server::policy_engine::Registry;

use crate::{
    cli::{AuditCommand, BackupKeyCommand, Cli, Command, Format},
    error::Failure,
};

/// Does what the command line asks for, with the rules of `registry`, and gives the exit code.
///
/// It is the whole of a program: it reads the arguments of the process, limits what others may read of
/// its memory, and prints.
#[must_use]
pub fn main_with(registry: &Registry) -> ExitCode {
    hardening::protect_secrets();
    hardening::raise_descriptor_limit();
    let cli = Cli::parse();
    if let Err(failure) = secret_argument::hide(&cli) {
        return ExitCode::from(failure.report());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return ExitCode::from(Failure::new(format!("cannot start: {error}")).report());
        }
    };
    let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(cli, registry))));
    match ran {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => ExitCode::from(failure.report()),
        Err(unwound) => ExitCode::from(out::code_of(unwound)),
    }
}

async fn run(cli: Cli, registry: &Registry) -> Result<(), Failure> {
    let exports = matches!(cli.command, Command::Audit(AuditCommand::Export { .. }));
    if cli.format == Format::Cef && !exports {
        let said = "`--format cef` is for `audit export` alone";
        Cli::command()
            .error(ErrorKind::ArgumentConflict, said)
            .exit();
    }
    let home = commands::Context::new(cli.home, cli.format);
    match cli.command {
        Command::Serve(args) if args.dev => commands::dev::run().await,
        Command::Serve(_) => commands::serve::run(&home?, registry).await,
        Command::Demo { path } => commands::demo::run(path).await,
        Command::Create {
            name,
            db_uri,
            backup,
        } => {
            let database = db_uri.as_deref().map(commands::database::named);
            let database = database.transpose()?;
            commands::create::run(&home?, &name, database.as_ref(), &backup).await
        }
        Command::Initialize { db_uri, ask } => {
            commands::initialize::run(&home?, &db_uri, &ask).await
        }
        Command::CloneDb { new_uri } => commands::clone_db::run(&home?, &new_uri).await,
        Command::Instance(command) => commands::instance::run(&home?, command).await,
        Command::Enable { backup, remote } => {
            commands::enable::enable(&home?, &backup, &remote).await
        }
        Command::Disable { remote } => commands::enable::disable(&home?, &remote).await,
        Command::Status { remote } => commands::status::run(&home?, &remote).await,
        Command::SaveBackupKey {
            path,
            ignore_security_checks,
            ask,
        } => commands::save_backup_key::run(&home?, &path, ignore_security_checks, &ask).await,
        Command::BackupKey(BackupKeyCommand::Verify { path, ask }) => {
            commands::backup_key::verify(&home?, &path, &ask).await
        }
        Command::RecoveryIngestKey { path, ask } => {
            commands::recovery::run(&home?, &path, &ask).await
        }
        Command::AcceptRollback { ask } => commands::accept_rollback::run(&home?, &ask).await,
        Command::Ceremony(command) => commands::ceremony::run(&home?, command).await,
        Command::Administrator(command) => commands::administrator::run(&home?, command).await,
        Command::RootCa { output, force } => commands::root_ca::run(&home?, &output, force).await,
        Command::Audit(command) => commands::audit::run(&home?, command).await,
        Command::Quota(command) => commands::quota::run(&home?, command, registry).await,
        Command::Policy(args) => commands::policy::run(home, args, cli.format, registry).await,
        Command::Completions { shell } => commands::generate::completions(shell),
        Command::Man => commands::generate::man(),
    }
}
