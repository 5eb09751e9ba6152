//! The runbooks: the commands in docs/recovery.md and docs/failover.md are run as they stand there, each
//! machine and device of them in a home of its own.
//!
//! What a command shows is put in where a later one has a word in capitals. `systemctl` is a script here,
//! which starts and stops `keyserver serve` as the service does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod devices;
mod runbook;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::{Command, Stdio},
};

use devices::{User, Waiting};
use ostrakon_testkit::{command::binary, run};
use runbook::{sections, steps};
use tempfile::TempDir;

const POLICY: &str = "\
decrypt: [[{rule: approve-rule}]]
change_profile: [[{rule: approve-rule}]]
";

/// As the service does: in the background, and until it has ended.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$1" in
start)
    keyserver serve </dev/null >/dev/null 2>>"$HOME/serve.log" & echo $! >"$HOME/serve.pid"
    until grep -q ' serving ' "$HOME/serve.log"; do
        kill -0 "$(cat "$HOME/serve.pid")" || exit 1
    done ;;
stop)
    kill "$(cat "$HOME/serve.pid")"
    while kill -0 "$(cat "$HOME/serve.pid")" 2>/dev/null; do :; done
    : >"$HOME/serve.log" ;;
esac
"#;

/// Commands that wait for people.
const WAITING: [&str; 12] = [
    "ostrakon device join",
    "ostrakon device add",
    "ostrakon device link",
    "ostrakon device words",
    "ostrakon profile threshold",
    "ostrakon profile recovery finalize",
    "keyserver create",
    "keyserver enable --backup-path",
    "keyserver save-backup-key",
    "keyserver recovery-ingest-key",
    "keyserver accept-rollback",
    "keyserver backup-key verify",
];

