use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    body::Bytes,
    extract::Extension,
    routing::{get, post},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify, time::interval};

use super::*;
use crate::http::{
    JsonClient, JsonError,
    testing::{PATIENCE, SHORT, TestServer, within},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn limits() -> ListenerLimits {
    ListenerLimits::default()
}

/// Says hello, and how long the body was.
fn echo() -> Router {
    Router::new()
        .route("/", get(async || "hello"))
        .route("/", post(async |body: Bytes| body.len().to_string()))
}

fn post_of(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let server = TestServer::start(echo(), limits()).await;
    let mut client = server.connect().await;
    for length in [0, 1, 100_000] {
        client.send(GET).await;
        assert!(client.read_answer().await.ends_with("hello"));
        client.send(post_of(length)).await;
        client.send("x".repeat(length)).await;
        let answer = client.read_answer().await;
        assert!(answer.ends_with(&format!("\r\n\r\n{length}")), "{answer}");
    }
}

#[tokio::test]
async fn handlers_see_the_peer() {
    let router = Router::new().route(
        "/",
        get(async |Extension(peer): Extension<Peer>| format!("{peer:?}")),
    );
    let server = TestServer::start(router, limits()).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    let port = client.0.local_addr().unwrap().port();
    let answer = client.read_answer().await;
    assert!(
        answer.ends_with(&format!("Tcp(127.0.0.1:{port})")),
        "{answer}"
    );
}

#[tokio::test]
async fn slow_heads_are_cut_off() {
    assert_eq!(limits().head_timeout, Duration::from_secs(10));
    let mut limits = limits();
    limits.head_timeout = SHORT;
    let server = TestServer::start(echo(), limits).await;
    for beginning in [
        "",
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(beginning).await;
        assert_eq!(client.read_to_end().await, "");
    }
}

#[tokio::test]
async fn a_slow_second_head_is_cut_off() {
    let mut limits = limits();
    limits.head_timeout = 5 * SHORT;
    let server = TestServer::start(echo(), limits).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    client.read_answer().await;
    client.send("GET /").await;
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off() {
    let mut limits = limits();
    limits.head_timeout = SHORT;
    let server = TestServer::start(echo(), limits).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\n").await;
    let mut tick = interval(SHORT / 10);
    within(async {
        while client.0.write_all(b"x: y\r\n").await.is_ok() {
            tick.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn slow_bodies_are_answered_with_408() {
    let mut limits = limits();
    limits.body_timeout = SHORT;
    let server = TestServer::start(echo(), limits).await;
    let mut client = server.connect().await;
    client.send(post_of(10) + "12345").await;
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn bodies_above_the_limit_are_answered_with_413() {
    let mut limits = limits();
    limits.body_bytes = 10;
    let server = TestServer::start(echo(), limits).await;
    let mut client = server.connect().await;
    client.send(post_of(10) + "1234567890").await;
    assert!(client.read_answer().await.ends_with("\r\n\r\n10"));
    client.send(post_of(11)).await;
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_writes_before_it_reads_sees_the_refusal() {
    let mut limits = limits();
    limits.body_bytes = 10;
    let server = TestServer::start(echo(), limits).await;
    let mut client = server.connect().await;
    client.send(post_of(32 << 20)).await;
    for _ in 0..32 {
        within(client.send(vec![0; 1 << 20])).await;
    }
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_stops_writing_is_cut_off() {
    let mut limits = limits();
    limits.body_bytes = 10;
    limits.write_timeout = SHORT;
    let server = TestServer::start(echo(), limits).await;
    let mut client = server.connect().await;
    client.send(post_of(usize::MAX / 2)).await;
    within(async { while client.0.write_all(&[0; 1 << 20]).await.is_ok() {} }).await;
}

#[tokio::test]
async fn bodies_beyond_the_memory_for_all_are_answered_with_503() {
    let mut limits = limits();
    limits.body_bytes_total = 100;
    let server = TestServer::start(echo(), limits).await;
    let mut first = server.connect().await;
    first.send(post_of(80) + &"x".repeat(79)).await;
    // Until the first body's bytes have arrived there is room for the second.
    within(async {
        loop {
            let mut second = server.connect().await;
            second.send(post_of(80) + &"x".repeat(80)).await;
            let answer = second.read_answer().await;
            if answer.starts_with("HTTP/1.1 503 ") {
                assert!(answer.contains("retry-after: 1"), "{answer}");
                break;
            }
        }
    })
    .await;
    first.send("x").await;
    assert!(first.read_answer().await.ends_with("\r\n\r\n80"));
    // An answered body holds nothing.
    first.send(post_of(100) + &"x".repeat(100)).await;
    assert!(first.read_answer().await.ends_with("\r\n\r\n100"));
}

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let router = Router::new().fallback(async move |_: Bytes| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let server = TestServer::start(router, limits()).await;
    let smuggled = format!("0\r\n\r\n{GET}");
    let length = smuggled.len();
    for headers in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        "Transfer-Encoding: chunked".into(),
        "Transfer-Encoding: identity".into(),
        "Transfer-Encoding: chunked, identity".into(),
        "Transfer-Encoding:\tchunked".into(),
        "Transfer-Encoding : chunked".into(),
        "Content-Length: 5\r\nContent-Length: 6".into(),
        "Content-Length: 5, 6".into(),
        "Content-Length: +5".into(),
        "Content-Length: -5".into(),
        "Content-Length: 0x5".into(),
        "Content-Length: 99999999999999999999".into(),
        "Content-Length:".into(),
        "Content-Length: 5\r\n folded".into(),
        "Name: nul\0".into(),
        "Name\0: nul".into(),
        "no colon".into(),
        format!("Large: {}", "x".repeat(128 << 10)),
        "Many: x\r\n".repeat(200) + "Last: x",
    ] {
        let mut client = server.connect().await;
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{smuggled}");
        // The server may have closed before all is written.
        let _ = client.0.write_all(request.as_bytes()).await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{headers:.80}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{headers:.80}");
    }
    for garbage in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(garbage).await;
        let _ = client.0.shutdown().await;
        let answer = client.read_to_end().await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_eq!(handled.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let mut limits = limits();
    limits.idle_timeout = SHORT;
    let server = TestServer::start(echo(), limits).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(client.read_to_end().await.ends_with("hello"));
}

#[tokio::test]
async fn handlers_may_take_longer_than_any_of_these() {
    let mut limits = limits();
    limits.head_timeout = 5 * SHORT;
    limits.body_timeout = 5 * SHORT;
    limits.idle_timeout = 5 * SHORT;
    limits.write_timeout = 5 * SHORT;
    let slow = async || {
        sleep(8 * SHORT).await;
        "late"
    };
    let server = TestServer::start(Router::new().route("/", get(slow)), limits).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(client.read_answer().await.ends_with("late"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let mut limits = limits();
    limits.connections = 1;
    limits.write_timeout = SHORT;
    let router = echo().route("/large", get(async || vec![0_u8; 64 << 20]));
    let server = TestServer::start(router, limits).await;
    let mut greedy = server.connect().await;
    greedy.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // The only slot is free again when the greedy client has lost it.
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(client.read_answer().await.ends_with("hello"));
}

#[tokio::test]
async fn connections_past_the_cap_wait_for_a_slot() {
    let mut limits = limits();
    limits.connections = 4;
    limits.head_timeout = SHORT;
    let server = TestServer::start(echo(), limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(server.connect().await);
    }
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(client.read_answer().await.ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_client_works_beside_many_slow_ones() {
    let server = TestServer::start(echo(), limits()).await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut client = server.connect().await;
        client
            .send(match number % 3 {
                0 => "",
                1 => "GET / HTTP/1.1\r\nHost:",
                _ => "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx",
            })
            .await;
        slow.push(client);
    }
    let mut client = server.connect().await;
    for _ in 0..100 {
        client.send(GET).await;
        assert!(client.read_answer().await.ends_with("hello"));
    }
}

/// A handler that says when it has begun, and answers when it may.
fn gated(begun: &Arc<Notify>, may: &Arc<Notify>) -> Router {
    let (begun, may) = (Arc::clone(begun), Arc::clone(may));
    let handler = async move || {
        begun.notify_one();
        may.notified().await;
        "done"
    };
    Router::new().route("/", get(handler))
}

#[tokio::test]
async fn drain_finishes_requests_in_flight_and_refuses_new_connections() {
    let (begun, may) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = gated(&begun, &may).route("/quick", get(async || "quick"));
    let server = TestServer::start(router, limits()).await;
    let address = server.address;
    let mut idle = server.connect().await;
    idle.send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.read_answer().await;
    let mut silent = server.connect().await;
    let mut client = server.connect().await;
    client.send(GET).await;
    within(begun.notified()).await;

    let stopped = server.stop();
    assert_eq!(idle.read_to_end().await, "");
    assert_eq!(silent.read_to_end().await, "");
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!stopped.is_finished());
    may.notify_one();
    let answer = client.read_to_end().await;
    assert!(answer.ends_with("done"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(within(stopped).await.unwrap(), Drained { cut_off: 0 });
}

#[tokio::test]
async fn drain_ends_at_its_deadline() {
    let (begun, never) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut limits = limits();
    limits.drain_timeout = SHORT;
    let server = TestServer::start(gated(&begun, &never), limits).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    within(begun.notified()).await;
    let drained = within(server.stop()).await.unwrap();
    assert_eq!(drained, Drained { cut_off: 1 });
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn unix_sockets_are_served_and_name_their_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let router = Router::new().route(
        "/",
        get(async |Extension(peer): Extension<Peer>| match peer {
            Peer::Unix { uid: Some(_) } => "known",
            _ => "unknown",
        }),
    );
    let server = serve(listener, router, limits(), std::future::pending());
    let ask = async {
        let client = JsonClient::unix(&path, PATIENCE);
        client.get::<String>("/").await
    };
    tokio::select! {
        _ = server => unreachable!("never asked to stop"),
        answer = ask => {
            // Plain text is not JSON: the answer is there, but malformed.
            assert!(matches!(answer, Err(JsonError::Malformed(_))));
        }
    }
}

#[test]
fn errors_of_single_connections_are_told_from_those_of_the_listener() {
    assert!(is_of_one_connection(
        &io::ErrorKind::ConnectionAborted.into()
    ));
    assert!(!is_of_one_connection(&io::Error::from_raw_os_error(24)));
}
