use std::{
    collections::hash_map::RandomState,
    fs::{self, File},
    hash::BuildHasher as _,
    net::TcpListener,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Authority, mariadb as maria, postgres as pg};

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// MariaDB, for the MySQL protocol.
    MariaDb,
    /// PostgreSQL.
    Postgres,
}

/// A private server of databases.
pub struct Server {
    engine: Engine,
    folder: TempDir,
    port: u16,
    child: Mutex<Option<Child>>,
    settings: Mutex<Vec<String>>,
}

/// How the folders of servers are called: then comes the id of the process that made it.
const PREFIX: &str = "ostrakon-testdb-";

/// Below what Linux gives to connections.
const PORTS: Range<u16> = 12_000..32_000;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The MariaDB server of this process.
pub fn mariadb() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Engine::MariaDb, &[]))
}

/// The PostgreSQL server of this process.
pub fn postgres() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Engine::Postgres, &[]))
}

impl Server {
    /// Makes a data folder and starts a server in it, with further settings as `name=value`.
    #[must_use]
    pub fn start(engine: Engine, settings: &[&str]) -> Self {
        let server = Self::new(engine, settings);
        server.install();
        server.restart();
        server
    }

    /// The same with TLS, under a certificate of an authority for 127.0.0.1.
    #[must_use]
    pub fn protected(engine: Engine, authority: &Authority, settings: &[&str]) -> Self {
        let mut all = protection(engine, authority);
        all.extend(owned(settings));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Self::start(engine, &all)
    }

    /// A place for a PostgreSQL server with TLS, in which commands of its [`shell`](Self::shell) put the data
    /// before it is started.
    #[must_use]
    pub fn place(authority: &Authority) -> Self {
        let all = protection(Engine::Postgres, authority);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Self::new(Engine::Postgres, &all)
    }

    /// A line of the shell of PostgreSQL's user: its programs are found, `$PGDATA` is the folder of this server's
    /// data, and this server is whom `psql` asks.
    #[must_use]
    pub fn shell(&self, line: &str) -> Command {
        let mut command = pg::shell(&self.data(), self.port, line);
        command.env("HOME", self.folder.path());
        command.current_dir(self.folder.path());
        command
    }

    /// Has a PostgreSQL server, which must not be running, ask everybody but its administrator for a password.
    pub fn ask_for_passwords(&self) {
        let text =
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(self.data().join("pg_hba.conf"), text).unwrap();
    }

    /// Makes a standby of a PostgreSQL server, and has that wait for it from then on.
    #[must_use]
    pub fn standby_of(primary: &Self) -> Self {
        let standby = Self::new(Engine::Postgres, &[]);
        pg::copy(&standby.data(), primary.port);
        standby.restart();
        primary.run("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        primary.run("SELECT pg_reload_conf()");
        standby
    }

    /// Makes a PostgreSQL standby a primary, which waits for nobody.
    pub fn promote(&self) {
        assert_eq!(
            self.run("SELECT pg_promote()").trim(),
            "t",
            "{}",
            self.wrote()
        );
    }

    /// Makes the data of a server that has none.
    pub(crate) fn install(&self) {
        match self.engine {
            Engine::MariaDb => maria::install(&self.data()),
            Engine::Postgres => pg::install(&self.data()),
        }
    }

    /// A server that has no data yet.
    pub(crate) fn new(engine: Engine, settings: &[&str]) -> Self {
        sweep();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        // Whoever serves is not root in all cases.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), mode).unwrap();
        give(user_of(engine), folder.path());
        Self {
            engine,
            port: free_port(),
            folder,
            child: Mutex::new(None),
            settings: Mutex::new(owned(settings)),
        }
    }

    /// Starts the server, which must not be running, with other settings.
    pub fn restart_with(&self, settings: &[&str]) {
        *self.settings() = owned(settings);
        self.restart();
    }

    /// Does something while there is one setting more.
    pub(crate) fn with_setting(&self, setting: &str, act: impl FnOnce(&Self)) {
        self.settings().push(setting.to_owned());
        act(self);
        self.settings().pop();
    }

    /// Starts the server, which must not be running.
    pub fn restart(&self) {
        let log = File::create(self.log()).unwrap();
        let mut command = match self.engine {
            Engine::MariaDb => maria::serve(&self.data(), self.port, &self.settings()),
            Engine::Postgres => pg::serve(&self.data(), self.port, &self.settings()),
        };
        let log_too = log.try_clone().unwrap();
        command.stdin(Stdio::null()).stdout(log).stderr(log_too);
        *self.lock() = Some(spawn(command));
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            let ended = self.lock().as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "{:?} does not start: {ended:?}\n{}",
                self.engine,
                self.wrote()
            );
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Makes a fresh, empty database. Returns a URI of it, for a user who may do everything there.
    pub fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        match self.engine {
            Engine::MariaDb => self.run(&format!("CREATE DATABASE {name}")),
            Engine::Postgres => self.run(&format!("CREATE DATABASE {name} TEMPLATE template0")),
        };
        self.uri(&name)
    }

