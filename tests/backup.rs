//! Backups: made while the server serves, proven to restore, and a server again when the first one is lost.
//!
//! Bugs planted to see these tests fail: an archive that is written under its name
//! (`a_backup_that_is_killed_leaves_the_old_archives`); an archive in clear with the instance's key
//! (`nobody_is_no_recipient_and_clear_text_has_no_key`); a proven archive that is not spared
//! (`a_number_of_archives_is_kept_and_one_backup_is_made_at_a_time`); a home that takes its place file by file
//! (`a_restore_that_is_killed_is_done_or_is_not`); a restored home that forgets what the old one knew of newer states
//! (`a_server_that_is_put_back_stays_out_of_service_until_that_is_accepted`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod devices;

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use age::secrecy::ExposeSecret as _;
use devices::User;
use ostrakon_testkit::{Keyserver, Ran, Serve, TestHome, command::binary, keyserver_command, run};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const POLICY: &str = "decrypt: [[{rule: approve-rule}]]\n";

/// A folder for archives, and somebody who can open them.
struct Vault {
    folder: TempDir,
    recipient: String,
}

impl Vault {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = age::x25519::Identity::generate();
        let file = folder.path().join("identity");
        fs::write(&file, identity.to_string().expose_secret()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            recipient: identity.to_public().to_string(),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary("keybackup"));
        self.surround(&mut command);
        command
    }

    /// The same, under a program that runs it.
    fn under(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(binary("keybackup"));
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("TZ", "UTC")
            .current_dir(self.folder.path());
    }

    fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        run(self.command().args(args))
    }

    /// The arguments that back `home` up.
    fn create(&self, home: &Path) -> Vec<String> {
        let words = [
            "-c",
            text(home),
            "--age-recipient",
            &self.recipient,
            "--output",
            "archives",
        ];
        words.map(str::to_owned).to_vec()
    }

    fn back_up(&self, home: &Path) -> PathBuf {
        let ran = done(self.run(self.create(home)));
        self.folder.path().join(ran.stdout.trim())
    }

    /// The arguments of a command that opens an archive.
    fn opening(&self, command: &str, archive: &Path) -> Vec<String> {
        let words = [command, "--age-identity", "identity", text(archive)];
        words.map(str::to_owned).to_vec()
    }

    fn restoring(&self, archive: &Path, home: &Path) -> Vec<String> {
        let mut words = self.opening("restore", archive);
        words.extend(["-c".to_owned(), text(home).to_owned()]);
        words
    }

    fn restore(&self, archive: &Path, home: &Path) {
        done(self.run(self.restoring(archive, home)));
    }

    /// The names of the files in the folder of archives.
    fn archives(&self) -> Vec<String> {
        names(&self.path("archives"))
            .into_iter()
            .filter(|name| name.contains(".tar"))
            .collect()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

fn done(ran: Ran) -> Ran {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran
}

fn fails(code: i32, ran: Ran) -> Ran {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.stderr.contains("error: "), "{ran:?}");
    assert_eq!(ran.stdout, "", "{ran:?}");
    ran
}

fn keyserver(home: &Path, args: &[&str]) -> Ran {
    done(run(keyserver_command(home).args(args)))
}

