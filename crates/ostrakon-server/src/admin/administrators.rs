use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};

use ostrakon_types::ErrorChain;

use super::{Caller, fault};
use crate::{
    authority::Authority,
    certificates::{self, AdministratorName, NewAdministrator, asked_with},
    node::Node,
};

pub(super) async fn list(State(node): State<Arc<Node>>) -> Response {
    match certificates::list(&node.pipeline.store).await {
        Ok(all) => Json(all).into_response(),
        Err(error) => fault(&error),
    }
}

pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Json(new): Json<NewAdministrator>,
) -> Response {
    let pipeline = &node.pipeline;
    let (keyserver, now) = (&pipeline.keyserver, pipeline.clock.now());
    let authority = match Authority::of(&pipeline.store, &keyserver.kss_id(), now).await {
        Ok(authority) => authority,
        Err(error) => return fault(&error),
    };
    match certificates::create(&authority, &pipeline.ledger, new, now).await {
        Ok(issued) => {
            tracing::info!(certificate = %issued.administrator.id, "certificate issued");
            Json(issued).into_response()
        }
        Err(error) => fault(&error),
    }
}

pub(super) async fn revoke(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(named): Json<AdministratorName>,
) -> Response {
    let pipeline = &node.pipeline;
    let (store, ledger, now) = (&pipeline.store, &pipeline.ledger, pipeline.clock.now());
    match certificates::revoke(store, ledger, &named, caller.by(), now).await {
        Ok(revoked) => {
            for administrator in &revoked {
                tracing::info!(certificate = %administrator.id, "certificate revoked");
            }
            let room = node.room();
            let ended = node.ceremonies.end_all(&room, asked_with(&revoked));
            if let Err(error) = ended.await {
                tracing::error!(error = %ErrorChain(&error), "ceremonies cannot be ended on record");
            }
            Json(revoked).into_response()
        }
        Err(error) => fault(&error),
    }
}
