//! Servers that were put back to an older state, copied, or run twice.
//!
//! Planted bugs that these were seen to catch: `standing` compares numbers only
//! (`a_server_that_was_put_back_is_found_out_by_a_client`,
//! `of_two_live_servers_the_one_that_a_client_meets_second_stops`); quota windows that this state has not
//! seen count (`a_copy_is_used_with_care`, `an_old_generation_beside_a_newer_database_proves_nothing`); a
//! generation beside the database that it does not know taken for an older one
//! (`a_database_alone_that_was_put_back_is_found_out_at_its_start`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use ostrakon_testkit::{Keyserver, Ran, Serve, TestHome, command::binary, keyserver_command, run};
use tempfile::TempDir;

const POLICY: &str = "\
decrypt:
  - - rule: meta-rule
      paths: [/Public]
  - - rule: meta-rule
      paths: [/Rationed]
    - rule: per-profile-throttle-rule
      rule_id: rationed
      per_day: 2
";

/// A user with the real client, and two folders of encrypted files.
struct User {
    folder: TempDir,
}

impl User {
    fn new(server: &Keyserver) -> Self {
        let user = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        user.use_server(server);
        for name in ["a", "b", "c", "d"] {
            for folder in ["Public", "Rationed"] {
                let path = user.folder.path().join(folder);
                fs::create_dir_all(&path).unwrap();
                fs::write(path.join(name), name).unwrap();
            }
        }
        for folder in ["Public", "Rationed"] {
            user.done(&["folder", "create", folder]);
        }
        user.done(&["encrypt", "--remove", "Public", "Rationed"]);
        user
    }

