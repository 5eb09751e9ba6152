//! What a network can bring: bytes that are no request, too many, too slow, and a stop in between.
//!
//! Seen to fail: with `body_bytes` at its greatest, 34 MB are taken in and the memory shows it; with
//! the check of `Transfer-Encoding` gone, chunked bodies are answered; with `in_flight` at its default,
//! nothing is turned away; with the drain gone, the request in flight has no answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use ostrakon_shards::random;
use ostrakon_testkit::{
    APPROVE_ALL, Keyserver, Serve, TestHome, TestUser, daily_limit,
    http::{self, connect, envelope_request, exchange, get, read_answer},
    user::opened,
};

const TYPE: &str = "content-type: application/ostrakon-envelope";

/// The status of the answer; none where the connection ends without one.
fn status(at: SocketAddr, bytes: &[u8]) -> Option<u16> {
    exchange(at, bytes).ok().map(|answer| answer.status)
}

#[test]
fn what_is_no_request_is_refused_within_bounds() {
    let home = TestHome::create(APPROVE_ALL);
    let mut server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    let (envelope, _) = user.seal(&user.body(vec![file.item()]));
    let length = envelope.len();
    let request = |head: &str| [head.as_bytes(), b"\r\n\r\n", &envelope].concat();
    let post = "POST /v1/requests HTTP/1.1\r\nhost: x";

    // Each whole envelope below is good: whatever is not refused would release a shard.
    type Case<'a> = (&'a str, Vec<u8>, &'a [Option<u16>]);
    let cases: Vec<Case<'_>> = vec![
        (
            "no type",
            request(&format!("{post}\r\ncontent-length: {length}")),
            &[Some(415)],
        ),
        (
            "another type",
            request(&format!(
                "{post}\r\ncontent-type: application/json\r\ncontent-length: {length}"
            )),
            &[Some(415)],
        ),
        (
            "no length",
            request(&format!("{post}\r\n{TYPE}")),
            &[Some(400)],
        ),
        (
            "two lengths",
            request(&format!(
                "{post}\r\n{TYPE}\r\ncontent-length: {length}\r\ncontent-length: 5"
            )),
            &[Some(400)],
        ),
        (
            "a list of lengths",
            request(&format!("{post}\r\n{TYPE}\r\ncontent-length: {length}, 5")),
            &[Some(400)],
        ),
        (
            "negative length",
            request(&format!("{post}\r\n{TYPE}\r\ncontent-length: -1")),
            &[Some(400)],
        ),
        (
            "signed length",
            request(&format!("{post}\r\n{TYPE}\r\ncontent-length: +{length}")),
            &[Some(400)],
        ),
        (
            "hexadecimal length",
            request(&format!("{post}\r\n{TYPE}\r\ncontent-length: 0x10")),
            &[Some(400)],
        ),
        (
            "length of 2^64",
            request(&format!(
                "{post}\r\n{TYPE}\r\ncontent-length: 18446744073709551616"
            )),
            &[Some(400), Some(413), Some(431)],
        ),
        (
            "length of 2^64 - 1",
            request(&format!(
                "{post}\r\n{TYPE}\r\ncontent-length: 18446744073709551615"
            )),
            &[Some(400), Some(413), Some(431)],
        ),
        (
            "length of 1 TB",
            request(&format!(
                "{post}\r\n{TYPE}\r\ncontent-length: 1000000000000"
            )),
            &[Some(413)],
        ),
        (
            "length and chunks",
            request(&format!(
                "{post}\r\n{TYPE}\r\ncontent-length: {length}\r\ntransfer-encoding: chunked"
            )),
            &[Some(400), Some(411)],
        ),
        (
            "chunks and length",
            request(&format!(
                "{post}\r\n{TYPE}\r\ntransfer-encoding: chunked\r\ncontent-length: {length}"
            )),
            &[Some(400), Some(411)],
        ),
        (
            "chunks",
            [
                format!("{post}\r\n{TYPE}\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n")
                    .as_bytes(),
                &envelope,
                b"\r\n0\r\n\r\n",
            ]
            .concat(),
            &[Some(411)],
        ),
        (
            "chunks of 2^64",
            [
                format!(
                    "{post}\r\n{TYPE}\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"
                )
                .as_bytes(),
                &envelope,
            ]
            .concat(),
            &[Some(411)],
        ),
        (
            "an unknown coding",
            request(&format!(
                "{post}\r\n{TYPE}\r\ntransfer-encoding: xchunked\r\ncontent-length: {length}"
            )),
            &[Some(400), Some(411)],
        ),
        (
            "a folded header",
            request(&format!(
                "{post}\r\n{TYPE}\r\nx: a\r\n b\r\ncontent-length: {length}"
            )),
            &[Some(400)],
        ),
        (
            "a space before the colon",
            request(&format!("{post}\r\n{TYPE}\r\ncontent-length : {length}")),
            &[Some(400)],
        ),
        (
            "a NUL in a header",
            request(&format!(
                "{post}\r\n{TYPE}\r\nx: a\0b\r\ncontent-length: {length}"
            )),
            &[Some(400)],
        ),
        (
            "a method that is none",
            b"\x00\x01 / HTTP/1.1\r\n\r\n".to_vec(),
            &[Some(400)],
        ),
        (
            "HTTP/3",
            b"GET /healthz HTTP/3.0\r\n\r\n".to_vec(),
            &[Some(400)],
        ),
        (
            "an HTTP/2 preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            &[Some(400), None],
        ),
        (
            "a TLS greeting",
            [
                &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
                &random::array::<300>().unwrap(),
                b"\r\n\r\n",
            ]
            .concat(),
            &[Some(400), None],
        ),
        (
            "random bytes",
            [&random::array::<4096>().unwrap()[..], b"\r\n\r\n"].concat(),
            &[Some(400), None],
        ),
        (
            "a long path",
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes(),
            &[Some(414), Some(431), Some(400)],
        ),
        (
            "a long header",
            format!("{post}\r\nx: {}\r\n\r\n", "a".repeat(200_000)).into_bytes(),
            &[Some(431), Some(400), None],
        ),
        (
            "many headers",
            format!("{post}\r\n{}\r\n", "x: y\r\n".repeat(5_000)).into_bytes(),
            &[Some(431), Some(400), None],
        ),
        (
            "another method",
            b"GET /v1/requests HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            &[Some(405)],
        ),
        (
            "another path",
            b"GET /v1/../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            &[Some(404)],
        ),
        (
            "another host's",
            b"GET http://elsewhere/v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            &[Some(404)],
        ),
        (
            "a tunnel",
            b"CONNECT localhost:1 HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            &[Some(404), Some(405), Some(400)],
        ),
        (
            "the administration's path",
            b"POST /disable HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
            &[Some(404)],
        ),
        (
            "the administration's policy",
            b"GET /policy HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            &[Some(404)],
        ),
    ];
    for (what, bytes, expected) in &cases {
        let status = status(at, bytes);
        assert!(expected.contains(&status), "{what}: {status:?}");
    }
    // A bare LF may end a line (RFC 9112, 2.2), but must not make two requests of one.
    let smuggled = format!(
        "{post}\n{TYPE}\ncontent-length: {length}\n\nGET /v1/keyserver HTTP/1.1\r\nhost: x\r\n\r\n"
    );
    let mut stream = connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    stream.write_all(smuggled.as_bytes()).unwrap();
    // The second request is the body of the first, which is not complete: no answer at all, or 400.
    if let Ok(answer) = read_answer(&mut stream) {
        assert_eq!(answer.status, 400);
    }
    drop(stream);
    // `Expect: 100-continue` on a body that is too large is answered before the body is sent.
    let expects =
        format!("{post}\r\n{TYPE}\r\nexpect: 100-continue\r\ncontent-length: 34000000\r\n\r\n");
    assert_eq!(status(at, expects.as_bytes()), Some(413));
    // On a good one it is heeded.
    let mut stream = connect(at).unwrap();
    let expects =
        format!("{post}\r\n{TYPE}\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(expects.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 100);
    stream.write_all(&envelope).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);

    // 34 MB, announced, and sent all the same, by several at once.
    let before = server.peak_memory();
    let huge = vec![0; 34_000_000];
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let status = status(at, &envelope_request(&huge));
                // A client that does not listen while it sends may find its connection gone.
                assert!(matches!(status, Some(413) | None), "{status:?}");
            });
        }
    });
    let grown = server.peak_memory() - before;
    assert!(grown < 20_000, "{grown} KiB more after refused bodies");
    // After all that it serves, and has ended no thread in a panic.
    assert!(user.decrypt(at, &file).is(&file));
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().0.success());
}

