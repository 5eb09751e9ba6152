//! What an operator may ask of a running server, over its administration socket.
//!
//! The socket is a file of mode 0600: who can open it is the operator.

mod client;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ostrakon_types::{ErrorChain, KssId, UnixMillis};
use serde::{Deserialize, Serialize};

pub use self::client::{AskError, Client};
use crate::{node::Node, policy::SetPolicyError};

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
    /// The generation of its state: epoch and counter.
    #[serde(default)]
    pub generation: Option<String>,
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
        database: "sqlite".to_owned(),
        protector: "key file".to_owned(),
        policy_version: Some(policy.version),
        policy_loaded_at: Some(policy.loaded_at),
        profiles,
        not_ready: node.unready().await.map(str::to_owned),
        generation: Some(pipeline.lineage.newest().generation().to_string()),
    })
    .into_response()
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
