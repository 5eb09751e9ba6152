//! A way to the database that counts what goes over it.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

pub struct Proxy {
    port: u16,
    pub seen: Arc<Seen>,
}

/// What went over all connections so far.
#[derive(Default)]
pub struct Seen {
    pub sent: AtomicU64,
    pub received: AtomicU64,
    /// How often something was sent after something was received: how often it was waited for an answer.
    pub turns: AtomicU64,
}

impl Proxy {
    /// Listens for connections to the local port `to`, for as long as the process lives.
    pub fn to(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Seen::default());
        let seen_by_it = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who loses a connection tells it.
                let _ = connect(&client, to, &seen_by_it);
            }
        });
        Ok(Self { port, seen })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

fn connect(client: &TcpStream, to: u16, seen: &Arc<Seen>) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", to))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let answered = Arc::new(AtomicBool::new(true));
    let (up, down) = (Arc::clone(seen), Arc::clone(seen));
    let (asks, answers) = (Arc::clone(&answered), answered);
    let sent = move |count| {
        up.sent.fetch_add(count, Relaxed);
        if asks.swap(false, Relaxed) {
            up.turns.fetch_add(1, Relaxed);
        }
    };
    let received = move |count| {
        down.received.fetch_add(count, Relaxed);
        answers.store(true, Relaxed);
    };
    carry(client.try_clone()?, server.try_clone()?, sent);
    carry(server, client.try_clone()?, received);
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream, seen: impl Fn(u64) + Send + 'static) {
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            seen(count as u64);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