#[test]
fn slow_clients_do_not_keep_others_out() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Serve::on(&home)
        .with("OSTRAKON_LIMITS_HEAD_SECONDS", "2")
        .with("OSTRAKON_LIMITS_BODY_SECONDS", "2")
        .start();
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    let slow_head = b"POST /v1/requests HTTP/1.1\r\nhost: x\r\nx: ";
    let slow_body = format!(
        "POST /v1/requests HTTP/1.1\r\nhost: x\r\n{TYPE}\r\ncontent-length: 2000000\r\n\r\n"
    );
    let mut slow: Vec<TcpStream> = Vec::new();
    for number in 0..200 {
        let mut stream = connect(at).unwrap();
        let begun: &[u8] = match number % 3 {
            0 => slow_head,
            1 => slow_body.as_bytes(),
            _ => b"",
        };
        stream.write_all(begun).unwrap();
        slow.push(stream);
    }
    let before = server.peak_memory();
    for _ in 0..30 {
        assert!(user.decrypt(at, &file).is(&file));
        for stream in &mut slow {
            // Drip; those that were cut off already may say so.
            let _ = stream.write(b"a");
        }
    }
    assert!(server.peak_memory() - before < 50_000);
    // Each of them is cut off, heads and bodies after 2 seconds.
    for (number, stream) in slow.iter_mut().enumerate() {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut rest = Vec::new();
        let ended = match stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(ended, "connection {number} is open still");
    }
    assert!(user.decrypt(at, &file).is(&file));
}

