//! The built binaries, run to their end.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::output::Output;

/// How long a command may take that is not a server.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// The path of a binary of this workspace, in the profile in which the test was built, or in the folder
/// `$OSTRAKON_TEST_BINARIES`.
///
/// Cargo does not build the binaries of other packages for a test: `scripts/test` does so before.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let folder = match env::var_os("OSTRAKON_TEST_BINARIES") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = env::current_exe().expect("the test has a path");
            // target/PROFILE/deps/TEST
            let profile = test.ancestors().nth(2).expect("a target folder");
            profile.to_owned()
        }
    };
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not built: run `cargo build --workspace --bins` or `scripts/test`",
        path.display()
    );
    path
}

/// The command `keyserver` on a home, with nothing of the surrounding configuration.
#[must_use]
pub fn keyserver_command(home: &Path) -> Command {
    command_of("keyserver", home)
}

/// The command of a server of another name on a home, with nothing of the surrounding configuration.
#[must_use]
pub fn command_of(program: &str, home: &Path) -> Command {
    let mut command = Command::new(binary(program));
    clean(&mut command);
    command.arg("--home").arg(home);
    command
}

/// Takes away what the developer's environment would change.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("OSTRAKON_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
}

/// Runs a command to its end, within a minute.
pub fn run(command: &mut Command) -> Ran {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = Output::of(child.stdout.take().expect("piped"));
    let stderr = Output::of(child.stderr.take().expect("piped"));
    let ended = stdout.wait_end(LIMIT) && stderr.wait_end(LIMIT);
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child can be waited for");
    let ran = Ran {
        code: status.code(),
        stdout: stdout.text(),
        stderr: stderr.text(),
    };
    assert!(ended, "{command:?} does not end: {ran:?}");
    ran
}
