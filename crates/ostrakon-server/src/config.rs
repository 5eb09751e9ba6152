//! What `server.toml` says.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use ostrakon_transport::http::ListenerLimits;
use serde::{Deserialize, Serialize};

/// A commented `server.toml` that sets every key to its default.
pub const EXAMPLE: &str = include_str!("../server.example.toml");

/// What `server.toml` says: everything but the policy.
///
/// Every key has a default, and an environment variable that goes before the file: `OSTRAKON_` and the
/// key's path in capitals, with `_` between its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The address and port on which requests are answered.
    pub listen: SocketAddr,
    /// The IANA name of the zone in which times without a zone in the policy are meant.
    pub time_zone: String,
    /// Whether the administrators' devices must approve also on this machine what they must from afar.
    pub admin_quorum: bool,
    /// Administration from afar.
    pub admin: Admin,
    /// What is done while a shared database lacks the replica that it should have.
    pub durability: Durability,
    /// What a stranger, a client and all clients together may take up.
    pub limits: Limits,
    /// How the server tells what it does.
    pub log: Log,
    /// The audit log, and what bears witness to it.
    pub audit: Audit,
}

/// Administration from afar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Admin {
    /// The address and port on which administrators are heard; nothing for none.
    pub listen: String,
    /// The names and addresses by which they reach it. They stand in its certificate; none means the address
    /// on which it listens.
    pub names: Vec<String>,
}

/// What is done while a shared database lacks the replica that it should have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing is decided until it is there again.
    #[default]
    Replicated,
    /// Decisions go on, and their records say so.
    Local,
}

impl From<Durability> for ostrakon_storage::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Replicated => Self::Replicated,
            Durability::Local => Self::Local,
        }
    }
}

/// Bounds on what clients take up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Requests that are worked on at once; past that, 503 with `Retry-After`.
    pub in_flight: usize,
    /// Size of a request's body in bytes; past that, 413.
    pub body_bytes: usize,
    /// Seconds within which a request's head must be there.
    pub head_seconds: u64,
    /// Seconds within which a request's body must be there.
    pub body_seconds: u64,
    /// Seconds, once the server is told to stop, in which it is not ready and answers all the same.
    pub drain_delay_seconds: u64,
    /// Seconds for which requests in flight may go on after that.
    pub drain_seconds: u64,
    /// Envelope sessions that are held at once; past that, the oldest gives way. 0 grants none.
    pub sessions: usize,
    /// Requests per minute from devices that the server does not know yet.
    pub first_contacts_per_minute: u32,
    /// New profiles per day, whatever the policy says.
    pub max_new_profiles_per_day: u64,
}

/// How the server tells what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Log {
    /// Text for people or JSON for programs.
    pub format: LogFormat,
    /// What is told: `error`, `warn`, `info`, `debug`, or directives as `tracing` takes them.
    pub level: String,
}

/// The audit log, and what bears witness to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Audit {
    /// Seconds between two checkpoints at least; none is made while there are no new records.
    pub checkpoint_seconds: u64,
    /// The file to which each checkpoint is appended; nothing for none.
    pub checkpoint_file: String,
    /// The socket of the system's log to which each checkpoint is sent; nothing for none.
    pub syslog: String,
    /// Bytes of free disk space below which devices that are not known are turned away, and what strangers do
    /// is counted, but not recorded.
    pub reserve_bytes: u64,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("bad configuration in `server.toml`\n{0}")]
    File(#[source] Box<toml::de::Error>),
    /// An environment variable has a value of the wrong type.
    #[error("bad value of `{name}`: {reason}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An environment variable has a value that its key cannot have.
    #[error("bad value of a variable `OSTRAKON_…`: {}", .0.to_string().trim_end().replace('\n', " "))]
    Variables(Box<toml::de::Error>),
    /// A value is out of its range.
    #[error("`{key}` {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7420)),
            time_zone: "UTC".to_owned(),
            admin_quorum: false,
            admin: Admin::default(),
            durability: Durability::default(),
            limits: Limits::default(),
            log: Log::default(),
            audit: Audit::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 768,
            in_flight: 512,
            body_bytes: 2 << 20,
            head_seconds: 10,
            body_seconds: 20,
            drain_delay_seconds: 0,
            drain_seconds: 20,
            sessions: 4096,
            first_contacts_per_minute: 600,
            max_new_profiles_per_day: 1000,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            checkpoint_seconds: 60,
            checkpoint_file: String::new(),
            syslog: String::new(),
            reserve_bytes: 64 << 20,
        }
    }
}

