use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Router, http::StatusCode};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{connection::Connections, mutual_tls::TlsListener};

/// How many clients may be proving who they are at once. Further ones take the place of those that have been at
/// it longest: who says nothing keeps nobody out.
pub(super) const PROVING: usize = 256;

/// How long to wait after the operating system refused to hand out a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What one listener lets its clients take up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerLimits {
    /// Connections open at once. Further ones wait in the operating system's accept queue, where they
    /// cost this process nothing, until one closes.
    ///
    /// The default, 768, leaves room under the 1024 descriptors of a process for which nobody raised
    /// the limit.
    pub connections: usize,
    /// From the first byte of a request to the end of its head (for the first request: from the
    /// connection's start). Default 10 s.
    pub head_timeout: Duration,
    /// Bytes of a request's head; more (give or take what one read brings) is answered with 431.
    /// At least 8 KiB, default 32 KiB.
    pub head_bytes: usize,
    /// From the end of a request's head to the end of its body; later is answered with 408.
    /// Default 20 s.
    pub body_timeout: Duration,
    /// Bytes of a request's body; more is answered with 413. Default 2 MiB.
    pub body_bytes: usize,
    /// Bytes of all bodies held at once; more is answered with 503. Default 256 MiB.
    pub body_bytes_total: usize,
    /// How long a connection may stay open between two requests. Default 75 s, which is more than the
    /// usual load balancer's 60 s.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of an answer that waits for it. Default 20 s.
    pub write_timeout: Duration,
    /// How long requests in flight may still take after shutdown was asked for. Default 20 s.
    pub drain_timeout: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 768,
            head_timeout: Duration::from_secs(10),
            head_bytes: 32 << 10,
            body_timeout: Duration::from_secs(20),
            body_bytes: 2 << 20,
            body_bytes_total: 256 << 20,
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// A bound socket on which connections arrive.
#[derive(Debug)]
pub enum Listener {
    /// TCP. Nagle's algorithm is switched off on its connections.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
    /// TCP, for clients that prove who they are.
    Tls(TlsListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<TlsListener> for Listener {
    fn from(listener: TlsListener) -> Self {
        Self::Tls(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Who is at the other end of a connection. Every request carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP client, or the load balancer before it.
    Tcp(SocketAddr),
    /// A process on this machine.
    Unix {
        /// The user that the process runs as, where the operating system says.
        uid: Option<u32>,
    },
}

/// What answers at a listener: a router, and whoever is told of requests that it never sees.
#[derive(Clone)]
pub struct Site {
    pub(super) router: Router,
    pub(super) refused: Arc<dyn Fn(StatusCode) + Send + Sync>,
}

impl Site {
    /// The router's answers. `refused` is told the status of each request that is refused before its head
    /// and body are complete.
    pub fn new(router: Router, refused: impl Fn(StatusCode) + Send + Sync + 'static) -> Self {
        Self {
            router,
            refused: Arc::new(refused),
        }
    }
}

impl From<Router> for Site {
    fn from(router: Router) -> Self {
        Self::new(router, |_| ())
    }
}

/// How a listener came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut off at the drain deadline.
    pub cut_off: usize,
}

/// Serves `site` on `listener` until `shutdown` completes, then drains.
///
/// Only HTTP/1 is spoken. A request is handed to the router when its body is complete, so no handler
/// waits for a client. Draining means: the listener closes, so new connections are refused; idle
/// connections close; requests in flight are answered, until the drain deadline cuts them off.
pub async fn serve(
    listener: impl Into<Listener>,
    site: impl Into<Site>,
    limits: ListenerLimits,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let (stop, stopped) = watch::channel(false);
    let drain_timeout = limits.drain_timeout;
    let mut connections = JoinSet::new();
    let accepting = accept(
        listener.into(),
        Connections::new(site.into(), limits, stopped),
        &mut connections,
    );
    tokio::select! {
        biased;
        () = shutdown => {}
        () = accepting => {}
    }
    // The listener is closed by now. A receiver is gone only with its connection.
    let _ = stop.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(drain_timeout, drained).await;
    while connections.try_join_next().is_some() {}
    let cut_off = connections.len();
    connections.shutdown().await;
    Drained { cut_off }
}

/// Takes connections in for ever, each into a task of its own.
async fn accept(listener: Listener, connections: Connections, tasks: &mut JoinSet<()>) {
    let slots = Arc::new(Semaphore::new(connections.limits().connections));
    if let Listener::Tls(listener) = &listener {
        return accept_tls(listener, &slots, &connections, tasks).await;
    }
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while tasks.try_join_next().is_some() {}
        let accepted = accept_one(&listener, slot, &connections, tasks).await;
        if let Err(error) = accepted
            && !is_of_one_connection(&error)
        {
            tracing::warn!(%error, "cannot accept connections");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// The same for clients that prove who they are first: only then each takes a place among the connections.
async fn accept_tls(
    TlsListener { tcp, tls }: &TlsListener,
    slots: &Arc<Semaphore>,
    connections: &Connections,
    tasks: &mut JoinSet<()>,
) {
    let mut proving: VecDeque<Weak<Notify>> = VecDeque::new();
    loop {
        let accepted = tcp.accept().await;
        while tasks.try_join_next().is_some() {}
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        proving.retain(|other| other.strong_count() > 0);
        if proving.len() >= PROVING
            && let Some(oldest) = proving.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.notify_one();
        }
        let gives_way = Arc::new(Notify::new());
        proving.push_back(Arc::downgrade(&gives_way));
        let (tls, slots) = (tls.clone(), Arc::clone(slots));
        tasks.spawn(connections.run_tls(stream, tls, Peer::Tcp(address), slots, gives_way));
    }
}

async fn accept_one(
    listener: &Listener,
    slot: OwnedSemaphorePermit,
    connections: &Connections,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tasks.spawn(connections.run(stream, Peer::Tcp(address), slot));
        }
        // It takes no place among the connections before it has proved who it is.
        Listener::Tls(_) => {}
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let uid = stream.peer_cred().ok().map(|peer| peer.uid());
            tasks.spawn(connections.run(stream, Peer::Unix { uid }, slot));
        }
    }
    Ok(())
}

/// Whether the error concerns a connection that went away before it was accepted, and nothing else.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests;
