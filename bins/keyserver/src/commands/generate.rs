use std::io;

use clap::CommandFactory as _;

use crate::{cli::Cli, error::Failure};

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keyserver", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

pub(crate) fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    rendered.map_err(|error: io::Error| Failure::new(error.to_string()))?;
    print!("{}", String::from_utf8_lossy(&page));
    Ok(())
}
