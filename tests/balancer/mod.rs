//! A load balancer on loopback, as small as one can be: connections go in turn to those that are ready.

#![allow(clippy::disallowed_methods, reason = "faults last for a time")]

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use ostrakon_testkit::http;

/// How often it asks who is ready.
const EVERY: Duration = Duration::from_millis(100);

/// A balancer that runs until the process of the test ends.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    backends: Arc<Vec<Backend>>,
}

struct Backend {
    address: SocketAddr,
    ready: AtomicBool,
}

impl Balancer {
    pub(crate) fn before(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let backend = |address| Backend {
            address,
            ready: AtomicBool::new(is_ready(address)),
        };
        let backends: Arc<Vec<_>> = Arc::new(addresses.into_iter().map(backend).collect());
        for number in 0..backends.len() {
            let backends = Arc::clone(&backends);
            thread::spawn(move || {
                loop {
                    let backend = &backends[number];
                    let ready = is_ready(backend.address);
                    backend.ready.store(ready, Ordering::Relaxed);
                    thread::sleep(EVERY);
                }
            });
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let to = Arc::clone(&backends);
        thread::spawn(move || {
            let turn = AtomicUsize::new(0);
            for client in listener.incoming().flatten() {
                let ready = |backend: &&Backend| backend.ready.load(Ordering::Relaxed);
                let ready: Vec<_> = to.iter().filter(ready).collect();
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                // Whom it picks gets the connection, or the client loses it: nothing is tried again.
                if let Some(backend) = ready.get(turn % ready.len().max(1))
                    && let Ok(server) = TcpStream::connect(backend.address)
                {
                    join(client, server);
                }
            }
        });
        Self { address, backends }
    }

    /// Whether it sends requests to an instance.
    pub(crate) fn uses(&self, number: usize) -> bool {
        self.backends[number].ready.load(Ordering::Relaxed)
    }
}

fn is_ready(address: SocketAddr) -> bool {
    http::get(address, "/readyz").is_ok_and(|answer| answer.status == 200)
}

fn join(client: TcpStream, server: TcpStream) {
    let ends = [
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    ];
    for (mut from, mut to) in ends {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