    fn use_server(&self, server: &Keyserver) {
        let config = format!(
            "keyserver_id = \"{}\"\nkeyserver_urls = [\"http://{}\"]\n",
            server.identity.kss_id(),
            server.address
        );
        fs::write(self.folder.path().join("enterprise.toml"), config).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(binary("ostrakon"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("USER", "alice")
            .env("OSTRAKON_HOME", self.folder.path().join("home"))
            .env(
                "OSTRAKON_ENTERPRISE_CONFIG",
                self.folder.path().join("enterprise.toml"),
            )
            .current_dir(self.folder.path())
            .args(args);
        run(&mut command)
    }

    fn done(&self, args: &[&str]) {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    }

    fn decrypts(&self, file: &str) {
        self.done(&["decrypt", &format!("{file}.age")]);
        assert!(self.folder.path().join(file).exists());
    }

    /// What the command says that does not decrypt it.
    fn refused(&self, file: &str) -> String {
        let ran = self.run(&["decrypt", &format!("{file}.age")]);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert!(!self.folder.path().join(file).exists());
        ran.stdout + &ran.stderr
    }
}

/// The files of a home, to be put back as a virtual machine's snapshot is: each file stays the one that
/// it is, and has what it had.
struct Snapshot(Vec<(PathBuf, Vec<u8>)>);

impl Snapshot {
    fn of(home: &TestHome) -> Self {
        let entries = fs::read_dir(home.path())
            .unwrap()
            .map(|e| e.unwrap().path());
        let files = entries.filter(|path| path.is_file());
        Self(
            files
                .map(|path| (path.clone(), fs::read(&path).unwrap()))
                .collect(),
        )
    }

    fn put_back(&self, home: &TestHome) {
        for suffix in ["-wal", "-shm"] {
            let mut path = home.home().database().into_os_string();
            path.push(suffix);
            let _ = fs::remove_file(path);
        }
        for (path, bytes) in &self.0 {
            fs::write(path, bytes).unwrap();
        }
    }

    fn put_back_only(&self, file: &Path) {
        let kept = self.0.iter().find(|(path, _)| path == file).unwrap();
        fs::write(file, &kept.1).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.arg("-a").arg(from.join(".")).arg(to);
    assert!(command.status().unwrap().success());
}

fn restart(home: &TestHome, at: SocketAddr) -> Keyserver {
    Serve::on(home).at(at).start()
}

fn status(home: &TestHome) -> String {
    run(keyserver_command(home.path()).arg("status")).stdout
}

#[test]
fn a_server_that_was_put_back_is_found_out_by_a_client() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let (alice, bob) = (User::new(&server), User::new(&server));
    server.stop();
    let snapshot = Snapshot::of(&home);
    let server = restart(&home, address);
    alice.decrypts("Public/a");
    server.stop();

    snapshot.put_back(&home);
    // It counts on, past the number that was seen. That does not help it.
    for file in ["Public/a", "Public/b"] {
        let server = restart(&home, address);
        bob.decrypts(file);
        server.stop();
    }
    let server = restart(&home, address);
    bob.decrypts("Public/c");
    assert!(!server.log().contains("another state"), "{}", server.log());
    let said = alice.refused("Public/b");
    assert!(said.contains("out of date"), "{said}");
    server.wait_for_log("another state");
    assert!(status(&home).contains("state is out of date"));
    // From then on, nobody gets an answer, whatever they have seen; also after a restart.
    let nobody = User {
        folder: tempfile::tempdir().unwrap(),
    };
    nobody.use_server(&server);
    let ran = nobody.run(&["profile", "show"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    server.stop();
    let server = restart(&home, address);
    assert!(alice.refused("Public/c").contains("out of date"));
    server.stop();
    // And when the same snapshot is put back once more but for the file beside the database.
    let kept = fs::read(home.home().generation()).unwrap();
    snapshot.put_back(&home);
    fs::write(home.home().generation(), kept).unwrap();
    let server = restart(&home, address);
    server.wait_for_log("another state");
    assert!(alice.refused("Public/c").contains("out of date"));
}

#[test]
fn a_copy_is_used_with_care() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let alice = User::new(&server);
    alice.decrypts("Rationed/a");
    server.stop();

    let kept = tempfile::tempdir().unwrap();
    copy(home.path(), kept.path());
    for entry in fs::read_dir(home.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    copy(kept.path(), home.path());
    let server = restart(&home, address);
    server.wait_for_log("these files are a copy");
    // What has no quota is decrypted without anybody doing anything. What may have been used up is.
    alice.decrypts("Public/a");
    let said = alice.refused("Rationed/b");
    assert!(said.contains("quota"), "{said}");
    server.stop();
    // A restart does not make it less of a copy.
    let server = restart(&home, address);
    assert!(!server.log().contains("these files are a copy"));
    alice.decrypts("Public/b");
    assert!(alice.refused("Rationed/b").contains("quota"));
}

#[test]
fn a_database_alone_that_was_put_back_is_found_out_at_its_start() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let alice = User::new(&server);
    server.stop();
    let snapshot = Snapshot::of(&home);
    let server = restart(&home, address);
    alice.decrypts("Public/b");
    server.stop();
    snapshot.put_back_only(&home.home().database());
    let server = restart(&home, address);
    server.wait_for_log("another state");
    assert!(alice.refused("Public/a").contains("out of date"));
}

#[test]
fn an_old_generation_beside_a_newer_database_proves_nothing() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let alice = User::new(&server);
    server.stop();
    let snapshot = Snapshot::of(&home);
    let server = restart(&home, address);
    alice.decrypts("Public/c");
    server.stop();
    snapshot.put_back_only(&home.home().generation());
    let server = restart(&home, address);
    server.wait_for_log("beside the database is an older one");
    alice.decrypts("Public/a");
    assert!(alice.refused("Rationed/a").contains("quota"));
    server.stop();
    fs::remove_file(home.home().generation()).unwrap();
    let server = restart(&home, address);
    server.wait_for_log("no generation beside the database");
    alice.decrypts("Public/b");
}

#[test]
fn of_two_live_servers_the_one_that_a_client_meets_second_stops() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let alice = User::new(&server);
    server.stop();
    let twin = TestHome::empty();
    copy(home.path(), twin.path());
    let first = restart(&home, address);
    let second = Keyserver::start(&twin);
    alice.decrypts("Public/a");
    alice.use_server(&second);
    let said = alice.refused("Public/b");
    assert!(said.contains("out of date"), "{said}");
    second.wait_for_log("another state");
    assert!(!first.log().contains("another state"));
    alice.use_server(&first);
    alice.decrypts("Public/b");
}
