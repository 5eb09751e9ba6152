//! An OpenPGP message that gpg decrypts meanwhile.

use std::{
    env,
    fs::{self, File},
    io::{self, IsTerminal, Read},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use super::OpenError;
use crate::gpg::{Gpg, GpgError, Said};

/// A running gpg. It ends with this, at the latest.
#[derive(Debug)]
pub(super) struct Decrypting {
    child: Child,
    plain: ChildStdout,
    /// Reads what gpg says, so that gpg never waits for somebody who does.
    said: Option<JoinHandle<Said>>,
}

impl Decrypting {
    pub(super) fn begin(gpg: &Gpg, archive: File) -> Result<Self, OpenError> {
        let mut command = gpg.command();
        let_a_person_answer(&mut command);
        let mut child = command
            .args(["--output", "-", "--decrypt"])
            .stdin(archive)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(GpgError::at_start)?;
        let pipes = child.stdout.take().zip(child.stderr.take());
        let Some((plain, stderr)) = pipes else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        let said = thread::spawn(move || Said::hear(stderr));
        Ok(Self {
            child,
            plain,
            said: Some(said),
        })
    }

    #[cfg(test)]
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Says whether all was whole, when everything was read or `failed`.
    pub(super) fn finish(mut self, failed: Option<io::Error>) -> Result<(), OpenError> {
        if let Some(error) = failed {
            return Err(error.into());
        }
        let status = self.child.wait()?;
        let said = (self.said.take())
            .and_then(|said| said.join().ok())
            .unwrap_or_default();
        judge(status, &said)
    }
}

impl Read for Decrypting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.plain.read(buffer)
    }
}

impl Drop for Decrypting {
    fn drop(&mut self) {
        // It has ended already, unless somebody lost interest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What gpg's end means. Its exit code alone would let a file pass that is cut within its first packets: there is nothing to
/// decrypt then, and nothing that fails.
fn judge(status: ExitStatus, said: &Said) -> Result<(), OpenError> {
    if status.success() && said.status("DECRYPTION_OKAY") && said.status("GOODMDC") {
        return Ok(());
    }
    let last = said.last_lines();
    if said.status("DECRYPTION_KEY") {
        Err(OpenError::Damaged { said: Some(last) })
    } else if said.status("ERROR pkdecrypt_failed") {
        // The key is here: no passphrase was entered, or the card is not there; or its part of the message is damaged.
        Err(OpenError::Gpg { said: last })
    } else if said.status("NO_SECKEY") {
        Err(OpenError::NoKey { said: Some(last) })
    } else if said.status("NODATA") || said.status("ENC_TO") {
        Err(OpenError::Damaged { said: Some(last) })
    } else {
        Err(OpenError::Gpg { said: last })
    }
}

/// Lets gpg ask whoever sits at the terminal for a passphrase, and nobody when there is none.
fn let_a_person_answer(command: &mut Command) {
    if !io::stdin().is_terminal() {
        command.args(["--batch", "--no-tty"]);
        return;
    }
    // gpg would take its own standard input, and that is the archive.
    if env::var_os("GPG_TTY").is_none()
        && let Ok(terminal) = fs::read_link("/proc/self/fd/0")
    {
        command.env("GPG_TTY", terminal);
    }
}