/// The machines and devices of a runbook.
struct World {
    folder: TempDir,
    tools: PathBuf,
    serves_at: SocketAddr,
    waits_at: BTreeMap<String, SocketAddr>,
    waiting: BTreeMap<String, (String, Waiting)>,
    /// What stands for the words in capitals.
    shown: BTreeMap<String, String>,
    /// Who has approved what.
    approved: BTreeSet<(String, String)>,
    /// Recovery words, as they were written down.
    paper: Vec<String>,
    ran: usize,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("bin");
        fs::create_dir_all(&tools).unwrap();
        fs::create_dir(folder.path().join("safe")).unwrap();
        for program in ["keyserver", "ostrakon"] {
            symlink(binary(program), tools.join(program)).unwrap();
        }
        let systemctl = tools.join("systemctl");
        fs::write(&systemctl, SYSTEMCTL).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            folder,
            tools,
            serves_at: free(),
            waits_at: BTreeMap::new(),
            waiting: BTreeMap::new(),
            shown: BTreeMap::new(),
            approved: BTreeSet::new(),
            paper: Vec::new(),
            ran: 0,
        }
    }

    fn home(&mut self, machine: &str) -> PathBuf {
        let home = self.folder.path().join(machine);
        if !home.exists() {
            fs::create_dir_all(home.join(".local/share/ostrakon-keyserver")).unwrap();
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(home.join(".local/share/ostrakon-keyserver"), mode).unwrap();
            symlink(self.folder.path().join("safe"), home.join("safe")).unwrap();
            fs::write(home.join("keyserver.yml"), POLICY).unwrap();
            self.waits_at.insert(machine.to_owned(), free());
        }
        home
    }

    fn shell(&mut self, machine: &str, line: &str) -> Command {
        let home = self.home(machine);
        let mut command = Command::new("sh");
        command
            .env_clear()
            .env("HOME", &home)
            .env("USER", "ada")
            .env("PATH", format!("{}:/usr/bin:/bin", self.tools.display()))
            .env("OSTRAKON_ENTERPRISE_CONFIG", home.join("none.toml"))
            .env("OSTRAKON_LISTEN", self.serves_at.to_string())
            .env("OSTRAKON_WAIT_AT", self.waits_at[machine].to_string())
            .current_dir(&home)
            .args(["-c", line]);
        fs::write(home.join("none.toml"), "").unwrap();
        command
    }

    /// Runs what a section of a runbook says.
    fn follow(&mut self, section: &str) {
        for (machine, line) in steps(section) {
            self.step(&machine, &line);
        }
        let machines: Vec<String> = self.waiting.keys().cloned().collect();
        machines.iter().for_each(|machine| self.settle(machine));
    }

    fn step(&mut self, machine: &str, line: &str) {
        // Whoever approves does so in another terminal; everything else waits its turn.
        if !line.starts_with("ostrakon approvals") {
            self.settle(machine);
        }
        if line.starts_with("ostrakon approvals approve") {
            self.approves(machine);
        }
        let line = self.filled_in(line);
        self.ran += 1;
        let loads = line.ends_with("words --load");
        if WAITING.iter().any(|command| line.starts_with(command)) && !loads {
            let mut command = self.shell(machine, &format!("exec {line}"));
            let waiting = Waiting::spawn(command.stdin(Stdio::null()));
            // Who joins is approved elsewhere, or not at all.
            if !line.starts_with("ostrakon device join") {
                self.hear(&waiting, &line);
            }
            self.waiting.insert(machine.to_owned(), (line, waiting));
            return;
        }
        let mut command = self.shell(machine, &line);
        if loads {
            command.stdin(Stdio::piped());
            let mut loading = Waiting::spawn(&mut command);
            let mut input = loading.child.stdin.take().unwrap();
            writeln!(input, "{}", self.paper[0]).unwrap();
            drop(input);
            let (code, said, errors) = loading.ended();
            assert_eq!(code, Some(0), "{line}: {errors}");
            self.note(&said);
            return;
        }
        let ran = run(&mut command);
        assert_eq!(ran.code, Some(0), "{machine}$ {line}: {ran:?}");
        self.note(&ran.stdout);
    }

    /// Waits until a command says for what it waits.
    fn hear(&mut self, waiting: &Waiting, line: &str) {
        loop {
            let said = waiting
                .error_line()
                .unwrap_or_else(|| panic!("{line} does not wait"));
            if let Some(invitation) = said.strip_prefix("ostrakon device join ") {
                let invitation = invitation.trim_matches('\'');
                self.shown
                    .insert("INVITATION".to_owned(), invitation.to_owned());
                return;
            }
            if let Some(asked) = said.strip_prefix("on each device: ostrakon approvals approve ") {
                self.asked(asked);
                return;
            }
        }
    }

    /// What stands in a line that tells how to approve.
    fn asked(&mut self, asked: &str) {
        let (id, rest) = asked.split_once(' ').unwrap_or((asked, ""));
        self.shown.insert("CEREMONY".to_owned(), id.to_owned());
        if let Some(relay) = rest.split(' ').skip_while(|word| *word != "--relay").nth(1) {
            self.shown.insert("RELAY".to_owned(), relay.to_owned());
        }
        if let Some((_, words)) = rest.split_once("--words '") {
            let words = words.trim_end_matches('\'');
            self.shown.insert("WORDS".to_owned(), words.to_owned());
        }
    }

    /// Waits for the end of what waits on a machine.
    fn settle(&mut self, machine: &str) {
        if let Some((line, waiting)) = self.waiting.remove(machine) {
            let (code, said, errors) = waiting.ended();
            assert_eq!(code, Some(0), "{machine}$ {line}: {said}{errors}");
            if line.starts_with("ostrakon device words") {
                self.paper.push(said.trim().to_owned());
            }
            self.note(&said);
        }
    }

    /// Notes the ids of devices and of a profile.
    fn note(&mut self, said: &str) {
        for line in said.lines() {
            let line = line.strip_prefix("device ").unwrap_or(line).trim_start();
            let mut words = line.split_whitespace();
            let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let name = words.next().unwrap_or("");
            let is_id =
                |word: &str| word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit());
            if first == "id" && is_id(second) {
                self.shown.insert("PROFILE".to_owned(), second.to_owned());
            }
            if is_id(first) {
                let of = match second {
                    "mobile" => name.to_uppercase(),
                    "workstation" => "LOST".to_owned(),
                    // The home into which words were loaded.
                    _ => "PAPER".to_owned(),
                };
                self.shown.insert(of, first.to_owned());
            }
        }
    }

    fn filled_in(&mut self, line: &str) -> String {
        // What a device added later asks for comes once it is there.
        if line.contains("CEREMONY") {
            self.hear_again();
        }
        let is_place = |c: char| c.is_ascii_uppercase();
        let mut filled = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(is_place) {
            let (before, from) = rest.split_at(at);
            let end = from.find(|c| !is_place(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            filled += before;
            filled += match self.shown.get(word) {
                Some(shown) => shown,
                None if word.len() < 2 => word,
                None => panic!("nothing was shown for {word} in: {line}"),
            };
            rest = after;
        }
        filled + rest
    }

    /// Takes what waiting commands have asked since their first word.
    fn hear_again(&mut self) {
        let waiting: Vec<String> = self.waiting.keys().cloned().collect();
        for machine in waiting {
            let (line, waiting) = &self.waiting[&machine];
            if !line.starts_with("ostrakon device add") || line.contains("--recovery") {
                continue;
            }
            while let Some(said) = waiting.error_line() {
                if let Some(asked) =
                    said.strip_prefix("on each device: ostrakon approvals approve ")
                {
                    let asked = asked.to_owned();
                    self.asked(&asked);
                    break;
                }
            }
        }
    }

    /// Who has approved what waits is asked for the next thing that the same command wants.
    fn approves(&mut self, machine: &str) {
        let asked = |world: &Self| world.shown.get("CEREMONY").cloned().unwrap_or_default();
        if self.approved.contains(&(machine.to_owned(), asked(self))) {
            let waiting: Vec<String> = self.waiting.keys().cloned().collect();
            for on in waiting {
                if let Some((line, waiting)) = self.waiting.remove(&on) {
                    self.hear(&waiting, &line);
                    self.waiting.insert(on, (line, waiting));
                }
            }
        }
        self.approved.insert((machine.to_owned(), asked(self)));
    }

    fn path(&mut self, machine: &str, file: &str) -> PathBuf {
        self.home(machine).join(file)
    }

    /// A user, once a server runs.
    fn user(&mut self, server: &str) -> User {
        let home = self.path(server, ".local/share/ostrakon-keyserver");
        let status = run(Command::new(binary("keyserver")).args([
            "--home",
            home.to_str().unwrap(),
            "status",
            "--format",
            "json",
        ]));
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        User::of(status["kss_id"].as_str().unwrap(), self.serves_at)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.folder.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(id) = fs::read_to_string(entry.path().join("serve.pid")) {
                let _ = Command::new("kill")
                    .arg(id.trim())
                    .stderr(Stdio::null())
                    .status();
            }
        }
    }
}

