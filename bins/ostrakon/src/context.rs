//! Where things are, and who asks: what the library is told.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use ostrakon_client::{Config, ConfigFile, ENTERPRISE_FILE, Environment, Workstation};
use ostrakon_types::UnixMillis;

use crate::{
    cli::{Format, Global},
    error::Failure,
    show,
};

const ENTERPRISE_VARIABLE: &str = "OSTRAKON_ENTERPRISE_CONFIG";
const FILE: &str = "ostrakon.toml";

/// The workstation that commands work on, and how they answer.
pub(crate) struct Context {
    pub(crate) workstation: Workstation,
    pub(crate) config: Config,
    pub(crate) format: Format,
}

impl Context {
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        let enterprise = match set(ENTERPRISE_VARIABLE) {
            Some(path) => ConfigFile::Named(path.into()),
            None => ConfigFile::Default(ENTERPRISE_FILE.into()),
        };
        let user = match (global.config, below_home("XDG_CONFIG_HOME", ".config")) {
            (Some(path), _) => ConfigFile::Named(path),
            (None, Some(folder)) => ConfigFile::Default(folder.join(FILE)),
            (None, None) => ConfigFile::None,
        };
        let config = Config::load(&enterprise, &user)?;
        let home = global
            .home
            .or_else(|| below_home("XDG_DATA_HOME", ".local/share"));
        let home = home.ok_or_else(Failure::no_home)?;
        Ok(Self {
            workstation: Workstation::open(&home, config.clone(), environment())?,
            config,
            format: global.format,
        })
    }

    /// Whether commands on devices are about a profile that is to be recovered here: there is none, and none
    /// is made by itself.
    pub(crate) fn recovers(&self) -> bool {
        self.config.keyserver_id.is_none() && self.workstation.can_recover()
    }

    /// Makes sure that there is a profile, where the configuration says with which server.
    pub(crate) async fn with_profile(mut self) -> Result<Self, Failure> {
        if self.workstation.onboard_if_configured().await? {
            show::onboarded(&self.workstation);
        }
        if self.workstation.profile().is_none() {
            return Err(Failure::no_profile());
        }
        Ok(self)
    }
}

pub(crate) fn environment() -> Environment {
    let user = set("USER").or_else(|| set("LOGNAME")).or_else(account);
    Environment {
        clock: now,
        user: user.unwrap_or_else(|| "user".to_owned()),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        user_home: user_home().unwrap_or_else(|| Path::new("/").to_path_buf()),
    }
}

/// The name of the account that this process runs as, where services have no variable for it.
fn account() -> Option<String> {
    let id = rustix::process::getuid().as_raw().to_string();
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a binary is where the wall clock is read"
)]
fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `ostrakon` in the folder that `variable` names, or else in `folder` in the user's home.
fn below_home(variable: &str, folder: &str) -> Option<PathBuf> {
    let named = set(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = named.or_else(|| Some(user_home()?.join(folder)))?;
    Some(base.join("ostrakon"))
}

fn user_home() -> Option<PathBuf> {
    set("HOME").map(PathBuf::from)
}

/// A variable that is there and not empty.
fn set(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}
