//! Keeps a password that was typed as part of a database's URI out of the list of processes.
//!
//! Who sees that list sees the arguments of every process, for as long as it runs. So the program starts
//! itself anew at once, with the URI in a pipe, and an argument that names the pipe: `fd:N`.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, IntoRawFd as _},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
};

use ostrakon_server::DatabaseUri;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::{cli::Cli, error::Failure};

/// What an argument begins with that names an inherited descriptor.
const DESCRIPTOR: &str = "fd:";

/// More than any URI has, and less than a pipe holds.
const LONGEST: u64 = 4096;

/// Starts the program anew where a password stands in its arguments. Returns only when none does, or when
/// that fails.
pub(crate) fn hide(cli: &Cli) -> Result<(), Failure> {
    let Some(uri) = cli.command.database_uri() else {
        return Ok(());
    };
    let parsed = uri.parse::<DatabaseUri>();
    if !parsed.is_ok_and(|uri| uri.has_password()) {
        return Ok(());
    }
    eprintln!("warning: until now, everybody on this machine could read that password");
    eprintln!("warning: the shell may have kept it: `password_file=` or `fd:N` keep it secret");
    let error = match start_anew(uri) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    Err(Failure::new(format!("cannot hide the password: {error}")))
}

/// The URI that stands in an argument, or in the descriptor that this names.
pub(crate) fn read(argument: &str) -> Result<String, Failure> {
    let Some(number) = argument.strip_prefix(DESCRIPTOR) else {
        return Ok(argument.to_owned());
    };
    let number: u32 = number
        .parse()
        .map_err(|_| Failure::new("`fd:N` names a descriptor by its number").code(2))?;
    let path = PathBuf::from(format!("/dev/fd/{number}"));
    let mut uri = String::new();
    File::open(&path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut uri))
        .map_err(Failure::file(&path))?;
    Ok(uri.trim_end_matches(['\r', '\n']).to_owned())
}

fn start_anew(uri: &str) -> io::Result<std::convert::Infallible> {
    if uri.len() as u64 >= LONGEST {
        return Err(io::ErrorKind::ArgumentListTooLong.into());
    }
    // Both ends go along; the writing one is closed here, before.
    let (reader, writer) = pipe_with(PipeFlags::empty())?;
    File::from(writer).write_all(uri.as_bytes())?;
    let name = format!("{DESCRIPTOR}{}", reader.as_raw_fd());
    let mut given = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    command.arg0(given.next().unwrap_or_default());
    command.args(given.map(|argument| without(&argument, uri, &name)));
    let _ = reader.into_raw_fd();
    Err(command.exec())
}

/// An argument with the URI in it replaced.
fn without(argument: &OsStr, uri: &str, name: &str) -> OsString {
    match argument.to_str().and_then(|text| text.strip_suffix(uri)) {
        Some("") => name.into(),
        Some(option) if option.ends_with('=') => format!("{option}{name}").into(),
        _ => argument.to_owned(),
    }
}
