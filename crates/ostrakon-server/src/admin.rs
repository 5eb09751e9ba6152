//! What an operator may ask of a running server, over its administration socket.
//!
//! The socket is a file of mode 0600: who can open it is the operator. Where `server.toml` says so, whoever
//! has a certificate of the server's own authority is heard from afar, too, by mutual TLS; but what enables,
//! loads a policy or clears quotas, the administrators' devices must approve then.

mod administrators;
mod caller;
mod ceremonies;
mod client;
mod pace;
mod reading;
mod status;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::StatusCode,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ostrakon_custody::SignedManifest;
pub use ostrakon_transport::http::IdentityError;
use ostrakon_transport::http::Site;
use ostrakon_types::ErrorChain;
use serde::{Deserialize, Serialize};

pub(crate) use self::{caller::Caller, pace::PER_MINUTE};
pub use self::{
    client::{AskError, Client, RemoteError},
    reading::AuditFeed,
    status::{AuditStatus, BackupStatus, RunState, Status},
};
use crate::{
    audit,
    node::Node,
    policy::{Approval, SetPolicyError},
    quota::{self, ProfileName},
    routes::count_refused,
};

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
    /// What can be done about it.
    #[serde(default)]
    pub kind: FaultKind,
}

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The policy is wrong.
    BadPolicy,
    /// The administrators' devices must approve it.
    NeedsApproval,
    /// It is not known whose devices could approve it.
    NoAdministrators,
    /// The profile whose devices were to be asked is not the one that decides.
    OtherProfile,
    /// The profile is not safe enough for a backup key.
    WeakProfile,
    /// What is asked about is no ceremony that this instance has open.
    NoCeremony,
    /// Another one.
    #[default]
    #[serde(other)]
    Other,
}

/// Done as asked: an empty object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// What is answered to whoever can open the socket.
pub(crate) fn router(node: Arc<Node>) -> Router {
    everywhere()
        .route("/administrators/create", post(administrators::create))
        .route("/audit/archive", post(keep_archive))
        .route("/audit/prune", post(prune))
        .route("/ceremony/keep", post(ceremonies::keep))
        .route("/ceremony/carry", post(ceremonies::carry))
        .route("/ceremony/carried", post(ceremonies::carried))
        .route("/ceremony/set-down", post(ceremonies::set_down))
        .layer(Extension(Caller::Operator))
        .with_state(node)
}

/// What is answered to administrators from afar.
pub(crate) fn remote(node: Arc<Node>) -> Site {
    let refused = Arc::clone(&node);
    let router = everywhere()
        .layer(from_fn_with_state(Arc::clone(&node), pace::bound))
        .layer(from_fn_with_state(Arc::clone(&node), caller::authenticate))
        .with_state(node);
    Site::new(router, move |status| count_refused(&refused, status))
}

fn everywhere() -> Router<Arc<Node>> {
    Router::new()
        .route("/status", get(status::status))
        .route("/enable", post(enable))
        .route("/disable", post(disable))
        .route("/policy", get(dump_policy).post(load_policy))
        .route("/quota", get(list_quota))
        .route("/quota/clear", post(clear_quota))
        .route("/audit/read", post(reading::read))
        .route("/administrators", get(administrators::list))
        .route("/administrators/revoke", post(administrators::revoke))
        .route("/ceremony/open", post(ceremonies::open))
        .route("/ceremony/take", post(ceremonies::take))
        .route("/ceremony/fulfil", post(ceremonies::fulfil))
        .route("/ceremony/give-up", post(ceremonies::give_up))
        .route("/ceremony/list", get(ceremonies::list))
        .route("/ceremony/cancel", post(ceremonies::cancel))
}