impl Config {
    /// Reads the text of a `server.toml`, and lets variables go before it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let file = |error| ConfigError::File(Box::new(error));
        // First alone, so that a fault in the file is shown in the file's own lines.
        let config: Self = toml::from_str(text).map_err(file)?;
        let mut table = toml::Table::try_from(&config).unwrap_or_default();
        overlay(&mut table, "OSTRAKON", &variable)?;
        let config: Self = table
            .try_into()
            .map_err(|error| ConfigError::Variables(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Err(error) = jiff::tz::TimeZone::get(&self.time_zone) {
            return Err(ConfigError::Value {
                key: "time_zone",
                reason: error.to_string(),
            });
        }
        let limits = [
            ("limits.connections", self.limits.connections),
            ("limits.in_flight", self.limits.in_flight),
        ];
        for (key, value) in limits {
            if value == 0 {
                return Err(ConfigError::Value {
                    key,
                    reason: "must be at least 1".to_owned(),
                });
            }
        }
        if !(4096..=64 << 20).contains(&self.limits.body_bytes) {
            let reason = "must be from 4096 (4 KiB) to 67108864 (64 MiB)".to_owned();
            return Err(ConfigError::Value {
                key: "limits.body_bytes",
                reason,
            });
        }
        self.admin.check()?;
        if self.limits.drain_delay_seconds > 3600 {
            return Err(ConfigError::Value {
                key: "limits.drain_delay_seconds",
                reason: "must be at most 3600 (an hour)".to_owned(),
            });
        }
        self.audit.check()
    }

    /// The zone of the policy's times.
    ///
    /// # Errors
    /// When the zone is not known.
    pub fn zone(&self) -> Result<jiff::tz::TimeZone, ConfigError> {
        jiff::tz::TimeZone::get(&self.time_zone).map_err(|error| ConfigError::Value {
            key: "time_zone",
            reason: error.to_string(),
        })
    }
}

impl Admin {
    fn check(&self) -> Result<(), ConfigError> {
        let address = self.address()?;
        if self.names.is_empty() && address.is_some_and(|at| at.ip().is_unspecified()) {
            let reason = "must say by which names and addresses administrators reach the server";
            return Err(ConfigError::Value {
                key: "admin.names",
                reason: reason.to_owned(),
            });
        }
        Ok(())
    }

    /// Where administrators are heard, if anywhere.
    ///
    /// # Errors
    /// When that is no address.
    pub(crate) fn address(&self) -> Result<Option<SocketAddr>, ConfigError> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let address = self.listen.parse().map_err(|_| ConfigError::Value {
            key: "admin.listen",
            reason: "must be an address and a port such as 192.0.2.1:7422, or empty".to_owned(),
        })?;
        Ok(Some(address))
    }

    /// The names in the certificate of a listener on `address`.
    pub(crate) fn names(&self, address: SocketAddr) -> Vec<String> {
        if self.names.is_empty() {
            vec![address.ip().to_string()]
        } else {
            self.names.clone()
        }
    }
}

