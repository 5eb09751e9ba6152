use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use hyper::{Request, StatusCode, header::CONTENT_TYPE};
use ostrakon_shards::identity::VerifyPublicCardError;
use ostrakon_types::Denial;

use super::*;
use crate::{
    fixture::{Device, NOW, Server, location, request},
    http::{BaseUrl, ClientConfig, HttpClient, ListenerLimits, testing::TestServer},
    message::{Answer, ItemAnswer, ResponseBody},
};

/// A server that knows one device and denies everything.
struct Kss {
    server: Server,
    device: Device,
}

impl Kss {
    fn new() -> Arc<Self> {
        let (server, device) = (Server::fixed(), Device::fixed());
        Arc::new(Self { server, device })
    }

    async fn start(self: &Arc<Self>) -> TestServer {
        let card = Json(Announcement::from(self.server.card.clone()));
        let router = Router::new()
            .route(REQUESTS_PATH, post(deny))
            .route(KEYSERVER_PATH, get(async || card))
            .with_state(Arc::clone(self));
        TestServer::start(router, ListenerLimits::default()).await
    }
}

async fn deny(State(kss): State<Arc<Kss>>, EnvelopeBytes(bytes): EnvelopeBytes) -> Response {
    let card = &kss.device.card;
    let verified = kss.server.open(&bytes).and_then(|opened| {
        if opened.device() == card.id() {
            opened.verify(card)
        } else {
            Err(opened.verify_nobody())
        }
    });
    let Ok(authentic) = verified else {
        return stranger();
    };
    let response = match authentic.parse(NOW) {
        Ok(body) => ResponseBody {
            request_id: Some(body.request_id()),
            server_time: NOW,
            answer: Answer::Items(vec![ItemAnswer::Denied(Denial::Policy)]),
            generation: None,
        },
        Err(code) => ResponseBody::refused(NOW, code),
    };
    sealed(authentic.reply().seal(&response).unwrap())
}

fn client(url: BaseUrl) -> HttpClient {
    HttpClient::new(ClientConfig::new(vec![url])).unwrap()
}

#[tokio::test]
async fn sealed_requests_are_answered_over_http() {
    let kss = Kss::new();
    let server = kss.start().await;
    let client = client(server.url());
    let id = kss.server.verified.kss_id();
    let verified = fetch_keyserver(&client, &id).await.unwrap();
    assert_eq!(verified, kss.server.verified);

    let (envelope, pending) = kss.device.seal(&kss.server, &request(vec![location()]));
    let received = exchange(&client, envelope, &pending).await.ok().unwrap();
    let response = received.response;
    let Answer::Items(items) = response.answer else {
        panic!("refused");
    };
    assert!(matches!(items[..], [ItemAnswer::Denied(Denial::Policy)]));
}

#[tokio::test]
async fn all_strangers_get_the_same_answer() {
    let kss = Kss::new();
    let server = kss.start().await;
    let client = client(server.url());
    let body = request(vec![location()]);
    let (good, pending) = kss.device.seal(&kss.server, &body);
    let (unknown_device, _) = Device::new().seal(&kss.server, &body);
    let (other_server, _) = kss.device.seal(&Server::new(), &body);
    let mut altered = good.clone();
    *altered.last_mut().unwrap() ^= 1;
    let mut in_anothers_name = unknown_device.clone();
    in_anothers_name[2..18].copy_from_slice(&good[2..18]);
    let mut answers = Vec::new();
    for bytes in [
        vec![],
        b"garbage".to_vec(),
        unknown_device,
        other_server,
        altered,
        in_anothers_name,
    ] {
        let error = exchange(&client, bytes.clone(), &pending).await.err();
        assert!(matches!(error, Some(ExchangeError::Stranger)), "{error:?}");
        let post = Request::post(REQUESTS_PATH).header(CONTENT_TYPE, ENVELOPE_TYPE);
        let mut answer = client
            .send(&post.body(bytes.into()).unwrap())
            .await
            .unwrap();
        answer.headers_mut().remove("date");
        answers.push((
            answer.status(),
            answer.headers().clone(),
            answer.into_body(),
        ));
    }
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn other_types_and_answers_are_refused() {
    let kss = Kss::new();
    let server = kss.start().await;
    let (envelope, pending) = kss.device.seal(&kss.server, &request(vec![location()]));
    for content_type in [None, Some("application/json"), Some("text/plain")] {
        let mut post = Request::post(REQUESTS_PATH);
        if let Some(content_type) = content_type {
            post = post.header(CONTENT_TYPE, content_type);
        }
        let post = post.body(Bytes::from(envelope.clone())).unwrap();
        let answer = client(server.url()).send(&post).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    let other = Router::new().route(REQUESTS_PATH, post(async || "not sealed"));
    let other = TestServer::start(other, ListenerLimits::default()).await;
    let error = exchange(&client(other.url()), envelope.clone(), &pending)
        .await
        .err();
    assert!(
        matches!(error, Some(ExchangeError::Response(_))),
        "{error:?}"
    );
    let nothing = TestServer::start(Router::new(), ListenerLimits::default()).await;
    let error = exchange(&client(nothing.url()), envelope, &pending)
        .await
        .err();
    assert!(
        matches!(error, Some(ExchangeError::Status(StatusCode::NOT_FOUND))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_card_that_does_not_match_the_id_is_refused() {
    let kss = Kss::new();
    let server = kss.start().await;
    let expected = Server::new().verified.kss_id();
    let error = fetch_keyserver(&client(server.url()), &expected).await;
    let found = kss.server.verified.kss_id();
    match error {
        Err(FetchKeyserverError::Card { source, .. }) => {
            assert_eq!(source, VerifyPublicCardError::OtherServer { found });
        }
        other => panic!("{other:?}"),
    }

    // A card that claims the id, but for another statement.
    let genuine = serde_json::to_value(Announcement::from(kss.server.card.clone())).unwrap();
    for body in [
        String::new(),
        "{}".into(),
        "[".repeat(100_000),
        genuine
            .to_string()
            .replace("\"card\":\"", "\"card\":\"AAAA"),
        genuine.to_string().replace('}', ",\"card\":\"\"}"),
        format!("{{\"kss_id\":\"{found}\",\"card\":null}}"),
    ] {
        let router = Router::new().route(KEYSERVER_PATH, get(async || body));
        let server = TestServer::start(router, ListenerLimits::default()).await;
        let error = fetch_keyserver(&client(server.url()), &found).await;
        assert!(
            matches!(error, Err(FetchKeyserverError::Malformed(_))),
            "{error:?}"
        );
    }
}
