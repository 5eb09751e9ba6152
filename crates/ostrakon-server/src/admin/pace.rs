//! How much one certificate may have written: who has stolen it does not fill the log.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Caller, Fault, FaultKind};
use crate::node::Node;

/// So many requests of one certificate a minute that may write.
pub(crate) const PER_MINUTE: u32 = 60;

/// What is posted and writes nothing with each request. `/disable` does not on a disabled server, and is
/// never refused; `/ceremony/take` writes each device's answer once.
const FREE: [&str; 2] = ["/disable", "/ceremony/take"];

/// Refuses what goes beyond that.
pub(super) async fn bound(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let writes = request.method() == Method::POST && !FREE.contains(&request.uri().path());
    let caller = request.extensions().get::<Caller>();
    let certificate = caller.and_then(|caller| caller.certificate());
    let passes = match certificate.filter(|_| writes) {
        Some(id) => node.paces.pass(id, node.pipeline.clock.now()),
        None => true,
    };
    if passes {
        return next.run(request).await;
    }
    let fault = Fault {
        error: format!("more than {PER_MINUTE} requests a minute with this certificate: wait"),
        kind: FaultKind::Other,
    };
    (StatusCode::TOO_MANY_REQUESTS, axum::Json(fault)).into_response()
}