impl Audit {
    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=86_400).contains(&self.checkpoint_seconds) {
            return Err(ConfigError::Value {
                key: "audit.checkpoint_seconds",
                reason: "must be from 1 to 86400 (a day)".to_owned(),
            });
        }
        if self.reserve_bytes > 1 << 50 {
            return Err(ConfigError::Value {
                key: "audit.reserve_bytes",
                reason: "must be at most 1125899906842624 (1 PiB)".to_owned(),
            });
        }
        let paths = [
            ("audit.checkpoint_file", &self.checkpoint_file),
            ("audit.syslog", &self.syslog),
        ];
        for (key, path) in paths {
            if !path.is_empty() && !Path::new(path).is_absolute() {
                return Err(ConfigError::Value {
                    key,
                    reason: "must be an absolute path, or empty".to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Limits {
    pub(crate) fn listener(&self) -> ListenerLimits {
        let mut limits = ListenerLimits::default();
        limits.connections = self.connections;
        limits.body_bytes = self.body_bytes;
        limits.head_timeout = Duration::from_secs(self.head_seconds);
        limits.body_timeout = Duration::from_secs(self.body_seconds);
        limits.drain_timeout = Duration::from_secs(self.drain_seconds);
        limits
    }
}

/// Puts variables in the place of the table's values, each in the type that the value has.
fn overlay(
    table: &mut toml::Table,
    prefix: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    for (key, value) in table.iter_mut() {
        let name = format!("{prefix}_{}", key.to_uppercase());
        match value {
            toml::Value::Table(table) => overlay(table, &name, variable)?,
            value => {
                let Some(text) = variable(&name) else {
                    continue;
                };
                *value = match value {
                    toml::Value::Integer(_) => match text.parse() {
                        Ok(number) => toml::Value::Integer(number),
                        Err(_) => {
                            let reason = format!("`{text}` is no whole number");
                            return Err(ConfigError::Variable { name, reason });
                        }
                    },
                    toml::Value::Boolean(_) => match text.parse() {
                        Ok(truth) => toml::Value::Boolean(truth),
                        Err(_) => {
                            let reason = format!("`{text}` is neither `true` nor `false`");
                            return Err(ConfigError::Variable { name, reason });
                        }
                    },
                    toml::Value::Array(_) => {
                        let parts = text.split(',').map(str::trim);
                        let parts = parts.filter(|part| !part.is_empty());
                        toml::Value::Array(parts.map(Into::into).collect())
                    }
                    _ => toml::Value::String(text),
                };
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::load(text, |_| None)
    }

    #[test]
    fn the_example_names_every_key_and_its_default() {
        assert_eq!(load(EXAMPLE).unwrap(), Config::default());
        let uncommented: toml::Table = EXAMPLE.parse().unwrap();
        assert_eq!(
            uncommented,
            toml::Table::try_from(Config::default()).unwrap()
        );
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        assert_eq!(load("").unwrap(), Config::default());
    }

    #[test]
    fn unknown_keys_are_errors_with_their_place() {
        let error = load("listen = \"127.0.0.1:1\"\n[limits]\nin_fligth = 3\n").unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("line 3") && text.contains("in_fligth"),
            "{text}"
        );
    }

    #[test]
    fn values_out_of_range_are_errors() {
        for text in [
            "time_zone = \"Europe/Atlantis\"",
            "durability = \"some\"",
            "[limits]\ndrain_delay_seconds = 3601",
            "[limits]\nin_flight = 0",
            "[limits]\nconnections = -1",
            "[limits]\nbody_bytes = 1",
            "listen = \"somewhere\"",
            "[log]\nformat = \"xml\"",
            "[audit]\ncheckpoint_seconds = 0",
            "[audit]\ncheckpoint_seconds = 86401",
            "[audit]\ncheckpoint_file = \"checkpoints\"",
            "[audit]\nsyslog = \"dev/log\"",
            "[audit]\nreserve_bytes = 2000000000000000",
            "[admin]\nlisten = \"somewhere\"",
            "[admin]\nlisten = \"0.0.0.0:7422\"",
            "admin_quorum = 1",
        ] {
            assert!(load(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_go_before_the_file() {
        let variable = |name: &str| match name {
            "OSTRAKON_LIMITS_IN_FLIGHT" => Some("7".to_owned()),
            "OSTRAKON_LISTEN" => Some("127.0.0.1:1".to_owned()),
            "OSTRAKON_LOG_FORMAT" => Some("json".to_owned()),
            "OSTRAKON_ADMIN_QUORUM" => Some("true".to_owned()),
            "OSTRAKON_ADMIN_NAMES" => Some("a.example, 192.0.2.1".to_owned()),
            _ => None,
        };
        let config = Config::load("[limits]\nin_flight = 3", variable).unwrap();
        assert_eq!(config.limits.in_flight, 7);
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.log.format, LogFormat::Json);
        assert!(config.admin_quorum);
        assert_eq!(config.admin.names, ["a.example", "192.0.2.1"]);
        let wrong = Config::load("", |name| {
            (name == "OSTRAKON_LIMITS_IN_FLIGHT").then(|| "many".to_owned())
        });
        assert!(matches!(wrong, Err(ConfigError::Variable { .. })));
        let wrong = Config::load("", |name| {
            (name == "OSTRAKON_LISTEN").then(|| "nowhere".to_owned())
        });
        let text = wrong.unwrap_err().to_string();
        assert!(text.contains("`listen`") && !text.contains('\n'), "{text}");
    }
}