#[test]
fn a_server_that_serves_is_backed_up_and_restored_when_it_is_lost() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let (address, id) = (server.address, server.identity.kss_id().to_string());
    let alice = User::new(&server);
    alice.decrypts("a");
    let ran = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for file in ["b", "c", "d"] {
                alice.decrypts(file);
            }
        });
        let ran = done(vault.run(vault.create(home.path())));
        busy.join().unwrap();
        ran
    });
    assert!(ran.stderr.contains("it opened a shard"), "{ran:?}");
    let archive = vault.path(ran.stdout.trim());
    let name = archive.file_name().unwrap().to_str().unwrap();
    assert!(
        name.starts_with("kss_bak_") && name.ends_with(".tar.age"),
        "{name}"
    );
    let listed = done(vault.run(["list", "--output", "archives"]));
    assert!(
        listed.stdout.contains(name) && listed.stdout.contains("proven 20"),
        "{listed:?}"
    );
    let verified = done(vault.run(vault.opening("verify", &archive)));
    assert!(
        verified.stderr.contains("is whole") && verified.stderr.contains(&id),
        "{verified:?}"
    );

    server.kill();
    drop(home);
    let home = TestHome::empty();
    let new = home.path();
    let restored = done(vault.run(vault.restoring(&archive, new)));
    assert!(restored.stderr.contains("accept-rollback"), "{restored:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(new), 0o700);
    for name in names(new) {
        assert_eq!(mode(&new.join(&name)), 0o600, "{name}");
    }
    let rest = new.with_added_extension("restoring");
    assert!(!rest.exists() && !rest.with_added_extension("lock").exists());
    let status = keyserver(new, &["status"]);
    assert!(status.stdout.contains(&id), "{status:?}");
    let server = Serve::on(&home).at(address).start();
    alice.decrypts("e");
    server.stop();
    keyserver(new, &["audit", "verify"]);
    let log = keyserver(new, &["audit", "export"]).stdout;
    assert!(log.contains("\"restore\""), "{log}");
}

#[test]
fn an_open_pgp_archive_is_opened_by_gpg_and_is_a_plain_tar() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let keyring = tempfile::tempdir().unwrap();
    fs::set_permissions(keyring.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |args: &[&str]| {
        let mut command = Command::new("gpg");
        command
            .env("GNUPGHOME", keyring.path())
            .args(["--batch", "--quiet"])
            .args(args);
        done(run(&mut command))
    };
    let name = "John Doe (Backup) <john.doe@example.com>";
    gpg(&[
        "--passphrase",
        "",
        "--quick-generate-key",
        name,
        "rsa2048",
        "default",
        "never",
    ]);
    let listed = gpg(&["--with-colons", "--list-keys"]).stdout;
    let fingerprint = listed
        .lines()
        .find_map(|line| line.strip_prefix("fpr:::::::::"))
        .unwrap();
    let fingerprint = fingerprint.trim_end_matches(':');
    gpg(&[
        "--passphrase",
        "",
        "--quick-add-key",
        fingerprint,
        "rsa2048",
        "encr",
        "never",
    ]);

    let with_keyring =
        |args: &[&str]| run(vault.command().env("GNUPGHOME", keyring.path()).args(args));
    let create = ["-c", text(home.path()), "--output", "archives", "--quiet"];
    let ran = done(with_keyring(
        &[&create[..], &["--gpg-recipient", "John Doe"]].concat(),
    ));
    assert_eq!(ran.stderr, "", "quiet");
    let archive = vault.path(ran.stdout.trim());
    assert!(text(&archive).ends_with(".tar.gpg"));
    let plain = vault.path("plain.tar");
    gpg(&["--output", text(&plain), "--decrypt", text(&archive)]);
    let listed = done(run(Command::new("tar").arg("tvf").arg(&plain)));
    for name in [
        "header.json",
        "files/instance.key",
        "files/keyserver.yml",
        "manifest.sig",
    ] {
        assert!(listed.stdout.contains(name), "{listed:?}");
    }
    let restored = vault.path("restored");
    done(with_keyring(&[
        "restore",
        "-c",
        text(&restored),
        text(&archive),
    ]));
    keyserver(&restored, &["status"]);
    let proven = done(with_keyring(&["drill", text(&archive)]));
    assert!(proven.stdout.starts_with("proven "), "{proven:?}");

    let unknown = with_keyring(&[&create[..], &["--gpg-recipient", "nobody"]].concat());
    fails(10, unknown);
    assert_eq!(vault.archives().len(), 1, "nothing was made");
    done(run(Command::new("gpgconf")
        .env("GNUPGHOME", keyring.path())
        .args(["--kill", "all"])));
}

