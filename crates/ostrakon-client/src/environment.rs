use std::path::PathBuf;

use ostrakon_types::UnixMillis;

/// What the library is told rather than looks up by itself.
#[derive(Clone)]
pub struct Environment {
    /// The wall clock.
    pub clock: fn() -> UnixMillis,
    /// The user's name, the first half of the default profile name.
    pub user: String,
    /// The machine's name, the second half.
    pub host: String,
    /// What `~` stands for in the configuration.
    pub user_home: PathBuf,
}

impl Environment {
    pub(crate) fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    /// `username@hostname`, what a profile is called unless it is given a name.
    pub(crate) fn default_profile_name(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }
}
