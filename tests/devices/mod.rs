//! Devices with the commands that people type: several homes on one machine stand for several devices.

#![allow(dead_code, unused_imports, reason = "each test uses a part")]

mod user;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use ostrakon_testkit::{Keyserver, Ran, TestHome, command::binary, run};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use self::user::User;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A device: a home of its own.
pub(crate) struct Device(pub(crate) TempDir);

/// A command that waits for others.
pub(crate) struct Waiting {
    pub(crate) child: Child,
    lines: Receiver<String>,
    stderr: Receiver<String>,
}

impl Device {
    pub(crate) fn new() -> Self {
        let device = Self(tempfile::tempdir().unwrap());
        fs::write(device.path("enterprise.toml"), "").unwrap();
        device
    }

    /// A workstation with a profile of its own.
    pub(crate) fn workstation() -> Self {
        let device = Self::new();
        device.done(&["profile", "create", "--name", "team"]);
        device
    }

    /// A workstation with a profile that has the server.
    pub(crate) fn onboarded(server: &Keyserver) -> Self {
        let device = Self::new();
        let id = server.identity.kss_id().to_string();
        let url = format!("http://{}", server.address);
        device.done(&[
            "profile",
            "keyserver-onboard",
            "--keyserver-id",
            &id,
            "--keyserver-url",
            &url,
        ]);
        device
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("ostrakon"));
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("USER", "alice")
            .env("OSTRAKON_HOME", self.path("home"))
            .env("OSTRAKON_ENTERPRISE_CONFIG", self.path("enterprise.toml"))
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    pub(crate) fn done(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran
    }

    /// Its result, as programs read it.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let ran = self.done(&[args, &["--format", "json"]].concat());
        let lines = ran.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn start(&self, args: &[&str]) -> Waiting {
        Waiting::spawn(self.command(args).args(["--format", "json"]))
    }

    /// What `profile show` says.
    pub(crate) fn profile(&self) -> Value {
        self.json(&["profile", "show"]).remove(0)
    }

    pub(crate) fn threshold(&self) -> (u64, usize) {
        let shown = self.profile();
        let devices = shown["devices"].as_array().unwrap().len();
        (shown["threshold"].as_u64().unwrap(), devices)
    }

    /// Waits until something waits for this device, and gives its id.
    pub(crate) fn asked(&self) -> String {
        let mut watching = self.start(&["approvals", "watch"]);
        let id = watching.line()["id"].as_str().unwrap().to_owned();
        watching.child.kill().unwrap();
        watching.child.wait().unwrap();
        id
    }

    pub(crate) fn approve(&self) {
        self.done(&["approvals", "approve", &self.asked()]);
    }

    /// Adds `other` by the text of the QR code, while each of `by` approves.
    pub(crate) fn add(&self, name: &str, other: &Self, by: &[&Self]) {
        let mut host = self.start(&["device", "add", name]);
        let uri = host.event("invitation")["uri"].as_str().unwrap().to_owned();
        let guest = other.start(&["device", "join", &uri]);
        by.iter().for_each(|device| device.approve());
        guest.succeeds();
        host.succeeds();
    }

    /// A fresh home that acts as the recovery words on paper.
    pub(crate) fn of_words(words: &str) -> (Self, String) {
        let device = Self::new();
        let mut command = device.command(&["device", "words", "--load", "--format", "json"]);
        let mut loading = Waiting::spawn(command.stdin(Stdio::piped()));
        let mut input = loading.child.stdin.take().unwrap();
        writeln!(input, "{words}").unwrap();
        drop(input);
        let id = loading.line()["id"].as_str().unwrap().to_owned();
        loading.succeeds();
        (device, id)
    }

    /// Lets `guest` come to this device, by the text of the QR code, and gives its id.
    pub(crate) fn meets(&self, args: &[&str], guest: &Self) -> String {
        let mut host = self.start(args);
        let uri = host.event("invitation")["uri"].as_str().unwrap().to_owned();
        guest.done(&["device", "join", &uri]);
        let said = host.succeeds();
        let met: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        met["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn listen(&self) {
        // Port 0 the first time; afterwards the home remembers the one that it got.
        let ran = self.run(&[
            "device",
            "add",
            "nobody",
            "--listen",
            "127.0.0.1:0",
            "--wait",
            "1",
        ]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("no device came in time"), "{ran:?}");
    }
}

impl Waiting {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let stderr = lines_of(child.stderr.take().unwrap());
        Self {
            child,
            lines,
            stderr,
        }
    }

