//! A server on a port of its own, and clients that say exactly what a test wants them to say.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::{BaseUrl, Drained, ListenerLimits, serve};

/// Longer than anything in a test takes; only a test that fails waits as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A deadline that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(100);

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

impl TestServer {
    pub(crate) async fn start(router: Router, limits: ListenerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel();
        let task = tokio::spawn(serve(listener, router, limits, async {
            let _ = asked.await;
        }));
        Self {
            address,
            shutdown,
            task,
        }
    }

    pub(crate) fn url(&self) -> BaseUrl {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(crate) async fn connect(&self) -> RawClient {
        RawClient(TcpStream::connect(self.address).await.unwrap())
    }

    /// Asks for shutdown; the result comes when the server is drained.
    pub(crate) fn stop(self) -> JoinHandle<Drained> {
        self.shutdown.send(()).unwrap();
        self.task
    }
}

pub(crate) struct RawClient(pub(crate) TcpStream);

impl RawClient {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// All that comes until the server closes. A reset after it is an end, too.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = within(self.0.read_to_end(&mut bytes)).await;
        String::from_utf8(bytes).unwrap()
    }

    /// One answer of `Content-Length` bytes, head and body.
    pub(crate) async fn read_answer(&mut self) -> String {
        let mut bytes = Vec::new();
        loop {
            bytes.push(within(self.0.read_u8()).await.unwrap());
            if let Some(head) = bytes.strip_suffix(b"\r\n\r\n") {
                let head = String::from_utf8(head.to_vec()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                let mut body = vec![0; length];
                within(self.0.read_exact(&mut body)).await.unwrap();
                return head + "\r\n\r\n" + &String::from_utf8(body).unwrap();
            }
        }
    }
}

/// Fails the test where `future` takes too long.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("takes too long")
}
