//! The operator's own gpg, which holds the keys: how it is started, and what it says of itself.
//!
//! Its arguments are a list that no shell reads.

use std::{
    collections::{BTreeSet, VecDeque},
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, Stdio},
};

/// What introduces a line for programs, among those for people.
const STATUS: &[u8] = b"[GNUPG:] ";
/// How many of the last lines for people are kept, and how much of each: enough for the cause.
const LINES: usize = 4;
const LINE: usize = 300;

/// Which gpg is run, and on which keyring.
#[derive(Debug, Clone)]
pub(crate) struct Gpg {
    program: PathBuf,
    /// Instead of what `GNUPGHOME` says.
    home: Option<PathBuf>,
}

/// Why gpg is of no help. The errors of whoever asked it say what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GpgError {
    #[error("there is no gpg here")]
    Missing,
    #[error("gpg failed: {0}")]
    Failed(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a gpg said until it ended.
#[derive(Debug, Default)]
pub(crate) struct Said {
    statuses: BTreeSet<String>,
    last: VecDeque<String>,
}

impl Gpg {
    /// The first gpg of the search path, with the keyring of whoever runs this.
    pub(crate) fn of_this_user() -> Self {
        Self {
            program: "gpg".into(),
            home: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn at(home: &std::path::Path) -> Self {
        Self {
            home: Some(home.to_owned()),
            ..Self::of_this_user()
        }
    }

    #[cfg(test)]
    pub(crate) fn missing() -> Self {
        Self {
            program: "/nonexistent/gpg".into(),
            home: None,
        }
    }

    /// A gpg that reports to its standard error.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(home) = &self.home {
            command.arg("--homedir").arg(home);
        }
        command.args(["--status-fd", "2"]);
        command
    }

    /// All public keys that gpg finds for `named`, as it would for its own `--recipient`. Nothing when there is none.
    pub(crate) fn export(&self, named: &str) -> Result<Vec<u8>, GpgError> {
        // gpg takes no pattern for every key.
        if named.trim().is_empty() {
            return Ok(Vec::new());
        }
        let output = self
            .command()
            .args(["--batch", "--no-tty", "--export", "--", named])
            .stdin(Stdio::null())
            .output()
            .map_err(GpgError::at_start)?;
        let said = Said::hear(output.stderr.as_slice());
        if !output.status.success() || !said.status("EXPORT_RES") {
            return Err(GpgError::Failed(said.last_lines()));
        }
        Ok(output.stdout)
    }
}

impl GpgError {
    /// Why a gpg did not start.
    pub(crate) fn at_start(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(error),
        }
    }
}

impl Said {
    /// Listens until the end. What cannot be read any more is not missed: it was not said.
    pub(crate) fn hear(stderr: impl Read) -> Self {
        let mut said = Self::default();
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            match line.strip_prefix(STATUS) {
                Some(status) => said.keep_status(status),
                None => said.keep_line(&line),
            }
        }
        said
    }

    /// Whether gpg reported `keyword`, one of its `doc/DETAILS`.
    pub(crate) fn status(&self, keyword: &str) -> bool {
        self.statuses.contains(keyword)
    }

    /// The last that it said to people.
    pub(crate) fn last_lines(&self) -> String {
        if self.last.is_empty() {
            return "it gave no reason".to_owned();
        }
        Vec::from_iter(self.last.iter().map(String::as_str)).join("; ")
    }

    fn keep_status(&mut self, status: &[u8]) {
        let mut words = status.split(|byte| *byte == b' ');
        let keyword = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        // Of an error, the place matters too.
        if keyword == "ERROR"
            && let Some(place) = words.next()
        {
            self.statuses
                .insert(format!("ERROR {}", String::from_utf8_lossy(place)));
        }
        self.statuses.insert(keyword);
    }

    fn keep_line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_prefix("gpg: ").unwrap_or(&text).trim();
        let text: String = text
            .chars()
            .filter(|char| !char.is_control())
            .take(LINE)
            .collect();
        if text.is_empty() {
            return;
        }
        if self.last.len() == LINES {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }
}
