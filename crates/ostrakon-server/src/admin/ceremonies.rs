//! The ceremonies that a running server opens among its administrators' devices.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use ostrakon_custody::AuditEvent;
use ostrakon_shards::seal::Sealed;
use ostrakon_types::CeremonyId;
use serde::{Deserialize, Serialize};

use super::{Caller, Done, FaultKind, fault, fault_of};
use crate::{
    ceremony::{Ask, Carry, ConveneError},
    node::Node,
    server::BuildError,
};

/// Which ceremony is meant.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) id: CeremonyId,
}

/// How a ceremony ended that was carried.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) id: CeremonyId,
    pub(super) completed: bool,
}

/// Answers to a ceremony.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answers {
    pub(super) id: CeremonyId,
    pub(super) answers: Vec<Sealed>,
}

pub(super) async fn open(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(ask): Json<Ask>,
) -> Response {
    tell(node.ceremonies.open(&node.room(), ask, caller).await)
}

pub(super) async fn take(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(given): Json<Answers>,
) -> Response {
    let (room, id) = (node.room(), given.id);
    tell(node.ceremonies.take(&room, id, caller, given.answers).await)
}

pub(super) async fn fulfil(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(named): Json<Named>,
) -> Response {
    let (room, id) = (node.room(), named.id);
    let done = node.ceremonies.fulfil(&room, id, caller).await;
    if let Ok(done) = &done {
        tracing::info!(ceremony = %named.id, kind = done.kind(), "done as approved");
    }
    tell(done)
}

pub(super) async fn keep(State(node): State<Arc<Node>>, Json(named): Json<Named>) -> Response {
    let kept = node.ceremonies.keep(&node.room(), named.id).await;
    tell(kept.map(|()| Done {}))
}

pub(super) async fn give_up(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(named): Json<Named>,
) -> Response {
    let (room, id) = (node.room(), named.id);
    let given_up = node.ceremonies.give_up(&room, id, caller).await;
    tell(given_up.map(|()| Done {}))
}

pub(super) async fn list(State(node): State<Arc<Node>>) -> Response {
    tell(node.ceremonies.list(&node.room()).await)
}

/// Whoever is heard may end what waits: nothing is done then.
pub(super) async fn cancel(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(named): Json<Named>,
) -> Response {
    let cancelled = cancelled(&node, caller, named.id).await;
    if cancelled.is_ok() {
        let certificate = caller.certificate().map(tracing::field::display);
        tracing::info!(ceremony = %named.id, certificate, "cancelled by an operator");
    }
    tell(cancelled.map(|()| Done {}))
}

async fn cancelled(node: &Node, caller: Caller, id: CeremonyId) -> Result<(), ConveneError> {
    let room = node.room();
    node.ceremonies.cancel(&room, id).await?;
    if let Some(by) = caller.by() {
        let event = AuditEvent::Administered {
            action: "ceremony cancel".to_owned(),
            detail: format!("ceremony {id}, {by}"),
        };
        let noted = room.ledger.note(event, room.now).await;
        noted.map_err(BuildError::from)?;
    }
    Ok(())
}

pub(super) async fn carry(State(node): State<Arc<Node>>, Json(carry): Json<Carry>) -> Response {
    let carried = node.ceremonies.carry(&node.room(), carry).await;
    tell(carried.map(|()| Done {}))
}

pub(super) async fn carried(State(node): State<Arc<Node>>, Json(named): Json<Named>) -> Response {
    tell(node.ceremonies.carried(&node.room(), named.id).await)
}

pub(super) async fn set_down(State(node): State<Arc<Node>>, Json(ended): Json<Ended>) -> Response {
    let room = node.room();
    let set_down = node.ceremonies.set_down(&room, ended.id, ended.completed);
    tell(set_down.await.map(|()| Done {}))
}

fn tell<T: Serialize>(result: Result<T, ConveneError>) -> Response {
    match result {
        Ok(answer) => Json(answer).into_response(),
        Err(error @ ConveneError::Policy(_)) => fault_of(&error, FaultKind::BadPolicy),
        Err(error @ ConveneError::OtherProfile { .. }) => fault_of(&error, FaultKind::OtherProfile),
        Err(error @ ConveneError::Weak(_)) => fault_of(&error, FaultKind::WeakProfile),
        Err(error @ ConveneError::NoProfile) => fault_of(&error, FaultKind::NoAdministrators),
        Err(error @ ConveneError::NoCeremony) => fault_of(&error, FaultKind::NoCeremony),
        Err(error) => fault(&error),
    }
}
