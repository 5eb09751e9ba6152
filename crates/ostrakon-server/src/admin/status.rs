//! What state the server is in.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use ostrakon_shards::{backup::BackupFile, generation::Generation};
use ostrakon_storage::StoreError;
use ostrakon_types::{KssId, ProfileId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::fault;
use crate::{
    ceremony::{HolderCount, holder_count},
    node::Node,
    setup,
};

/// What `keyserver status` tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The server's id.
    pub kss_id: KssId,
    /// Its name.
    pub name: String,
    /// Whether it runs, and whether it answers requests.
    pub state: RunState,
    /// The program's version.
    pub version: String,
    /// This instance.
    pub instance: String,
    /// What keeps the data.
    pub database: String,
    /// What protects the root key.
    pub protector: String,
    /// The number of the policy in force.
    pub policy_version: Option<i64>,
    /// When it was loaded.
    pub policy_loaded_at: Option<UnixMillis>,
    /// How many profiles there are.
    pub profiles: u64,
    /// Why requests cannot be answered now, if they cannot.
    pub not_ready: Option<String>,
    /// How the audit log stands.
    pub audit: AuditStatus,
    /// The generation of its state: epoch and counter.
    #[serde(default)]
    pub generation: Option<String>,
    /// The newest backup key, if one was made.
    #[serde(default)]
    pub backup: Option<BackupStatus>,
    /// How many milliseconds this machine's clock is ahead of the shared database's.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// Whether it was recovered, and waits to be enabled.
    #[serde(default)]
    pub staged: bool,
    /// Since when it serves with care, because its state is not proved to be the newest.
    #[serde(default)]
    pub unproven_since: Option<UnixMillis>,
}

/// What is known of a server's newest backup key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BackupStatus {
    /// The epoch of its generation.
    pub epoch: u64,
    /// The counter of its generation.
    pub counter: u64,
    /// When it was made.
    pub made_at: UnixMillis,
    /// The profile whose devices hold it.
    pub profile: ProfileId,
    /// How many of them there are.
    pub holders: HolderCount,
}

impl BackupStatus {
    pub(crate) fn of(file: &BackupFile) -> Self {
        let Generation { epoch, counter } = file.generation();
        Self {
            epoch,
            counter,
            made_at: file.created_at(),
            profile: file.profile().id(),
            holders: holder_count(file.profile()),
        }
    }

    /// Its generation, as it is shown.
    #[must_use]
    pub fn generation(&self) -> String {
        format!("{}.{}", self.epoch, self.counter)
    }

    /// Whether it was made after the backup key of this generation.
    #[must_use]
    pub fn is_newer_than(&self, other: Generation) -> bool {
        (self.epoch, self.counter) > (other.epoch, other.counter)
    }
}

/// How the audit log stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditStatus {
    /// The number of this instance's newest record.
    pub records: u64,
    /// The number of the newest checkpoint.
    pub checkpoint: Option<u64>,
    /// When it was made.
    pub checkpoint_at: Option<UnixMillis>,
    /// Whether the log can be written, and checkpoints wherever they should be, as far as is known. A
    /// server that does not run does not know.
    pub writable: Option<bool>,
    /// What is wrong with it, ready to be shown.
    pub trouble: Vec<String>,
}

/// Whether a server runs, and whether it answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It answers requests.
    Enabled,
    /// It runs, and answers each request with a refusal.
    Disabled,
    /// It does not run.
    Stopped,
}

pub(super) async fn status(State(node): State<Arc<Node>>) -> Response {
    let pipeline = &node.pipeline;
    // The chains were ended there: there is nothing to tell but where the state is.
    if pipeline.store.is_shared()
        && let Err(error @ StoreError::Moved { .. }) = pipeline.store.check_here().await
    {
        return fault(&error);
    }
    let policy = pipeline.policy.current();
    let profiles = match pipeline.store.count_profiles().await {
        Ok(profiles) => profiles,
        Err(error) => return fault(&error),
    };
    let enabled = pipeline.enabled.load(Ordering::Acquire);
    let not_ready = match pipeline.clock_fault() {
        Some(fault) => Some(fault.to_string()),
        None => node.unready().await.map(str::to_owned),
    };
    let backup = match setup::backup_status(&pipeline.store).await {
        Ok(backup) => backup,
        Err(error) => return fault(&error),
    };
    let audit = match audit_status(&node).await {
        Ok(audit) => audit,
        Err(error) => return fault(&error),
    };
    Json(Status {
        kss_id: pipeline.keyserver.kss_id(),
        name: pipeline.keyserver.name().as_str().to_owned(),
        state: if enabled {
            RunState::Enabled
        } else {
            RunState::Disabled
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: node.instance.to_string(),
        database: pipeline.store.kind().to_owned(),
        protector: "key file".to_owned(),
        policy_version: Some(policy.version),
        policy_loaded_at: Some(policy.loaded_at),
        profiles,
        not_ready,
        audit,
        generation: Some(pipeline.lineage.newest().generation().to_string()),
        backup,
        clock_ahead_ms: pipeline.watch.ahead(),
        staged: false,
        unproven_since: pipeline.lineage.doubt().unproven_since,
    })
    .into_response()
}

async fn audit_status(node: &Node) -> Result<AuditStatus, StoreError> {
    let heads = node.pipeline.store.audit_heads().await?;
    let own = heads.iter().find(|(id, _)| *id == node.instance);
    let shown = node.keeper.shown();
    let writable = node.pipeline.ledger.is_writable() && shown.failing.is_none();
    Ok(AuditStatus {
        records: own.map_or(0, |(_, head)| head.sequence),
        checkpoint: shown.newest.map(|(number, _)| number),
        checkpoint_at: shown.newest.map(|(_, at)| at),
        writable: Some(writable),
        trouble: node.breaks.iter().cloned().chain(shown.failing).collect(),
    })
}
