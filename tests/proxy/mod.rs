//! A TCP proxy on loopback that a test makes fail.

#![allow(clippy::disallowed_methods, reason = "faults last for a time")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How bytes go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As they come.
    Open,
    /// Each piece a while later.
    #[allow(dead_code, reason = "each test uses a part")]
    Slow,
    /// Not at all, and nobody is told.
    Swallows,
    /// New connections are closed at once.
    Shut,
}

/// A proxy in front of a port of this machine.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    port: Mutex<u16>,
    way: Mutex<Way>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Begins to listen. It ends with the process of the test.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            port: Mutex::new(port),
            way: Mutex::new(Way::Open),
            streams: Mutex::default(),
        });
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if state.way() == Way::Shut {
                    continue;
                }
                let port = *state.port.lock().unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                state.join(client, server);
            }
        });
        Self { port: own, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, way: Way) {
        *self.shared.way.lock().unwrap() = way;
    }

    /// Leads to another port from now on, and cuts what was open.
    #[allow(dead_code, reason = "each test uses a part")]
    pub(crate) fn lead_to(&self, port: u16) {
        *self.shared.port.lock().unwrap() = port;
        self.reset();
    }

    /// Cuts every connection that is open.
    pub(crate) fn reset(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn way(&self) -> Way {
        *self.way.lock().unwrap()
    }

    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let ends = [
            (client.try_clone().unwrap(), server.try_clone().unwrap()),
            (server.try_clone().unwrap(), client.try_clone().unwrap()),
        ];
        self.streams.lock().unwrap().extend([client, server]);
        for (from, to) in ends {
            let state = Arc::clone(self);
            thread::spawn(move || state.carry(from, to));
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(read) = from.read(&mut bytes) {
            match self.way() {
                Way::Swallows if read > 0 => continue,
                Way::Swallows => break,
                Way::Slow => thread::sleep(Duration::from_millis(20)),
                Way::Open | Way::Shut => {}
            }
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
