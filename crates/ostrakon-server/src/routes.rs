//! What the network sees.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    middleware::map_response_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ostrakon_transport::{
    binding::{Announcement, EnvelopeBytes, KEYSERVER_PATH, REQUESTS_PATH, sealed, stranger},
    http::{InFlightLimit, Site},
};
use serde::Serialize;

use crate::{audit::Reason, node::Node, pipeline::Unanswered};

/// Where `below` says a path, nothing is answered elsewhere.
pub(crate) fn site(node: Arc<Node>, in_flight: usize, below: Option<&str>) -> Site {
    let refused = Arc::clone(&node);
    let router = Router::new()
        .route(
            REQUESTS_PATH,
            post(answer)
                .layer(InFlightLimit::new(in_flight))
                .layer(map_response_with_state(
                    Arc::clone(&node),
                    count_turned_away,
                )),
        )
        .route(KEYSERVER_PATH, get(public_card))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .with_state(node);
    let router = match below {
        Some(path) => Router::new().nest(path, router),
        None => router,
    };
    Site::new(router, move |status| count_refused(&refused, status))
}

async fn answer(State(node): State<Arc<Node>>, EnvelopeBytes(envelope): EnvelopeBytes) -> Response {
    match node.pipeline.answer(&envelope).await {
        Ok(answer) => sealed(answer),
        Err(unanswered) => {
            node.tallies().count(unanswered.reason());
            let mut response = unanswered.into_response();
            response.extensions_mut().insert(Counted);
            response
        }
    }
}

/// Marks an answer that was counted where its reason is known.
#[derive(Clone, Copy)]
struct Counted;

/// Counts what did not get as far as to be answered.
async fn count_turned_away(State(node): State<Arc<Node>>, response: Response) -> Response {
    if response.extensions().get::<Counted>().is_none() {
        count_refused(&node, response.status());
    }
    response
}

/// Counts what was refused by its status.
pub(crate) fn count_refused(node: &Node, status: StatusCode) {
    if let Some(reason) = Reason::of_status(status) {
        node.tallies().count(reason);
    }
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        // One answer for everything that a stranger can get wrong.
        let (status, wait) = match self {
            Self::Stranger(_) => return stranger(),
            Self::TooMany | Self::TooManySteps => (StatusCode::TOO_MANY_REQUESTS, "10"),
            Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "10"),
            Self::Unavailable | Self::Outdated => (StatusCode::SERVICE_UNAVAILABLE, "1"),
        };
        (
            status,
            [(header::RETRY_AFTER, HeaderValue::from_static(wait))],
        )
            .into_response()
    }
}

async fn public_card(State(node): State<Arc<Node>>) -> Json<Announcement> {
    Json(node.announcement.clone())
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

async fn readiness(State(node): State<Arc<Node>>) -> Response {
    let reason = node.unready().await;
    let status = match reason {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (
        status,
        Json(Readiness {
            ready: reason.is_none(),
            reason,
        }),
    )
        .into_response()
}
