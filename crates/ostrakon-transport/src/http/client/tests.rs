use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, response::IntoResponse, routing::post};
use hyper::{Method, StatusCode, header::RETRY_AFTER, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::http::{
    ListenerLimits,
    testing::{PATIENCE, SHORT, TestServer, within},
};

fn question() -> Request<Bytes> {
    Request::builder()
        .method(Method::POST)
        .uri("/ask?now")
        .body(Bytes::from_static(b"question"))
        .unwrap()
}

fn client(urls: &[&BaseUrl]) -> HttpClient {
    let mut config = ClientConfig::new(urls.iter().copied().cloned().collect());
    config.deadline = PATIENCE;
    HttpClient::new(config).unwrap()
}

/// A server that answers with `status`, `name`, and what it was asked.
async fn server(name: &'static str, status: StatusCode) -> TestServer {
    let handler = async move |body: String| (status, format!("{name}: {body}"));
    let router = Router::new().route("/ask", post(handler));
    TestServer::start(router, ListenerLimits::default()).await
}

/// A server that sends `bytes` to whoever connects, and hangs up.
async fn rude(bytes: &'static [u8]) -> BaseUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url_of(&listener, "http");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(bytes).await;
        }
    });
    url
}

fn url_of(listener: &TcpListener, scheme: &str) -> BaseUrl {
    let port = listener.local_addr().unwrap().port();
    format!("{scheme}://127.0.0.1:{port}").parse().unwrap()
}

/// The address of a port at which nobody listens.
async fn nobody() -> BaseUrl {
    url_of(&TcpListener::bind("127.0.0.1:0").await.unwrap(), "http")
}

#[tokio::test]
async fn the_first_server_that_answers_answers() {
    let [first, second] = [
        server("1", StatusCode::OK).await,
        server("2", StatusCode::OK).await,
    ];
    let client = client(&[&first.url(), &second.url()]);
    for _ in 0..2 {
        let answer = client.send(&question()).await.unwrap();
        assert_eq!(answer.body(), "1: question");
    }
    first.stop().await.unwrap();
    let answer = client.send(&question()).await.unwrap();
    assert_eq!(answer.body(), "2: question");
}

#[tokio::test]
async fn servers_that_do_not_answer_are_passed_over() {
    let good = server("good", StatusCode::OK).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unavailable = server("no", StatusCode::SERVICE_UNAVAILABLE).await;
    let mut config = ClientConfig::new(vec![
        nobody().await,
        rude(b"").await,
        rude(b"\0\x01garbage\r\n\r\n").await,
        rude(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut").await,
        rude(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n").await,
        url_of(&silent, "http"),
        unavailable.url(),
        server("no", StatusCode::BAD_GATEWAY).await.url(),
        server("no", StatusCode::GATEWAY_TIMEOUT).await.url(),
        good.url(),
    ]);
    config.attempt_timeout = 5 * SHORT;
    config.response_bytes = 1000;
    let client = HttpClient::new(config).unwrap();
    let answer = within(client.send(&question())).await.unwrap();
    assert_eq!(answer.body(), "good: question");
}

#[tokio::test]
async fn every_other_status_is_the_answer() {
    let never = server("never", StatusCode::OK).await;
    for status in [200, 204, 301, 400, 403, 404, 408, 413, 429, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let server = server("first", status).await;
        let answer = client(&[&server.url(), &never.url()])
            .send(&question())
            .await
            .unwrap();
        assert_eq!(answer.status(), status);
        assert!(!answer.body().starts_with(b"never"));
    }
}

#[tokio::test]
async fn all_servers_are_tried_again_after_a_pause() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tries);
    let handler = async move |body: String| match counter.fetch_add(1, Ordering::Relaxed) {
        0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => body.into_response(),
    };
    let router = Router::new().route("/ask", post(handler));
    let server = TestServer::start(router, ListenerLimits::default()).await;
    let answer = client(&[&nobody().await, &server.url()])
        .send(&question())
        .await
        .unwrap();
    assert_eq!(answer.body(), "question");
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_wish_to_wait_beyond_the_deadline_ends_the_tries() {
    let handler = async || (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "3600")]);
    let router = Router::new().route("/ask", post(handler));
    let server = TestServer::start(router, ListenerLimits::default()).await;
    let client = client(&[&server.url(), &nobody().await]);
    let error = within(client.send(&question())).await.unwrap_err();
    assert!(matches!(error, RequestError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn the_deadline_holds() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (url, expected) in [
        (nobody().await, "cannot connect"),
        (url_of(&silent, "http"), "no answer in time"),
        (rude(b"").await, "connection broke"),
    ] {
        let mut config = ClientConfig::new(vec![url.clone()]);
        config.deadline = 5 * SHORT;
        let client = HttpClient::new(config).unwrap();
        let error = within(client.send(&question())).await.unwrap_err();
        assert!(error.to_string().ends_with(&format!("`{url}`")), "{error}");
        assert_eq!(error.source().unwrap().to_string(), expected);
    }
    let error = client(&[]).send(&question()).await.unwrap_err();
    assert!(matches!(error, RequestError::NoServer));
}

/// A TLS server for `127.0.0.1`, and its certificate in PEM.
async fn tls_server() -> (BaseUrl, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url_of(&listener, "https");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let hello = service_fn(async |_| {
                    Ok::<_, std::convert::Infallible>(Response::new("sealed".to_owned()))
                });
                let _ = http1::Builder::new().serve_connection(stream, hello).await;
            });
        }
    });
    (url, cert.pem())
}

#[tokio::test]
async fn https_servers_are_verified() {
    let (url, pem) = tls_server().await;
    let (_, other) = tls_server().await;
    let plain = server("plain", StatusCode::OK).await;
    let plain: BaseUrl = plain
        .url()
        .to_string()
        .replace("http:", "https:")
        .parse()
        .unwrap();
    for (url, roots, trusted) in [
        (&url, &pem, true),
        (&url, &other, false),
        (&plain, &pem, false),
    ] {
        let mut config = ClientConfig::new(vec![url.clone()]);
        config.extra_roots = roots.clone().into_bytes();
        config.deadline = 5 * SHORT;
        let client = HttpClient::new(config).unwrap();
        match client.send(&question()).await {
            Ok(answer) => assert!(trusted && answer.body() == "sealed"),
            Err(RequestError::NoAnswer { last, .. }) => {
                assert!(
                    !trusted && matches!(last, AttemptError::Connect(_)),
                    "{last:?}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn extra_roots_must_be_certificates() {
    let https = vec!["https://kss.example".parse().unwrap()];
    for roots in [
        "nothing",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let mut config = ClientConfig::new(https.clone());
        config.extra_roots = roots.into();
        assert!(HttpClient::new(config).is_err());
    }
}