    /// The URI of a database, whether or not there is one of that name.
    #[must_use]
    pub fn uri(&self, name: &str) -> String {
        self.uri_at(name, self.port)
    }

    /// The same as reached through another port, at which a test's proxy listens.
    #[must_use]
    pub fn uri_at(&self, name: &str, port: u16) -> String {
        match self.engine {
            Engine::MariaDb => {
                format!("mysql:host=127.0.0.1,port={port},user=root,database={name}")
            }
            Engine::Postgres => format!("postgresql://postgres@127.0.0.1:{port}/{name}"),
        }
    }

    /// Makes an empty database and a user of the same name who may do everything in it, and nothing else.
    /// Returns the URI for that user through a port, at which a test's proxy may listen.
    pub fn database_of_a_user(&self, name: &str, port: u16) -> String {
        match self.engine {
            Engine::MariaDb => {
                self.run(&format!(
                    "CREATE DATABASE {name}; CREATE USER {name}@'%' IDENTIFIED BY 'pass';
                     GRANT ALL ON {name}.* TO {name}@'%'"
                ));
                format!(
                    "mysql:host=127.0.0.1,port={port},user={name},password=pass,database={name}"
                )
            }
            Engine::Postgres => {
                self.run(&format!("CREATE USER {name} PASSWORD 'pass'"));
                self.run(&format!(
                    "CREATE DATABASE {name} OWNER {name} TEMPLATE template0"
                ));
                format!("postgresql://{name}:pass@127.0.0.1:{port}/{name}")
            }
        }
    }

