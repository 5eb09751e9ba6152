//! Completions and man pages, from the declarations.

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{cli::Cli, error::Failure, show};

const NAME: &str = "ostrakon";

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    show::print(&String::from_utf8_lossy(&script));
    Ok(())
}

/// One page for the command and one for each command below it.
pub(crate) fn man(output: &Path) -> Result<(), Failure> {
    fs::create_dir_all(output)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), output))
        .map_err(|error| Failure::write(output, &error))
}
