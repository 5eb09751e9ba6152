use std::io;

use clap::CommandFactory as _;

use crate::{cli::Cli, error::Failure};

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    clap_complete::generate(shell, &mut Cli::command(), "keyserver", &mut io::stdout());
    Ok(())
}

pub(crate) fn man() -> Result<(), Failure> {
    clap_mangen::Man::new(Cli::command())
        .render(&mut io::stdout())
        .map_err(|error| Failure::new(format!("cannot write: {error}")))
}