#[test]
fn nobody_is_no_recipient_and_clear_text_has_no_key() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let create = ["-c", text(home.path()), "--output", "archives"];
    let refused = fails(10, vault.run(create));
    assert!(refused.stderr.contains("--cleartext"), "{refused:?}");
    assert!(!vault.path("archives").exists());

    let ran = done(vault.run([&create[..], &["--cleartext"]].concat()));
    assert!(ran.stderr.contains("instance.key"), "{ran:?}");
    let archive = vault.path(ran.stdout.trim());
    let bytes = fs::read(&archive).unwrap();
    let key = fs::read(home.path().join("instance.key")).unwrap();
    assert!(!bytes.windows(key.len()).any(|window| window == key));
    assert!(!String::from_utf8_lossy(&bytes).contains("files/instance.key"));

    let target = vault.path("restored");
    let restore = ["restore", "-c", text(&target), text(&archive)];
    let refused = fails(16, vault.run(restore));
    assert!(refused.stderr.contains("--instance-key"), "{refused:?}");
    assert!(!target.exists());
    let verified = done(vault.run(["verify", text(&archive)]));
    assert!(verified.stderr.contains("was not checked"), "{verified:?}");
    let other = TestHome::create(POLICY);
    let key_of = |home: &TestHome| home.path().join("instance.key");
    fails(
        16,
        vault.run([&restore[..], &["--instance-key", text(&key_of(&other))]].concat()),
    );
    assert!(!target.exists());
    done(vault.run([&restore[..], &["--instance-key", text(&key_of(&home))]].concat()));
    keyserver(&target, &["status"]);
}

#[test]
fn what_was_altered_changes_nothing() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let encrypted = vault.back_up(home.path());
    let clear = [
        "-c",
        text(home.path()),
        "--output",
        "archives",
        "--cleartext",
        "--quiet",
    ];
    let clear = vault.path(done(vault.run(clear)).stdout.trim());
    let target = vault.path("restored");
    let altered = vault.path("altered");
    let key = home.path().join("instance.key");
    let try_it = |bytes: &[u8], how: &str| {
        fs::write(&altered, bytes).unwrap();
        let mut words = vault.restoring(&altered, &target);
        words.extend(["--instance-key".to_owned(), text(&key).to_owned()]);
        let ran = vault.run(words);
        assert!(matches!(ran.code, Some(14..=16 | 19)), "{how}: {ran:?}");
        assert!(!target.exists(), "{how}");
        assert!(!vault.path("restored.restoring").exists(), "{how}");
    };
    for archive in [&encrypted, &clear] {
        let bytes = fs::read(archive).unwrap();
        for number in 0..12 {
            let mut flipped = bytes.clone();
            let place = bytes.len() * number / 12 + 5;
            flipped[place] ^= 1;
            try_it(
                &flipped,
                &format!("{} flipped at {place}", archive.display()),
            );
        }
        for number in 0..8 {
            let cut = bytes.len() * number / 8;
            try_it(
                &bytes[..cut],
                &format!("{} cut at {cut}", archive.display()),
            );
        }
        try_it(&[&bytes[..], b"more"].concat(), "with more behind it");
    }
}

#[test]
fn another_servers_archive_takes_no_place_that_is_not_given_up() {
    let vault = Vault::new();
    let [home, other] = [(); 2].map(|()| TestHome::create(POLICY));
    let archive = vault.back_up(home.path());
    let id_of = |home: &Path| {
        let status = keyserver(home, &["--format", "json", "status"]).stdout;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["kss_id"].as_str().unwrap().to_owned()
    };
    let (id, other_id) = (id_of(home.path()), id_of(other.path()));
    let restoring = vault.restoring(&archive, other.path());
    let refused = fails(17, vault.run(&restoring));
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    let expected = |id: &str| {
        [
            vault.restoring(&archive, &vault.path("new")),
            vec!["--kss-id".to_owned(), id.to_owned()],
        ]
        .concat()
    };
    fails(15, vault.run(expected(&other_id)));
    assert!(!vault.path("new").exists());
    assert_eq!(id_of(other.path()), other_id);
    done(vault.run(expected(&id)));

    // It runs: nothing is put in its place, whatever is said.
    let forced = [restoring, vec!["--force".to_owned()]].concat();
    let server = Keyserver::start(&other);
    let refused = fails(12, vault.run(&forced));
    assert!(refused.stderr.contains("stop it first"), "{refused:?}");
    server.stop();
    let ran = done(vault.run(&forced));
    assert_eq!(id_of(other.path()), id);
    let kept = ran
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("what was there is in "))
        .unwrap();
    assert_eq!(id_of(Path::new(kept)), other_id, "the old one is kept");
    fs::remove_dir_all(kept).unwrap();
}

