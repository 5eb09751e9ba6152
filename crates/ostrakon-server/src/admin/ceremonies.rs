//! The ceremonies that a running server opens among its administrators' devices.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use ostrakon_shards::seal::Sealed;
use ostrakon_types::CeremonyId;
use serde::{Deserialize, Serialize};

use super::{Done, fault};
use crate::{
    ceremony::{Ask, ConveneError},
    node::Node,
};

/// Which ceremony is meant.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) id: CeremonyId,
}

/// Answers to a ceremony.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answers {
    pub(super) id: CeremonyId,
    pub(super) answers: Vec<Sealed>,
}

pub(super) async fn open(State(node): State<Arc<Node>>, Json(ask): Json<Ask>) -> Response {
    tell(node.ceremonies.open(&node.room(), ask).await)
}

pub(super) async fn take(State(node): State<Arc<Node>>, Json(given): Json<Answers>) -> Response {
    let now = node.pipeline.clock.now();
    let taken = node.ceremonies.take(given.id, &given.answers, now);
    tell(taken.await)
}

pub(super) async fn fulfil(State(node): State<Arc<Node>>, Json(named): Json<Named>) -> Response {
    let done = node.ceremonies.fulfil(&node.room(), named.id).await;
    if let Ok(done) = &done {
        tracing::info!(ceremony = %named.id, kind = done.kind(), "done as approved");
    }
    tell(done)
}

pub(super) async fn keep(State(node): State<Arc<Node>>, Json(named): Json<Named>) -> Response {
    let kept = node.ceremonies.keep(&node.room(), named.id).await;
    tell(kept.map(|()| Done {}))
}

pub(super) async fn give_up(State(node): State<Arc<Node>>, Json(named): Json<Named>) -> Response {
    let given_up = node.ceremonies.give_up(&node.room(), named.id).await;
    tell(given_up.map(|()| Done {}))
}

fn tell<T: Serialize>(result: Result<T, ConveneError>) -> Response {
    match result {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => fault(&error, false),
    }
}
