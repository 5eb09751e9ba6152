//! A service that asks a policy before it answers: who may download which document, and how many a day.
//!
//! `cargo run -p embed-policy`, then
//! `curl -d '{"user": "da585c21572cc938b99cd6ab4df19e3d", "path": "public/a.pdf"}' 127.0.0.1:8080/download`

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::{Timestamp, tz::TimeZone};
use ostrakon_policy::{MemoryLedger, Policy, Registry};
use ostrakon_types::{
    ApprovalRequest, Digest, MetaItem, OpaqueId, ProfileId, ProfileRef, ProfileWords, RequestId,
    RequestKind, UnixMillis,
};
use serde::Deserialize;

const POLICY: &str = include_str!("../../policies/downloads.yml");

/// The policy, and what it has approved so far. Several instances would share a ledger in a database.
struct Service {
    policy: Policy,
    ledger: MemoryLedger,
    asked: AtomicI64,
    now: fn() -> Timestamp,
}

/// What someone asks for. The service knows who he is: that is not the policy's to find out.
#[derive(Deserialize)]
struct Download {
    user: String,
    path: String,
}

impl Service {
    fn new(now: fn() -> Timestamp) -> Result<Self, Box<dyn Error>> {
        let loaded = Policy::load(
            "downloads.yml",
            POLICY,
            &TimeZone::UTC,
            &Registry::bundled(),
        )?;
        Ok(Self {
            policy: loaded.policy,
            ledger: MemoryLedger::new(),
            asked: AtomicI64::new(0),
            now,
        })
    }

    fn routes(self) -> Router {
        Router::new()
            .route("/download", post(download))
            .with_state(Arc::new(self))
    }
}

async fn download(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    let Some((profile, path)) = serde_json::from_slice::<Download>(&body)
        .ok()
        .and_then(|asked| Some((asked.user.parse::<ProfileId>().ok()?, asked.path)))
    else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let request = ApprovalRequest {
        kind: RequestKind::Decrypt,
        device_id: OpaqueId::new(b""),
        profile: ProfileRef {
            id: profile,
            words: ProfileWords::default(),
        },
        meta: vec![MetaItem {
            meta: path,
            complete: true,
        }],
        cryptographic_id: OpaqueId::new(b""),
    };
    let now = (service.now)();
    // The policy proposes, the ledger decides: what fits is counted in the act that approves.
    let proposal = service.policy.evaluate(&request, now).into_proposal();
    // A service with retries takes the id of the request here, so that a retry is not charged again.
    let number = service.asked.fetch_add(1, Ordering::Relaxed);
    let id = RequestId::from_parts(UnixMillis(number), [0; 10]);
    let settled = service
        .ledger
        .settle(id, Digest::from_bytes([0; 32]), vec![proposal]);
    service.ledger.forget_request(&id);
    let approved = settled.is_ok_and(|settled| {
        settled
            .decisions
            .iter()
            .all(|decision| decision.is_approved())
    });
    if approved {
        return "here it is\n".into_response();
    }
    let why = service.policy.explain_briefly(&request, now, 20);
    let why = why.with_counts(|counter| service.ledger.count(counter));
    (StatusCode::FORBIDDEN, Json(why)).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = Service::new(now)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, service.routes()).await?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
fn now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(routes: &Router, path: &str) -> (StatusCode, String) {
        let body = format!(r#"{{"user": "da585c21572cc938b99cd6ab4df19e3d", "path": "{path}"}}"#);
        let request = Request::post("/download").body(Body::from(body)).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_is_public_is_free_and_the_rest_is_counted() {
        let noon = || "2026-03-09T12:00:00Z".parse().unwrap();
        let routes = Service::new(noon).unwrap().routes();
        for _ in 0..3 {
            assert_eq!(ask(&routes, "reports/a.pdf").await.0, StatusCode::OK);
        }
        let (status, why) = ask(&routes, "reports/a.pdf").await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(
            why.contains("quota_used_up") && why.contains("\"used\":3"),
            "{why}"
        );
        assert_eq!(ask(&routes, "public/a.pdf").await.0, StatusCode::OK);
        assert_eq!(ask(&routes, "secrets/a.pdf").await.0, StatusCode::FORBIDDEN);
        assert_eq!(
            ask(&routes, "public/../secrets/a.pdf").await.0,
            StatusCode::FORBIDDEN
        );
    }
}
