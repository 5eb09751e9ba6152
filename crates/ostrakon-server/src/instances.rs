//! The instances of a server that share a database.

use ostrakon_types::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::{Home, offline::Opened, server::BuildError};

/// An instance that has served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Its id, in hex.
    pub id: String,
    /// The name of its machine.
    pub name: String,
    /// Whether it is there: it has said so within the last ten seconds, by the database's clock.
    pub online: bool,
    /// The release that it runs.
    pub version: String,
    /// The number of the policy by which it decides.
    pub policy_version: i64,
    /// When it started, by the database's clock.
    pub started_at: UnixMillis,
    /// When it last said that it is there, by the database's clock.
    pub last_seen: UnixMillis,
}

/// The instances that have served from the database of `home`: none where it is a file.
///
/// # Errors
/// When there is no server in `home`, or its database cannot be read.
pub async fn list(home: &Home) -> Result<Vec<Instance>, BuildError> {
    let opened = Opened::open(home).await?;
    let records = opened.store.instances().await;
    opened.store.close().await;
    Ok(records?
        .into_iter()
        .map(|record| Instance {
            id: record.instance.to_string(),
            online: record.is_online(),
            name: record.name,
            version: record.version,
            policy_version: record.policy_version,
            started_at: record.started_at,
            last_seen: record.last_seen,
        })
        .collect())
}
