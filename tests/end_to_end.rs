//! The main job, with the binaries that a user and an operator type: onboarding, folders, encrypting,
//! decrypting, refusing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use ostrakon_testkit::{Keyserver, Ran, Serve, TestHome, command::binary, keyserver_command, run};
use tempfile::TempDir;

const POLICY: &str = "\
decrypt:
  - - rule: meta-rule
      paths: [/Public]
    - rule: per-profile-throttle-rule
      rule_id: public
      per_day: 100
  - - rule: meta-rule
      paths: [/Rationed]
    - rule: per-profile-throttle-rule
      rule_id: rationed
      per_day: 2
";

/// A workstation: a home, a folder for files, and a configuration that names the server.
struct Workstation {
    folder: TempDir,
}

impl Workstation {
    fn new(server: &Keyserver, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "keyserver_id = \"{}\"\nkeyserver_urls = [\"http://{}\"]\n{more}",
            server.identity.kss_id(),
            server.address
        );
        fs::write(folder.path().join("enterprise.toml"), config).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("ostrakon"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("USER", "alice")
            .env("OSTRAKON_HOME", self.path("home"))
            .env("OSTRAKON_ENTERPRISE_CONFIG", self.path("enterprise.toml"))
            .current_dir(self.folder.path())
            .args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    fn done(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

#[test]
fn a_users_files_are_decrypted_because_the_policy_says_so() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let alice = Workstation::new(&server, "");
    for name in [
        "Public/a.txt",
        "Public/deep/b.txt",
        "Rationed/c",
        "Rationed/d",
        "Rationed/e",
        "Secret/f",
    ] {
        alice.write(name, name.as_bytes());
    }
    // The first command onboards: the configuration names the server.
    let made = alice.done(&["folder", "create", "Public"]);
    assert!(made.stdout.contains("Public"), "{made:?}");
    alice.done(&["folder", "create", "Rationed"]);
    alice.done(&["folder", "create", "Secret"]);
    let profile = alice.done(&["profile", "show"]).stdout;
    assert!(
        profile.contains("alice@") && profile.contains("threshold  2 of 2"),
        "{profile}"
    );

    alice.done(&["encrypt", "--remove", "Public", "Rationed", "Secret"]);
    assert!(!alice.path("Public/a.txt").exists());
    let sealed = alice.read("Public/deep/b.txt.age");
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    assert!(
        !sealed.windows(4).any(|window| window == b"deep"),
        "a path in clear"
    );

    let ran = alice.run(&["decrypt", "Public", "Rationed", "Secret"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    for name in [
        "Public/a.txt",
        "Public/deep/b.txt",
        "Rationed/c",
        "Rationed/d",
    ] {
        assert_eq!(alice.read(name), name.as_bytes());
    }
    for name in ["Rationed/e", "Secret/f"] {
        assert!(!alice.path(name).exists(), "{name}");
    }
    assert!(
        ran.stderr
            .contains("Rationed/e.age: the quota is used up until"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("Secret/f.age: the policy does not allow it"),
        "{ran:?}"
    );

    // A file that is moved into an allowed folder, and one that is renamed on disk, stay what they are.
    fs::rename(alice.path("Secret/f.age"), alice.path("Public/f.age")).unwrap();
    assert_eq!(alice.run(&["decrypt", "Public/f.age"]).code, Some(3));
    fs::remove_file(alice.path("Public/a.txt")).unwrap();
    fs::rename(alice.path("Public/a.txt.age"), alice.path("elsewhere.age")).unwrap();
    alice.done(&["decrypt", "elsewhere.age"]);
    assert_eq!(alice.read("elsewhere"), b"Public/a.txt");

    // Another user of the same server has other keys.
    let bob = Workstation::new(&server, "");
    bob.done(&["profile", "show"]);
    fs::copy(alice.path("elsewhere.age"), bob.path("stolen.age")).unwrap();
    let ran = bob.run(&["decrypt", "stolen.age"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!bob.path("stolen").exists());

    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    for word in ["Public", "Secret", "deep", "alice", "elsewhere"] {
        assert!(!log.contains(word), "{word} in the log: {log}");
    }
    let records = home.records();
    let approved = |record: &&ostrakon_custody::AuditRecord| {
        matches!(&record.event, ostrakon_custody::AuditEvent::Decided { decision, .. }
            if decision.is_approved())
    };
    // Two profiles, three folders, five files.
    assert_eq!(records.audit.iter().filter(approved).count(), 2 + 3 + 5);
    let verified = run(keyserver_command(home.path()).args(["audit", "verify"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn an_administrator_gets_default_folders_and_a_dead_server_is_passed_over() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    // Nothing listens on port 9 of the loopback interface.
    let config = format!(
        "keyserver_id = \"{}\"\nkeyserver_urls = [\"http://127.0.0.1:9\", \"http://{}\"]\n\
         administrator = true\ndefault_folders = [\"~/Public\", \"~/Vault\"]\n",
        server.identity.kss_id(),
        server.address
    );
    let admin = Workstation::new(&server, "");
    fs::write(admin.path("enterprise.toml"), config).unwrap();
    let list = admin.done(&["folder", "list"]).stdout;
    assert_eq!(list.lines().count(), 2, "{list}");
    admin.write("Public/x", b"x");
    admin.done(&["encrypt", "--remove", "Public"]);
    admin.done(&["decrypt", "Public"]);
    assert_eq!(admin.read("Public/x"), b"x");

    // While the server is disabled, and after it is gone, files stay closed and the reason is said.
    let disabled = run(keyserver_command(home.path()).arg("disable"));
    assert_eq!(disabled.code, Some(0), "{disabled:?}");
    let refused = admin.run(&["decrypt", "--force", "Public"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains("disabled"), "{refused:?}");
    run(keyserver_command(home.path()).arg("enable"));
    admin.done(&["decrypt", "--force", "Public"]);
    let address = server.address;
    server.kill();
    let config = fs::read_to_string(admin.path("enterprise.toml")).unwrap();
    fs::write(
        admin.path("enterprise.toml"),
        format!("{config}request_timeout_seconds = 2\n"),
    )
    .unwrap();
    let gone = admin.run(&["decrypt", "--force", "Public"]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert_eq!(admin.read("Public/x"), b"x", "the old output was lost");

    // It comes back on the same address, and nothing has to be done.
    let server = Serve::on(&home).at(address).start();
    admin.done(&["decrypt", "--force", "Public"]);
    server.stop();
}

#[test]
fn a_server_with_another_id_is_refused() {
    let (home, other) = (TestHome::create(POLICY), TestHome::create(POLICY));
    let (server, impostor) = (Keyserver::start(&home), Keyserver::start(&other));
    let alice = Workstation::new(&server, "");
    let id = server.identity.kss_id().to_string();
    let url = format!("http://{}", impostor.address);
    let ran = alice.run(&[
        "profile",
        "keyserver-onboard",
        "--keyserver-id",
        &id,
        "--keyserver-url",
        &url,
    ]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains(&impostor.identity.kss_id().to_string()),
        "{ran:?}"
    );
    assert_eq!(impostor.stop().0.code(), Some(0));
    assert_eq!(
        other.records().audit.len(),
        3,
        "the policy's loading, the start and the stop alone are on record"
    );
}

/// A gibibyte through 64 MiB of data: streaming is not a claim.
#[test]
fn a_large_file_takes_little_memory() {
    const SIZE: u64 = 1 << 30;
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let alice = Workstation::new(&server, "");
    alice.done(&["folder", "create", "Public"]);
    let path = alice.path("Public/large");
    write_pattern(&path, SIZE);
    for args in [
        ["encrypt", "--remove", "Public/large"],
        ["decrypt", "--force", "Public/large.age"],
    ] {
        let mut limited = Command::new("bash");
        let inner = alice.command(&args);
        limited
            .env_clear()
            .envs(
                inner
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(alice.folder.path())
            .args(["-c", "ulimit -d 65536 && exec \"$0\" \"$@\""])
            .arg(inner.get_program())
            .args(inner.get_args());
        let ran = run(&mut limited);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    }
    assert_pattern(&path, SIZE);
    server.stop();
}

#[test]
fn the_demonstration_shows_what_it_says_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (files, scratch) = (folder.path().join("files"), folder.path().join("tmp"));
    fs::create_dir_all(files.join("sub")).unwrap();
    fs::create_dir(&scratch).unwrap();
    for (name, content) in [("one.txt", "1"), ("sub/two.txt", "2"), ("sub/empty", "")] {
        fs::write(files.join(name), content).unwrap();
    }
    let mut demo = Command::new(binary("keyserver"));
    let ran = run(demo.env("TMPDIR", &scratch).arg("demo").arg(&files));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for said in [
        "3 decrypted",
        "the policy does not allow it",
        "the quota is used up until",
        "24 requests at once, a quota of 5: 5 approved",
        "15 approvals, 24 denials",
        "are missing",
        "was changed",
        ", as before",
        "the user decrypts again, and has done nothing",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {ran:?}");
    }
    assert_eq!(
        fs::read_dir(&scratch).unwrap().count(),
        0,
        "something is left behind"
    );

    let mut nothing = Command::new(binary("keyserver"));
    let ran = run(nothing
        .env("TMPDIR", &scratch)
        .arg("demo")
        .arg(folder.path().join("absent")));
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

const BLOCK: usize = 1 << 20;

/// Content that no part of the program could make up: each block says where it is.
fn block(number: u64) -> Vec<u8> {
    let mut block = vec![0x5a; BLOCK];
    block[..8].copy_from_slice(&number.to_be_bytes());
    block
}

fn write_pattern(path: &Path, size: u64) {
    let mut file = File::create(path).unwrap();
    (0..size / BLOCK as u64).for_each(|number| file.write_all(&block(number)).unwrap());
}

fn assert_pattern(path: &Path, size: u64) {
    let mut file = File::open(path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), size);
    let mut read = vec![0; BLOCK];
    for number in 0..size / BLOCK as u64 {
        file.read_exact(&mut read).unwrap();
        assert!(read == block(number), "block {number}");
    }
}

#[test]
fn two_files_of_one_run_never_share_an_output() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let alice = Workstation::new(&server, "");
    alice.done(&["folder", "create", "Public"]);
    alice.write("Public/one/f", b"one");
    alice.write("Public/two/f", b"two");
    let both = ["Public/one/f", "Public/two/f"];
    let into = ["encrypt", "--remove", "--force", "--output", "sealed"];
    let ran = alice.run(&[into.as_slice(), &both].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!alice.path("Public/one/f").exists());
    assert_eq!(
        alice.read("Public/two/f"),
        b"two",
        "an original is lost: {ran:?}"
    );
    alice.done(&["encrypt", "--remove", "Public/two/f"]);

    // Opened into one folder, the second one fails before anything is asked or charged.
    let both = ["sealed/f.age", "Public/two/f.age", "sealed/f.age"];
    let into = ["decrypt", "--force", "--output", "opened"];
    let ran = alice.run(&[into.as_slice(), &both].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(alice.read("opened/f"), b"one");
    server.stop();
    let approved = home.records().audit.into_iter().filter(|record| {
        matches!(&record.event, ostrakon_custody::AuditEvent::Decided { kind, decision, .. }
            if *kind == ostrakon_types::RequestKind::Decrypt && decision.is_approved())
    });
    assert_eq!(approved.count(), 1);
}

#[test]
fn a_folder_is_the_home_of_one_program() {
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let alice = Workstation::new(&server, "");
    let mut command = alice.command(&["profile", "show"]);
    let ran = run(command.env("OSTRAKON_HOME", home.path()));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("home of a key shard server"), "{ran:?}");
    alice.done(&["profile", "show"]);
    let ran = run(keyserver_command(&alice.path("home")).arg("create"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("home of a workstation"), "{ran:?}");
}
