//! What administrators and users say once, so that nobody has to say it on every command.
//!
//! There are two files of the same form: the enterprise's, which a machine's administrator writes, and
//! the user's. What both say, the user's says last, unless the enterprise's `locked` names the key.
//! `ostrakon.example.toml` beside this crate explains every key.

mod parse;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use ostrakon_transport::http::{BaseUrl, ParseBaseUrlError};
use ostrakon_types::{KssId, ParseKssIdError};

use self::parse::Layer;

/// Where an enterprise's configuration is, unless it is said to be elsewhere.
pub const ENTERPRISE_FILE: &str = "/etc/ostrakon/ostrakon.toml";

/// A configuration file that may be there or has to be.
#[derive(Clone)]
pub enum ConfigFile {
    /// Where it would be; without it, the defaults hold.
    Default(PathBuf),
    /// Where somebody said that it is.
    Named(PathBuf),
    /// There is none.
    None,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The key shard server that profiles are onboarded with.
    pub keyserver_id: Option<KssId>,
    /// Where it is; every request tries them in this order.
    pub keyserver_urls: Vec<BaseUrl>,
    /// Whether the user administers secure folders, and gets the default ones.
    pub administrator: bool,
    /// The secure folders that an administrator gets; `~` is the user's own home.
    pub default_folders: Vec<PathBuf>,
    /// A file of certificate authorities, in PEM, that are trusted beside the platform's.
    pub ca_file: Option<PathBuf>,
    /// Until a connection to a server stands.
    pub connect_timeout: Duration,
    /// For one try at one server.
    pub attempt_timeout: Duration,
    /// For all tries of a request.
    pub request_timeout: Duration,
}

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What came of it.
        #[source]
        cause: io::Error,
    },
    /// A file does not say what can be understood.
    #[error("`{}`, line {line}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        #[source]
        cause: ConfigProblem,
    },
}

/// What can be wrong in a line of a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// No such key.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that looks most like it.
        nearest: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A server's id that is none.
    #[error("`keyserver_id`")]
    KssId(#[source] ParseKssIdError),
    /// An address that is none.
    #[error("`keyserver_urls`")]
    Url(#[source] ParseBaseUrlError),
    /// A key that the enterprise's configuration reserves to itself.
    #[error("`{key}` is locked by the enterprise's configuration")]
    Locked {
        /// The key.
        key: &'static str,
    },
    /// The user's file cannot lock anything.
    #[error("`locked` is for the enterprise's configuration alone")]
    LockedByUser,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keyserver_id: None,
            keyserver_urls: Vec::new(),
            administrator: false,
            default_folders: vec!["~/Vault/Personal".into(), "~/Vault/Shared".into()],
            ca_file: None,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Reads the enterprise's file, then the user's.
    ///
    /// # Errors
    /// When one cannot be read or understood, or the user's has a key that is locked.
    pub fn load(enterprise: &ConfigFile, user: &ConfigFile) -> Result<Self, LoadConfigError> {
        let mut config = Self::default();
        let mut locked = Vec::new();
        if let Some((path, text)) = read(enterprise)? {
            let layer = Layer::parse(&text).and_then(|layer| {
                locked = layer.locked()?;
                layer.apply(&mut config)
            });
            layer.map_err(|error| error.of(path))?;
        }
        if let Some((path, text)) = read(user)? {
            let layer = Layer::parse(&text).and_then(|layer| {
                layer.check_unlocked(&locked)?;
                layer.apply(&mut config)
            });
            layer.map_err(|error| error.of(path))?;
        }
        Ok(config)
    }

    /// The default folders, with `user_home` for `~`.
    #[must_use]
    pub fn expanded_folders(&self, user_home: &Path) -> Vec<PathBuf> {
        let expand = |folder: &PathBuf| match folder.strip_prefix("~") {
            Ok(below) => user_home.join(below),
            Err(_) => folder.clone(),
        };
        self.default_folders.iter().map(expand).collect()
    }
}

fn read(file: &ConfigFile) -> Result<Option<(&Path, String)>, LoadConfigError> {
    let (path, optional) = match file {
        ConfigFile::Default(path) => (path, true),
        ConfigFile::Named(path) => (path, false),
        ConfigFile::None => return Ok(None),
    };
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => {
            let path = path.clone();
            Err(LoadConfigError::Read { path, cause })
        }
    }
}

#[cfg(test)]
mod tests;
