//! A running server.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use ostrakon_server::{Clock, Config, Server};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_transport::binding::{Announcement, KEYSERVER_PATH};
use ostrakon_types::UnixMillis;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

use crate::{
    command::{binary, clean},
    home::{TestHome, block_on},
    http,
    output::Output,
};

/// How long a server may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// How a server is to be started.
#[derive(Debug)]
pub struct Serve<'a> {
    program: &'a str,
    home: &'a TestHome,
    listen: SocketAddr,
    variables: Vec<(String, String)>,
    under: Vec<String>,
}

/// The binary `keyserver`, running on a home. Killed when dropped.
#[derive(Debug)]
pub struct Keyserver {
    child: Child,
    stderr: Output,
    /// Where it answers.
    pub address: SocketAddr,
    /// Where administrators are heard, if anywhere.
    pub administration: Option<SocketAddr>,
    /// The server, as its clients know it.
    pub identity: VerifiedKeyserver,
}

impl<'a> Serve<'a> {
    /// On this home, on a port that the operating system chooses.
    #[must_use]
    pub fn on(home: &'a TestHome) -> Self {
        Self {
            program: "keyserver",
            home,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            variables: Vec::new(),
            under: Vec::new(),
        }
    }

    /// By another binary than `keyserver`.
    #[must_use]
    pub fn program(mut self, name: &'a str) -> Self {
        self.program = name;
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// On this address.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// As an argument of another command, which must become it (`exec`), so that it has its id.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> Command {
        let server = binary(self.program);
        let mut command = match self.under.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(server);
                command
            }
            None => Command::new(server),
        };
        clean(&mut command);
        command
            .arg("--home")
            .arg(self.home.path())
            .arg("serve")
            .env("OSTRAKON_LISTEN", self.listen.to_string())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Errors
    /// When it ends instead: what it wrote.
    pub fn try_start(self) -> Result<Keyserver, String> {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = Output::of(child.stderr.take().expect("piped"));
        let Some(address) = stderr.wait(LIMIT, serving_at) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(stderr.text());
        };
        // A server that is to be killed at a write may be so between its log line and this question.
        let Ok(answer) = http::get(address, KEYSERVER_PATH) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(stderr.text());
        };
        let announced: Announcement = serde_json::from_slice(&answer.body).expect("a card");
        let identity = announced.card.verify(&announced.kss_id).expect("its own");
        let administration = address_in(&stderr.text(), "administrators are heard");
        Ok(Keyserver {
            child,
            stderr,
            address,
            administration,
            identity,
        })
    }

    /// Starts the server and waits until it serves.
    #[must_use]
    pub fn start(self) -> Keyserver {
        self.try_start()
            .unwrap_or_else(|wrote| panic!("the server does not start:\n{wrote}"))
    }
}

fn serving_at(log: &str) -> Option<SocketAddr> {
    address_in(log, "serving")
}

/// The address in the log line that says so, in either format.
fn address_in(log: &str, said: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(said))?;
    let value = line
        .split_once("address=")
        .or_else(|| line.split_once("\"address\":\""))?
        .1;
    value.split([' ', '"']).next()?.parse().ok()
}

impl Keyserver {
    /// Starts the server on a home and waits until it serves.
    #[must_use]
    pub fn start(home: &TestHome) -> Self {
        Serve::on(home).start()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// Waits until it has written a line with this text.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_for_log(&self, text: &str) {
        let found = self
            .stderr
            .wait(LIMIT, |log| log.contains(text).then_some(()));
        assert!(found.is_some(), "no `{text}` in\n{}", self.log());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        send_signal(self.id(), signal);
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }

    /// Waits for the end, and gives the status and all that the server wrote.
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let ended = self.stderr.wait_end(LIMIT);
        assert!(ended, "the server does not end:\n{}", self.log());
        (self.child.wait().expect("an end"), self.log())
    }

    /// A line of `/proc/PID/status`.
    ///
    /// # Panics
    /// Where there is no such line.
    #[must_use]
    pub fn status_line(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.expect("such a line").1.trim().to_owned()
    }

    /// The most memory that it has had, in KiB.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let value = self.status_line("VmHWM");
        let number = value.split(' ').next().expect("a number");
        number.parse().expect("a number")
    }
}

impl Drop for Keyserver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub fn send_signal(id: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
    let _ = kill_process(id, signal);
}

/// A server in this process, with a clock that the test sets.
#[derive(Debug)]
pub struct LocalServer {
    /// Where it answers.
    pub address: SocketAddr,
    /// The server, as its clients know it.
    pub identity: VerifiedKeyserver,
    clock: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl LocalServer {
    /// Starts a server on a home, at a time of its own.
    #[must_use]
    pub fn start(home: &TestHome, at: UnixMillis) -> Self {
        let clock = Arc::new(AtomicI64::new(at.0));
        let shown = Arc::clone(&clock);
        let home = home.home();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            block_on(async move {
                let mut config = Config::default();
                config.listen = (Ipv4Addr::LOCALHOST, 0).into();
                let clock = Clock::from_fn(move || UnixMillis(shown.load(Ordering::SeqCst)));
                let server = Server::build(home, &config, clock).await.expect("a server");
                let address = server.address().expect("an address");
                let _ = ready.send((address, server.keyserver().clone()));
                server
                    .run(async {
                        let _ = stopped.await;
                    })
                    .await;
            });
        });
        let (address, identity) = started.recv().expect("the server starts");
        Self {
            address,
            identity,
            clock,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What its clock shows.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.load(Ordering::SeqCst))
    }

    /// Sets its clock.
    pub fn set_clock(&self, now: UnixMillis) {
        self.clock.store(now.0, Ordering::SeqCst);
    }

    /// Tells it to stop and waits until it has.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.end();
    }
}