#[test]
fn past_the_bound_requests_are_turned_away_and_lose_nothing() {
    const CLIENTS: usize = 24;
    let home = TestHome::create(&daily_limit(1000));
    let server = Serve::on(&home)
        .with("OSTRAKON_LIMITS_IN_FLIGHT", "1")
        .start();
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let (mut turned_away, mut asked) = (0, 0);
    // Whether requests meet is up to the scheduler: until some have.
    for _ in 0..20 {
        let outcomes: Vec<bool> = thread::scope(|scope| {
            let asking: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    scope.spawn(|| {
                        let file = user.file("Public/a");
                        let (envelope, pending) = user.seal(&user.body(vec![file.item()]));
                        let mut refused = false;
                        loop {
                            let answer = http::post(at, &envelope).unwrap();
                            if answer.status != 503 {
                                assert!(opened(&answer, &pending).is(&file));
                                return refused;
                            }
                            assert_eq!(answer.header("retry-after"), Some("1"));
                            // Others are looked after meanwhile.
                            assert_eq!(get(at, "/healthz").unwrap().status, 200);
                            refused = true;
                        }
                    })
                })
                .collect();
            asking
                .into_iter()
                .map(|asked| asked.join().unwrap())
                .collect()
        });
        asked += CLIENTS as u64;
        turned_away += outcomes.iter().filter(|&&refused| refused).count();
        if turned_away > 0 {
            break;
        }
    }
    assert!(turned_away > 0, "nobody was turned away");
    server.stop();
    let records = home.records();
    assert_eq!(records.counted(&user.profile), asked);
    assert_eq!(records.released().len() as u64, asked);
}

#[test]
fn what_is_under_way_at_sigterm_is_answered() {
    let home = TestHome::create(APPROVE_ALL);
    let mut server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    let (envelope, pending) = user.seal(&user.body(vec![file.item()]));
    let request = envelope_request(&envelope);
    let mut under_way = connect(at).unwrap();
    under_way.write_all(&request[..request.len() - 1]).unwrap();
    let mut idle = connect(at).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut idle).unwrap().status, 200);
    let at_once = server.log();
    server.signal(rustix::process::Signal::TERM);
    // The idle connection is closed: so the signal has arrived.
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    assert!(get(at, "/healthz").is_err(), "a new connection is served");
    under_way.write_all(&request[request.len() - 1..]).unwrap();
    let answer = read_answer(&mut under_way).unwrap();
    assert!(opened(&answer, &pending).is(&file));
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log[at_once.len()..].contains("stopped cut_off=0"), "{log}");
    assert!(!home.home().socket().exists());
    assert_eq!(home.records().released().len(), 1);
}

#[test]
fn a_stop_right_at_the_start_is_a_graceful_one() {
    let home = TestHome::create(APPROVE_ALL);
    for _ in 0..5 {
        let mut command = Serve::on(&home).command();
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        // The instant at which the line is there.
        std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
        assert!(line.contains("serving"), "{line}");
        ostrakon_testkit::keyserver::send_signal(child.id(), rustix::process::Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(0), "ended by the signal");
    }
}