    /// Runs statements in a database, which may fail, and returns what they print or what was wrong.
    ///
    /// # Errors
    /// What the database says.
    pub fn try_run_in(&self, database: Option<&str>, sql: &str) -> Result<String, String> {
        let out = self.client(database, sql).output().unwrap();
        if out.status.success() {
            Ok(String::from_utf8(out.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    /// Runs statements outside of any database, as the administrator, and returns what they print.
    pub fn run(&self, sql: &str) -> String {
        self.run_in(None, sql)
    }

    /// Runs statements in a database, as the administrator, and returns what they print.
    pub fn run_in(&self, database: Option<&str>, sql: &str) -> String {
        let ran = self.try_run_in(database, sql);
        ran.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// What it has written since it was last started.
    #[must_use]
    pub fn wrote(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The port at which it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process that serves.
    #[must_use]
    pub fn pid(&self) -> Pid {
        let child = self.lock();
        Pid::from_child(child.as_ref().expect("it runs"))
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal to the server and to the processes that it has started: PostgreSQL has one for each
    /// connection.
    pub fn signal_all(&self, signal: Signal) {
        let children = format!("/proc/{}/task/{0}/children", self.pid().as_raw_nonzero());
        let children = fs::read_to_string(children).unwrap_or_default();
        self.signal(signal);
        for pid in children.split_whitespace() {
            let pid = pid.parse().ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, signal));
        }
    }

    /// Ends the server at once, as a crash does.
    pub fn kill(&self) {
        // Those it has started would go on for a moment, and keep the next one from starting.
        self.signal_all(Signal::KILL);
        self.wait();
        if self.engine == Engine::Postgres {
            let _ = fs::remove_file(self.data().join("postmaster.pid"));
        }
    }

    /// Stops the server in order.
    pub fn stop(&self) {
        // PostgreSQL ends connections at this one, and MariaDB at the other.
        self.signal(match self.engine {
            Engine::MariaDb => Signal::TERM,
            Engine::Postgres => Signal::INT,
        });
        self.wait();
    }

    fn wait(&self) {
        let mut child = self.lock().take().expect("it runs");
        let until = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "{:?} does not end", self.engine);
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> bool {
        let out = self.client(None, "SELECT 1").output().unwrap();
        out.status.success()
    }

    fn client(&self, database: Option<&str>, sql: &str) -> Command {
        match self.engine {
            Engine::MariaDb => maria::client(self.port, database, sql),
            Engine::Postgres => pg::client(self.port, database, sql),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn settings(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a program that is killed when this process ends. The system sees to that when the thread that
/// started it ends, so one thread starts them all and stays.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, started) in queue {
                let child = command.spawn().expect("setpriv starts it");
                started.send(child).expect("somebody waits");
            }
        });
        Mutex::new(orders)
    });
    let (started, child) = mpsc::channel();
    let starter = starter.lock().unwrap_or_else(PoisonError::into_inner);
    starter.send((command, started)).unwrap();
    drop(starter);
    child.recv().expect("the server's program is installed")
}

/// Removes what servers left whose process is gone: one that lasts as long as its process cannot do so
/// itself.
fn sweep() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
            let name = entry.file_name();
            let of = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            let pid = of.and_then(|of| of.split_once('-')).map(|(pid, _)| pid);
            if let Some(pid) = pid
                && !Path::new("/proc").join(pid).exists()
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
}

/// Who serves, where this process is root.
fn user_of(engine: Engine) -> &'static str {
    match engine {
        Engine::MariaDb => maria::USER,
        Engine::Postgres => pg::USER,
    }
}

/// The settings that have a server take connections with TLS, under a certificate for 127.0.0.1.
fn protection(engine: Engine, authority: &Authority) -> Vec<String> {
    let (certificate, key) = authority.certify(user_of(engine));
    let (certificate, key) = (certificate.display(), key.display());
    match engine {
        Engine::MariaDb => vec![format!("ssl-cert={certificate}"), format!("ssl-key={key}")],
        Engine::Postgres => vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={certificate}"),
            format!("ssl_key_file={key}"),
        ],
    }
}

fn owned(settings: &[&str]) -> Vec<String> {
    settings.iter().map(ToString::to_string).collect()
}

/// A port at which nobody listens. Not one of those that the system gives to whoever asks for any: it might be
/// given away again before the server has it.
pub(crate) fn free_port() -> u16 {
    let random = RandomState::new();
    let ports = (0_u32..).map(|tried| {
        let offset = random.hash_one(tried) % u64::from(PORTS.end - PORTS.start);
        PORTS.start + u16::try_from(offset).unwrap()
    });
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

/// A command that runs as `user` where this process is root, and dies with this process.
pub(crate) fn as_user(user: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid", user, "--regid", user, "--clear-groups"]);
    }
    command.arg("--").arg(program).env_clear();
    command
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LC_ALL", "C");
    command
}

/// Makes a folder that belongs to `user` where this process is root.
pub(crate) fn folder_of(user: &str, path: &Path) {
    fs::create_dir(path).unwrap();
    give(user, path);
}

/// Gives a folder to `user` where this process is root.
fn give(user: &str, path: &Path) {
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown").arg(user).arg(path).status().unwrap();
        assert!(owned.success());
    }
}