/// The state that a server is put back to is known to be an old one where its home knows of a newer one.
#[test]
fn a_server_that_is_put_back_stays_out_of_service_until_that_is_accepted() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let alice = User::new(&server);
    server.stop();
    let archive = vault.back_up(home.path());
    let server = Serve::on(&home).at(address).start();
    alice.decrypts("a");
    server.stop();
    let mut words = vault.restoring(&archive, home.path());
    words.push("--force".to_owned());
    let ran = done(vault.run(words));
    let kept = ran
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("what was there is in "))
        .unwrap();
    let server = Serve::on(&home).at(address).start();
    // It knows that by itself, before a client comes who has seen more.
    let status = keyserver(home.path(), &["status"]).stdout;
    assert!(status.contains("out of date"), "{status}");
    alice.refused("b");
    server.stop();
    fs::remove_dir_all(kept).unwrap();
}

#[test]
fn a_number_of_archives_is_kept_and_one_backup_is_made_at_a_time() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let create = |more: &[&str]| {
        let more = more.iter().map(|word| (*word).to_owned());
        let words = vault.create(home.path()).into_iter().chain(more);
        vault.run(words.collect::<Vec<_>>())
    };
    let metrics = vault.path("kss.prom");
    let first = done(create(&["--metrics-file", text(&metrics)]));
    let first = Path::new(first.stdout.trim())
        .file_name()
        .unwrap()
        .to_owned();
    let told = fs::read_to_string(&metrics).unwrap();
    assert!(
        told.contains("\nkss_backup_last_proven_timestamp_seconds 1"),
        "{told}"
    );
    let stranger = vault.path("archives/kss_bak_elsewhere_2020-01-01_00-00-00.tar.gpg");
    fs::write(&stranger, "not ours").unwrap();
    for _ in 0..2 {
        done(create(&["--no-drill", "--roll", "2"]));
    }
    let ran = done(create(&["--no-drill", "--roll", "2"]));
    assert!(ran.stderr.contains("stays, too"), "{ran:?}");
    let left = vault.archives();
    assert_eq!(
        left.len(),
        4,
        "two, the one that is proven, and the stranger: {left:?}"
    );
    assert!(left.contains(&first.into_string().unwrap()), "{left:?}");
    done(create(&["--roll", "1"]));
    assert_eq!(vault.archives().len(), 2);
    assert!(stranger.exists());

    let locks = names(&vault.path("archives"));
    let lock = locks.iter().find(|name| name.ends_with(".lock")).unwrap();
    let held = fs::File::open(vault.path("archives").join(lock)).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    fails(11, create(&[]));
    drop(held);
    done(create(&["--quiet"]));
}

/// Kills or fails a command at each call of a kind that changes what is on the disk.
fn at_each_call(call: &str, fault: &str, mut act: impl FnMut(&[&str], u32) -> bool) -> u32 {
    for number in 1..200 {
        let inject = format!("inject={call}:{fault}:when={number}");
        let words = [
            "strace",
            "-f",
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &inject,
        ];
        if act(&words, number) {
            return number - 1;
        }
    }
    panic!("it never came to its end");
}