/// An address that nobody listens on now.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// What the tests below follow.
const FOLLOWED: [(&str, &[&str]); 2] = [
    (
        "docs/recovery.md",
        &[
            "Making a server with a backup key",
            "Checking and renewing the backup key",
            "Recovering the server",
            "An encrypted backup file",
            "When nothing of the old server can come back",
        ],
    ),
    (
        "docs/failover.md",
        &[
            "Preparing the standby",
            "Switching over",
            "Going back to the primary",
            "When the primary is dead",
        ],
    ),
];

#[test]
fn every_command_of_the_runbooks_is_run() {
    for (document, followed) in FOLLOWED {
        for (heading, section) in sections(document) {
            let blocks = section
                .lines()
                .filter(|line| line.starts_with("```console"));
            let has_commands = blocks.count() > 0;
            assert_eq!(
                has_commands,
                followed.contains(&&*heading),
                "{document}: {heading}"
            );
        }
    }
}

#[test]
fn the_recovery_runbook_does_what_it_says() {
    let runbook = sections("docs/recovery.md");
    let mut world = World::new();
    world.follow(&runbook["Making a server with a backup key"]);
    let alice = world.user("server");
    alice.decrypts("a");
    world.follow(&runbook["Checking and renewing the backup key"]);
    // The machine is gone.
    world.step("server", "systemctl stop keyserver");
    let gone = world.home("server");
    fs::remove_dir_all(gone.join(".local")).unwrap();
    world.follow(&runbook["Recovering the server"]);
    alice.decrypts("b");
    let changed = alice.run(&["profile", "threshold", "2"]);
    assert!(
        changed.stderr.contains("server changes no profiles"),
        "{changed:?}"
    );
    world.follow(&runbook["When nothing of the old server can come back"]);
    alice.done(&["profile", "threshold", "2"]);
    world.user("new").decrypts("a");
    assert!(world.ran > 50, "{}", world.ran);
}

#[test]
fn an_encrypted_backup_file_is_opened_as_the_runbook_says() {
    let runbook = sections("docs/recovery.md");
    let mut world = World::new();
    world.follow(&runbook["Making a server with a backup key"]);
    world.step("server", "systemctl stop keyserver");
    world.follow(&runbook["An encrypted backup file"]);
    let enabled = run(&mut world.shell("spare", "keyserver enable"));
    assert_eq!(enabled.code, Some(0), "{enabled:?}");
}

#[test]
fn a_standby_that_stays_is_the_primary_as_the_runbook_says() {
    let recovery = sections("docs/recovery.md");
    let runbook = sections("docs/failover.md");
    let mut world = World::new();
    world.follow(&recovery["Making a server with a backup key"]);
    let alice = world.user("server");
    world.follow(&runbook["Preparing the standby"]);
    world.follow(&runbook["Switching over"]);
    alice.decrypts("a");
    world.follow(&runbook["When the primary is dead"]);
    alice.done(&["profile", "threshold", "2"]);
    alice.decrypts("b");
}

#[test]
fn the_failover_runbook_does_what_it_says() {
    let recovery = sections("docs/recovery.md");
    let runbook = sections("docs/failover.md");
    let mut world = World::new();
    world.follow(&recovery["Making a server with a backup key"]);
    let alice = world.user("server");
    world.follow(&runbook["Preparing the standby"]);
    alice.decrypts("a");
    world.follow(&runbook["Switching over"]);
    alice.decrypts("b");
    let back = steps(&runbook["Going back to the primary"]);
    let (stop_and_start, accept): (Vec<_>, Vec<_>) = back
        .into_iter()
        .partition(|(_, line)| line.starts_with("systemctl"));
    for (machine, line) in stop_and_start {
        world.step(&machine, &line);
    }
    assert!(alice.refused("c").contains("out of date"));
    for (machine, line) in accept {
        world.step(&machine, &line);
    }
    alice.decrypts("c");
    assert!(world.ran > 35, "{}", world.ran);
}