    pub(crate) fn line(&mut self) -> Value {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => serde_json::from_str(&line).unwrap(),
            Err(error) => {
                let _ = self.child.kill();
                panic!("nothing more is said: {error}");
            }
        }
    }

    pub(crate) fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.line();
            if line["event"] == name {
                return line;
            }
        }
    }

    /// The same of a command that may end before.
    pub(crate) fn event_or_end(&mut self, name: &str) -> Option<Value> {
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["event"] == name {
                return Some(line);
            }
        }
        None
    }

    /// The next line of its standard error; none when that has ended.
    pub(crate) fn error_line(&self) -> Option<String> {
        self.stderr.recv_timeout(LIMIT).ok()
    }

    /// Waits for its end: exit code, and what it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String, String) {
        // The pipes close with the process.
        let rest = |lines: &Receiver<String>| {
            let mut text = String::new();
            while let Ok(line) = lines.recv_timeout(LIMIT) {
                text.push_str(&line);
                text.push('\n');
            }
            text
        };
        let (stdout, stderr) = (rest(&self.lines), rest(&self.stderr));
        let status = self.child.wait().unwrap();
        (status.code(), stdout, stderr)
    }

    /// The QR code on its standard error: the lines of blocks, and the margin of it.
    pub(crate) fn drawn(&self) -> String {
        let mut drawn = String::new();
        loop {
            let line = self.stderr.recv_timeout(LIMIT).unwrap();
            let is_drawn = |c: char| matches!(c, ' ' | '\u{2588}' | '\u{2580}' | '\u{2584}');
            if !line.is_empty() && line.chars().all(is_drawn) {
                drawn.push_str(&line);
                drawn.push('\n');
            } else if !drawn.is_empty() {
                return drawn;
            }
        }
    }

    pub(crate) fn succeeds(self) -> String {
        let (code, stdout, stderr) = self.ended();
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        stdout
    }

    pub(crate) fn fails(self, code: i32, with: &str) {
        let (ended, stdout, stderr) = self.ended();
        assert_eq!(ended, Some(code), "{stdout}{stderr}");
        assert!(stderr.contains(with), "{with}: {stderr}");
    }
}

impl Drop for Waiting {
    /// What a test does not wait for goes with it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The five devices of administrators, three of which decide: a desk, two phones, two sets of words.
pub(crate) struct Administrators {
    pub(crate) desk: Device,
    pub(crate) phone: Device,
    pub(crate) tablet: Device,
    /// The recovery words, on paper.
    pub(crate) words: [String; 2],
}

impl Administrators {
    pub(crate) fn new() -> Self {
        let desk = Device::workstation();
        desk.listen();
        let [phone, tablet] = [(); 2].map(|()| Device::new());
        desk.add("phone", &phone, &[]);
        desk.add("tablet", &tablet, &[&phone]);
        let words = [(); 2].map(|()| {
            let host = desk.start(&["device", "words"]);
            phone.approve();
            let said = host.succeeds();
            let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            said["words"].as_str().unwrap().to_owned()
        });
        let host = desk.start(&["profile", "threshold", "3"]);
        phone.approve();
        host.succeeds();
        assert_eq!(desk.threshold(), (3, 5));
        Self {
            desk,
            phone,
            tablet,
            words,
        }
    }

    /// The same, in whose profile the server is a device, too, and approves what its policy does.
    pub(crate) fn with(server: &Keyserver) -> Self {
        let desk = Device::onboarded(server);
        desk.listen();
        let [phone, tablet] = [(); 2].map(|()| Device::new());
        desk.add("phone", &phone, &[]);
        desk.add("tablet", &tablet, &[]);
        let words = [(); 2].map(|()| {
            let said = desk.start(&["device", "words"]).succeeds();
            let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            said["words"].as_str().unwrap().to_owned()
        });
        desk.done(&["profile", "threshold", "3"]);
        assert_eq!(desk.threshold(), (3, 6));
        Self {
            desk,
            phone,
            tablet,
            words,
        }
    }

    /// The devices that are there without entering words.
    pub(crate) fn three(&self) -> [&Device; 3] {
        [&self.desk, &self.phone, &self.tablet]
    }

    /// Writes the profile's card anew.
    pub(crate) fn card(&self) -> String {
        let path = self.desk.path("card.json");
        let _ = fs::remove_file(&path);
        let path = path.to_str().unwrap().to_owned();
        self.desk.done(&["profile", "export-card", "-o", &path]);
        path
    }

    /// A server with a backup key of theirs, in the file that is named.
    pub(crate) fn create(&self, home: &TestHome, backup: &Path) -> String {
        let card = self.card();
        let backup = backup.to_str().unwrap();
        let args = ["create", "--backup-path", backup, "--profile", &card];
        let made = Asked::start(home, &args).approved_by(&self.three());
        made["kss_id"].as_str().unwrap().to_owned()
    }
}

/// A command of `keyserver` that waits for devices.
pub(crate) struct Asked {
    pub(crate) waiting: Waiting,
    pub(crate) id: String,
    pub(crate) relay: String,
    pub(crate) words: Option<String>,
}

impl Asked {
    /// Starts it, and waits until devices are asked.
    pub(crate) fn start(home: &TestHome, args: &[&str]) -> Self {
        let mut command = Command::new(binary("keyserver"));
        command
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .arg("--home")
            .arg(home.path())
            .args(["--format", "json"])
            .args(args)
            .args(["--listen", "127.0.0.1:0"]);
        Self::of(Waiting::spawn(&mut command))
    }

    pub(crate) fn of(mut waiting: Waiting) -> Self {
        let opened = waiting.event("opened");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            id: text(&opened["ceremony"]).unwrap(),
            relay: text(&opened["relay"]).unwrap(),
            words: text(&opened["words"]),
            waiting,
        }
    }

    /// What a device answers.
    pub(crate) fn answer(&self, device: &Device, verb: &str) -> Ran {
        let mut args = vec!["approvals", verb, &self.id, "--relay", &self.relay];
        if let Some(words) = self.words.as_deref().filter(|_| verb == "approve") {
            args.extend(["--words", words]);
        }
        device.run(&args)
    }

    pub(crate) fn approve(&self, device: &Device) {
        let ran = self.answer(device, "approve");
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// Has the devices approve, and gives what the command reports in the end.
    pub(crate) fn approved_by(self, devices: &[&Device]) -> Value {
        devices.iter().for_each(|device| self.approve(device));
        let said = self.waiting.succeeds();
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }
}