#[test]
fn a_backup_that_is_killed_leaves_the_old_archives() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let first = vault.back_up(home.path());
    let points = at_each_call("fsync", "signal=KILL", |strace, _| {
        let ran = run(vault.under(strace).args(vault.create(home.path())).args([
            "--no-drill",
            "--roll",
            "1",
        ]));
        if ran.code == Some(0) {
            return true;
        }
        // The old one, or the new one already.
        let whole = vault
            .archives()
            .into_iter()
            .filter(|name| name.ends_with(".age"));
        for name in whole {
            done(vault.run(vault.opening("verify", &vault.path("archives").join(name))));
        }
        assert!(first.exists() || vault.archives().iter().any(|name| name.ends_with(".age")));
        false
    });
    assert!(points >= 3, "{points}");
    assert!(
        !vault.archives().iter().any(|name| name.ends_with(".part")),
        "{:?}",
        vault.archives()
    );
}

#[test]
fn a_disk_that_is_full_costs_no_archive() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let first = vault.back_up(home.path());
    // A file that may not grow is as good as a disk that is full.
    let full = vault
        .under(&["sh", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .args(vault.create(home.path()))
        .output()
        .unwrap();
    assert!(!full.status.success());
    assert!(first.exists());
    let left: Vec<_> = vault
        .archives()
        .into_iter()
        .filter(|name| name.ends_with(".age"))
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    done(vault.run(vault.opening("verify", &first)));
}

#[test]
fn a_restore_that_is_killed_is_done_or_is_not() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let archive = vault.back_up(home.path());
    let target = vault.path("restored");
    for call in ["fsync", "rename,renameat2"] {
        let points = at_each_call(call, "signal=KILL", |strace, number| {
            let ran = run(vault.under(strace).args(vault.restoring(&archive, &target)));
            let complete = target.join("keyserver.db").exists();
            if complete {
                keyserver(&target, &["status"]);
            } else {
                assert!(!target.exists(), "{call} {number}");
                let status = run(keyserver_command(&target).arg("status"));
                assert!(
                    status.stderr.contains("restore"),
                    "{call} {number}: {status:?}"
                );
            }
            let ended = ran.code == Some(0);
            assert!(!ended || complete);
            // Once more, with no fault, it is done.
            if !complete {
                vault.restore(&archive, &target);
                keyserver(&target, &["status"]);
            }
            fs::remove_dir_all(&target).unwrap();
            ended
        });
        assert!(points >= 1, "{call}: {points}");
    }
}

#[test]
fn a_profile_or_a_folder_is_restored_alone() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    let [alice, bob] = [(); 2].map(|()| User::new(&server));
    let listed = |user: &User| user.profile_id();
    let (alice_id, bob_id) = (listed(&alice), listed(&bob));
    server.stop();
    let archive = vault.back_up(home.path());
    // Somebody has deleted what should have stayed.
    for table in ["devices", "locations", "profile_versions", "profiles"] {
        home.sql(match table {
            "devices" => "DELETE FROM devices",
            "locations" => "DELETE FROM locations",
            "profile_versions" => "DELETE FROM profile_versions",
            _ => "DELETE FROM profiles",
        });
    }
    let one = |profile: &str| {
        [
            vault.restoring(&archive, home.path()),
            vec!["--profile".to_owned(), profile.to_owned()],
        ]
        .concat()
    };
    let ran = done(vault.run(one(&alice_id)));
    assert_eq!(ran.stdout, "1 versions, 1 folders\n");
    let again = done(vault.run(one(&alice_id)));
    assert_eq!(again.stdout, "0 versions, 0 folders\n");
    let unknown = "00112233445566778899aabbccddeeff";
    fails(1, vault.run(one(unknown)));
    let server = Serve::on(&home).at(address).start();
    alice.decrypts("a");
    server.stop();
    done(vault.run(one(&bob_id)));
    let server = Serve::on(&home).at(address).start();
    bob.decrypts("a");
    server.stop();
    // It is another server's profile.
    let other = TestHome::create(POLICY);
    let there = [
        vault.restoring(&archive, other.path()),
        vec!["--profile".to_owned(), alice_id],
    ]
    .concat();
    fails(15, vault.run(there));
}

