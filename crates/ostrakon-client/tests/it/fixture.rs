use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
};

use ostrakon_client::{Config, Environment, Outcome, Report, Workstation};
use ostrakon_types::UnixMillis;
use tempfile::TempDir;

pub(crate) const NOW: UnixMillis = UnixMillis(1_795_000_000_000);

pub(crate) fn environment() -> Environment {
    Environment {
        clock: || NOW,
        user: "zoe".to_owned(),
        host: "pallas".to_owned(),
        user_home: "/nowhere".into(),
    }
}

/// By how much the clock of [`slow_environment`] has gone on. One test alone uses it.
pub(crate) static ELAPSED: AtomicI64 = AtomicI64::new(0);

pub(crate) fn slow_environment() -> Environment {
    Environment {
        clock: || NOW.plus(ELAPSED.load(Ordering::SeqCst)),
        ..environment()
    }
}

/// A home folder and a vault beside it.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn open(&self) -> Workstation {
        self.open_with(Config::default())
    }

    pub(crate) fn open_with(&self, config: Config) -> Workstation {
        Workstation::open(&self.path("home"), config, environment()).unwrap()
    }

    /// Writes a file into the vault.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path("vault").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

/// All names below a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                names.push(
                    path.strip_prefix(folder)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
    }
    names.sort();
    names
}

/// Each report's file name and what became of it.
pub(crate) fn told(reports: &[Report]) -> Vec<(String, String)> {
    let tell = |report: &Report| {
        let name = report
            .path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let outcome = match &report.outcome {
            Outcome::Done { bytes, .. } => format!("done {bytes}"),
            Outcome::Skipped(skip) => format!("skipped {skip:?}"),
            Outcome::Denied(denial) => format!("denied {denial:?}"),
            Outcome::Failed(error) => format!("failed: {error}"),
            _ => "unknown".to_owned(),
        };
        (name, outcome)
    };
    reports.iter().map(tell).collect()
}

/// What became of the only file that was reported.
pub(crate) fn told_of_one(reports: &[Report]) -> String {
    match told(reports).as_slice() {
        [(_, outcome)] => outcome.clone(),
        all => panic!("{all:?}"),
    }
}