async fn list_quota(State(node): State<Arc<Node>>) -> Response {
    let pipeline = &node.pipeline;
    let limit = pipeline.max_new_profiles_per_day;
    let policy = pipeline.policy.current();
    let now = pipeline.clock.now();
    match quota::at_quota(&pipeline.store, &policy.policy, limit, now).await {
        Ok(all) => Json(all).into_response(),
        Err(error) => fault(&error),
    }
}

async fn clear_quota(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<ClearQuota>,
) -> Response {
    if let Some(refusal) = caller.must_ask(&node) {
        return refusal;
    }
    let pipeline = &node.pipeline;
    let now = pipeline.clock.now();
    match quota::clear(&pipeline.store, &pipeline.ledger, &asked.profiles, now).await {
        Ok(counters) => {
            tracing::info!(counters, "quotas cleared by the operator");
            Json(QuotaCleared { counters }).into_response()
        }
        Err(error) => fault(&error),
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
        Err(error) => fault(&error),
    }
}

async fn prune(State(node): State<Arc<Node>>) -> Response {
    let pipeline = &node.pipeline;
    let (keyserver, store, ledger) = (&pipeline.keyserver, &pipeline.store, &pipeline.ledger);
    match audit::prune(keyserver, store, ledger, pipeline.clock.now()).await {
        Ok(rows) => Json(Pruned { rows }).into_response(),
        Err(error) => fault(&error),
    }
}

async fn enable(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Response {
    if let Some(refusal) = caller.must_ask(&node) {
        return refusal;
    }
    match node.set_enabled(true, caller.by(), None).await {
        Ok(_) => {
            tracing::info!("enabled by the operator");
            Json(Done {}).into_response()
        }
        Err(error) => fault(&error),
    }
}

/// Whoever is heard may stop the server: it is what helps when somebody is heard who should not be.
async fn disable(State(node): State<Arc<Node>>, Extension(caller): Extension<Caller>) -> Response {
    match node.disable(caller.by()).await {
        Ok(()) => {
            let certificate = caller.certificate().map(tracing::field::display);
            tracing::info!(certificate, "disabled by an operator");
            Json(Done {}).into_response()
        }
        Err(error) => {
            let error = format!(
                "the server answers no requests now, but that is lost at its next start: {}",
                ErrorChain(&error)
            );
            let kind = FaultKind::Other;
            let fault = Fault { error, kind };
            (StatusCode::SERVICE_UNAVAILABLE, Json(fault)).into_response()
        }
    }
}

async fn dump_policy(State(node): State<Arc<Node>>) -> Json<PolicyText> {
    Json(PolicyText {
        source: node.pipeline.policy.current().source.clone(),
    })
}

async fn load_policy(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(policy): Json<PolicyText>,
) -> Response {
    if let Some(refusal) = caller.must_ask(&node) {
        return refusal;
    }
    let pipeline = &node.pipeline;
    let (ledger, now) = (&pipeline.ledger, pipeline.clock.now());
    match pipeline
        .policy
        .set(policy.source, Approval::Operator, ledger, now)
        .await
    {
        Ok(loaded) => {
            tracing::info!(version = loaded.version, "policy loaded");
            Json(loaded).into_response()
        }
        Err(error @ SetPolicyError::Load(_)) => fault_of(&error, FaultKind::BadPolicy),
        Err(error) => fault(&error),
    }
}

fn fault(error: &dyn std::error::Error) -> Response {
    fault_of(error, FaultKind::Other)
}

fn fault_of(error: &dyn std::error::Error, kind: FaultKind) -> Response {
    let status = match kind {
        FaultKind::BadPolicy => StatusCode::BAD_REQUEST,
        FaultKind::NeedsApproval
        | FaultKind::NoAdministrators
        | FaultKind::OtherProfile
        | FaultKind::WeakProfile => StatusCode::FORBIDDEN,
        FaultKind::Other | FaultKind::NoCeremony => StatusCode::SERVICE_UNAVAILABLE,
    };
    let error = ErrorChain(error).to_string();
    (status, Json(Fault { error, kind })).into_response()
}