#[test]
fn devices_and_folders_are_backed_up_too() {
    let vault = Vault::new();
    let home = TestHome::create(POLICY);
    let server = Keyserver::start(&home);
    let alice = User::new(&server);
    let device = alice.home();
    let clear = ["-c", text(&device), "--output", "archives", "--cleartext"];
    fails(10, vault.run(clear));
    let archive = vault.back_up(&device);
    let before = alice.profile_id();
    let lost = vault.path("lost");
    fs::rename(&device, &lost).unwrap();
    vault.restore(&archive, &device);
    assert_eq!(alice.profile_id(), before);
    alice.decrypts("a");
    server.stop();

    // A folder of a bot: certificates, and a program that runs.
    let bot = vault.path("bot");
    fs::create_dir_all(bot.join("certificates")).unwrap();
    fs::write(bot.join("certificates/ks-sync-test.pfx"), [7; 3000]).unwrap();
    fs::write(bot.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(bot.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", bot.join("link")).unwrap();
    let ran = done(vault.run(vault.create(&bot)));
    assert!(ran.stderr.contains("`link` is no plain file"), "{ran:?}");
    let restored = vault.path("bot-again");
    vault.restore(&vault.path(ran.stdout.trim()), &restored);
    assert_eq!(names(&restored), ["certificates", "run.sh"]);
    assert_eq!(
        fs::read(restored.join("certificates/ks-sync-test.pfx")).unwrap(),
        [7; 3000]
    );
    let mode = fs::metadata(restored.join("run.sh"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// A state goes to any kind of database, whole or not at all.
#[test]
fn a_shared_database_is_backed_up_and_restored_to_any_kind() {
    let vault = Vault::new();
    let (maria, postgres) = (ostrakon_testdb::mariadb(), ostrakon_testdb::postgres());
    let home = TestHome::empty();
    let id = done(run(keyserver_command(home.path()).args([
        "create",
        "--db-uri",
        &maria.database(),
    ])))
    .stdout;
    home.write_policy(POLICY);
    let server = Keyserver::start(&home);
    let address = server.address;
    // One for each restored server: who has met one refuses another, which knows less.
    let users = [(); 3].map(|()| User::new(&server));
    users[0].decrypts("a");
    let archive = vault.back_up(home.path());
    server.stop();
    let bare = fails(2, vault.run(vault.restoring(&archive, &vault.path("bare"))));
    assert!(bare.stderr.contains("--db-uri"), "{bare:?}");
    for (number, uri) in ["sqlite:".to_owned(), postgres.database(), maria.database()]
        .into_iter()
        .enumerate()
    {
        let restored = TestHome::empty();
        let target = restored.path();
        let words = |target: &Path, more: &[&str]| {
            let more = ["--db-uri", &uri].into_iter().chain(more.iter().copied());
            [
                vault.restoring(&archive, target),
                more.map(str::to_owned).collect(),
            ]
            .concat()
        };
        // Killed while it writes: nothing is there.
        if number > 0 {
            let strace = [
                "strace",
                "-f",
                "-qqq",
                "-o",
                "/dev/null",
                "-e",
                "trace=fsync",
                "-e",
                "inject=fsync:signal=KILL:when=3",
            ];
            let killed = run(vault.under(&strace).args(words(target, &[])));
            assert_ne!(killed.code, Some(0), "{killed:?}");
            assert_eq!(names(target), [""; 0]);
        }
        done(vault.run(words(target, &[])));
        let status = keyserver(target, &["status"]).stdout;
        assert!(status.contains(id.trim()), "{status}");
        let server = Serve::on(&restored).at(address).start();
        users[number].decrypts("b");
        server.stop();
        keyserver(target, &["audit", "verify"]);
        if number > 0 {
            let elsewhere = vault.path(&format!("elsewhere-{number}"));
            fails(17, vault.run(words(&elsewhere, &[])));
            assert!(!elsewhere.exists());
        }
    }
}
