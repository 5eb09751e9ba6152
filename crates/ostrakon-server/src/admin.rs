//! What an operator may ask of a running server, over its administration socket.
//!
//! The socket is a file of mode 0600: who can open it is the operator.

mod ceremonies;
mod client;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ostrakon_custody::SignedManifest;
use ostrakon_shards::{backup::BackupFile, generation::Generation};
use ostrakon_storage::StoreError;
use ostrakon_types::{ErrorChain, KssId, ProfileId, UnixMillis};
use serde::{Deserialize, Serialize};

pub use self::client::{AskError, Client};
use crate::{
    audit,
    ceremony::{HolderCount, holder_count},
    node::Node,
    policy::SetPolicyError,
    quota::{self, ProfileName},
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

/// Whose counters are set back: nobody named means everybody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearQuota {
    /// The profiles.
    pub profiles: Vec<ProfileName>,
}

/// How many counters were set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaCleared {
    /// So many.
    pub counters: u64,
}

/// The signed manifest of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ArchiveManifest {
    bytes: Vec<u8>,
}

/// How many rows were taken out of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pruned {
    rows: u64,
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

/// A policy, as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    /// Its text.
    pub source: String,
}

/// What came of loading a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLoaded {
    /// Its number.
    pub version: i64,
    /// What is to be said of it, ready to be shown.
    pub warnings: Vec<String>,
    /// What becomes of the quotas, ready to be shown.
    #[serde(default)]
    pub quotas: Vec<String>,
}

/// Why the server did not do what the operator asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong, ready to be shown.
    pub error: String,
    /// Whether it is the policy that is wrong.
    pub bad_policy: bool,
}

/// Done as asked: an empty object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/enable", post(|state| set_enabled(state, true)))
        .route("/disable", post(|state| set_enabled(state, false)))
        .route("/policy", get(dump_policy).post(load_policy))
        .route("/quota", get(list_quota))
        .route("/quota/clear", post(clear_quota))
        .route("/audit/archive", post(keep_archive))
        .route("/audit/prune", post(prune))
        .route("/ceremony/open", post(ceremonies::open))
        .route("/ceremony/take", post(ceremonies::take))
        .route("/ceremony/fulfil", post(ceremonies::fulfil))
        .route("/ceremony/keep", post(ceremonies::keep))
        .route("/ceremony/give-up", post(ceremonies::give_up))
        .route("/ceremony/list", get(ceremonies::list))
        .route("/ceremony/cancel", post(ceremonies::cancel))
        .route("/ceremony/carry", post(ceremonies::carry))
        .route("/ceremony/carried", post(ceremonies::carried))
        .route("/ceremony/set-down", post(ceremonies::set_down))
        .with_state(node)
}

async fn status(State(node): State<Arc<Node>>) -> Response {
    let pipeline = &node.pipeline;
    let policy = pipeline.policy.current();
    let profiles = match pipeline.store.count_profiles().await {
        Ok(profiles) => profiles,
        Err(error) => return fault(&error, false),
    };
    let enabled = pipeline.enabled.load(Ordering::Acquire);
    let not_ready = node.unready().await.map(str::to_owned);
    let backup = match setup::backup_status(&pipeline.store).await {
        Ok(backup) => backup,
        Err(error) => return fault(&error, false),
    };
    let audit = match audit_status(&node).await {
        Ok(audit) => audit,
        Err(error) => return fault(&error, false),
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

async fn list_quota(State(node): State<Arc<Node>>) -> Response {
    let pipeline = &node.pipeline;
    let limit = pipeline.max_new_profiles_per_day;
    let policy = pipeline.policy.current();
    let now = pipeline.clock.now();
    match quota::at_quota(&pipeline.store, &policy.policy, limit, now).await {
        Ok(all) => Json(all).into_response(),
        Err(error) => fault(&error, false),
    }
}

async fn clear_quota(State(node): State<Arc<Node>>, Json(asked): Json<ClearQuota>) -> Response {
    let pipeline = &node.pipeline;
    let now = pipeline.clock.now();
    match quota::clear(&pipeline.store, &pipeline.ledger, &asked.profiles, now).await {
        Ok(counters) => {
            tracing::info!(counters, "quotas cleared by the operator");
            Json(QuotaCleared { counters }).into_response()
        }
        Err(error) => fault(&error, false),
    }
}

async fn keep_archive(
    State(node): State<Arc<Node>>,
    Json(manifest): Json<ArchiveManifest>,
) -> Response {
    let pipeline = &node.pipeline;
    let Ok(signed) = SignedManifest::from_bytes(&manifest.bytes) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (keyserver, store, ledger) = (&pipeline.keyserver, &pipeline.store, &pipeline.ledger);
    match audit::keep_archive(&signed, keyserver, store, ledger, pipeline.clock.now()).await {
        Ok(()) => {
            tracing::info!("audit records archived by the operator");
            Json(Done {}).into_response()
        }
        Err(error) => fault(&error, false),
    }
}

async fn prune(State(node): State<Arc<Node>>) -> Response {
    let pipeline = &node.pipeline;
    let (keyserver, store, ledger) = (&pipeline.keyserver, &pipeline.store, &pipeline.ledger);
    match audit::prune(keyserver, store, ledger, pipeline.clock.now()).await {
        Ok(rows) => Json(Pruned { rows }).into_response(),
        Err(error) => fault(&error, false),
    }
}

async fn set_enabled(State(node): State<Arc<Node>>, enabled: bool) -> Response {
    match node.set_enabled(enabled).await {
        Ok(()) => {
            tracing::info!(enabled, "switched by the operator");
            Json(Done {}).into_response()
        }
        Err(error) if !enabled => {
            let error = format!(
                "the server answers no requests now, but that is lost at its next start: {}",
                ErrorChain(&error)
            );
            let fault = Fault {
                error,
                bad_policy: false,
            };
            (StatusCode::SERVICE_UNAVAILABLE, Json(fault)).into_response()
        }
        Err(error) => fault(&error, false),
    }
}

async fn dump_policy(State(node): State<Arc<Node>>) -> Json<PolicyText> {
    Json(PolicyText {
        source: node.pipeline.policy.current().source.clone(),
    })
}

async fn load_policy(State(node): State<Arc<Node>>, Json(policy): Json<PolicyText>) -> Response {
    let pipeline = &node.pipeline;
    let now = pipeline.clock.now();
    match pipeline
        .policy
        .set(policy.source, &pipeline.ledger, now)
        .await
    {
        Ok((version, warnings, quotas)) => {
            tracing::info!(version, "policy loaded");
            let warnings = warnings.iter().map(ToString::to_string).collect();
            let quotas = quotas.iter().map(ToString::to_string).collect();
            Json(PolicyLoaded {
                version,
                warnings,
                quotas,
            })
            .into_response()
        }
        Err(error @ SetPolicyError::Load(_)) => fault(&error, true),
        Err(error) => fault(&error, false),
    }
}

fn fault(error: &dyn std::error::Error, bad_policy: bool) -> Response {
    let status = if bad_policy {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(Fault {
            error: ErrorChain(error).to_string(),
            bad_policy,
        }),
    )
        .into_response()
}
