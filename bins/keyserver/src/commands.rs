//! One file a command.

pub(crate) mod accept_rollback;
pub(crate) mod administrator;
pub(crate) mod administrators;
pub(crate) mod audit;
pub(crate) mod backup_key;
pub(crate) mod ceremony;
pub(crate) mod clone_db;
pub(crate) mod create;
pub(crate) mod database;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod enable;
pub(crate) mod encrypted;
pub(crate) mod generate;
pub(crate) mod initialize;
pub(crate) mod instance;
pub(crate) mod policy;
pub(crate) mod quota;
pub(crate) mod recovery;
pub(crate) mod remote;
pub(crate) mod root_ca;
pub(crate) mod save_backup_key;
pub(crate) mod serve;
pub(crate) mod status;

use std::{env, path::PathBuf};

use ostrakon_server::{BuildError, Config, Home, policy_engine::TimeZone};

use crate::{cli::Format, error::Failure};

/// What every command needs.
pub(crate) struct Context {
    pub(crate) home: Home,
    pub(crate) format: Format,
}

impl Context {
    /// The home that was asked for, or the platform's.
    pub(crate) fn new(home: Option<PathBuf>, format: Format) -> Result<Self, Failure> {
        let home = match home {
            Some(home) => home,
            None => default_home().ok_or_else(|| {
                Failure::new("there is no home folder").hint("name one with `--home DIR`")
            })?,
        };
        Ok(Self {
            home: Home::new(home),
            format,
        })
    }
}

/// What `server.toml` and the variables say.
fn config(context: &Context) -> Result<Config, Failure> {
    let text = context.home.read_config().map_err(BuildError::from)?;
    let config = Config::load(&text, |name| env::var(name).ok());
    Ok(config.map_err(BuildError::from)?)
}

/// The time zone that the server's configuration names.
fn zone(context: &Context) -> Result<TimeZone, Failure> {
    Ok(config(context)?.zone().map_err(BuildError::from)?)
}

fn default_home() -> Option<PathBuf> {
    let data = match env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        Some(data) => PathBuf::from(data),
        None => PathBuf::from(env::var_os("HOME")?).join(".local/share"),
    };
    Some(data.join("ostrakon-keyserver"))
}
