use axum::{
    Json, Router,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::*;
use crate::http::{
    ListenerLimits, serve,
    testing::{PATIENCE, SHORT},
};

#[tokio::test]
async fn questions_are_answered_refused_or_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let client = JsonClient::unix(&path, PATIENCE);
    let nobody = client.get::<Value>("/status").await;
    assert!(matches!(nobody, Err(JsonError::NotListening(_))));

    let listener = UnixListener::bind(&path).unwrap();
    let router = Router::new()
        .route("/status", get(async || Json(json!({ "state": "enabled" }))))
        .route("/echo", post(async |Json(value): Json<Value>| Json(value)))
        .route(
            "/refuse",
            post(async || (StatusCode::CONFLICT, Json(json!({ "error": "no" })))),
        )
        .route("/text", get(async || "text"))
        .route("/never", get(std::future::pending::<()>));
    let server = serve(
        listener,
        router,
        ListenerLimits::default(),
        std::future::pending(),
    );
    let ask = async {
        let status: Value = client.get("/status").await.unwrap();
        assert_eq!(status["state"], "enabled");
        let echo: Value = client.post("/echo", &json!([1, "two"])).await.unwrap();
        assert_eq!(echo, json!([1, "two"]));
        match client.post::<_, Value>("/refuse", &()).await {
            Err(JsonError::Refused { status, body }) => {
                assert_eq!(status, StatusCode::CONFLICT);
                assert_eq!(body, r#"{"error":"no"}"#);
            }
            other => panic!("{other:?}"),
        }
        let text = client.get::<Value>("/text").await;
        assert!(matches!(text, Err(JsonError::Malformed(_))));
        let no_path = client.get::<Value>("no path").await;
        assert!(matches!(no_path, Err(JsonError::Question(_))));
        let hasty = JsonClient::unix(&path, SHORT);
        let never = hasty.get::<Value>("/never").await;
        assert!(matches!(never, Err(JsonError::Timeout)));
    };
    tokio::select! {
        _ = server => unreachable!("never asked to stop"),
        () = ask => {}
    }
}
