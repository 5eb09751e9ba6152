//! Sessions at the command line of `keyserver`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use ostrakon_testkit::{
    APPROVE_ALL, Asked, Keyserver, Ran, Serve, TestHome, TestUser, command::binary, http::get,
    keyserver::send_signal, keyserver_command, run,
};
use ostrakon_transport::{
    binding::{Announcement, KEYSERVER_PATH},
    message::{Item, ItemAnswer},
};
use ostrakon_types::Denial;

fn keyserver(home: &TestHome, arguments: &[&str]) -> Ran {
    run(keyserver_command(home.path()).args(arguments))
}

#[test]
fn what_cannot_be_understood_is_a_usage_error() {
    let home = TestHome::empty();
    for arguments in [
        &[][..],
        &["--frobnicate"],
        &["frobnicate"],
        &["serve", "--prod"],
        &["serve", "now"],
        &["create", "--name"],
        &["status", "--format", "xml"],
        &["policy"],
        &["policy", "--load", "--dump"],
        &["policy", "--load", "check", "x"],
        &["policy", "check"],
        &["policy", "test"],
        &["enable", "disable"],
        &["--home"],
    ] {
        let ran = keyserver(&home, arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(!ran.stderr.is_empty());
    }
    let left = fs::read_dir(home.path()).unwrap().count();
    assert_eq!(left, 0, "a usage error did something");
    for arguments in [["--help"], ["--version"]] {
        let ran = keyserver(&home, &arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    }
}

#[test]
fn a_server_is_made_once() {
    let home = TestHome::empty();
    let first = keyserver(&home, &["create", "--name", "Front desk"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    let id = first.stdout.trim_end();
    assert!(id.starts_with("kss1") && !id.contains('\n'), "{first:?}");
    assert!(first.stderr.contains("It is a new key"), "{first:?}");
    let mode = |name: &str| {
        let path = home.path().join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("instance.key"), mode("keyserver.db")), (0o600, 0o600));
    let key = fs::read(home.home().instance_key()).unwrap();
    let second = keyserver(&home, &["create"]);
    assert_eq!(
        (second.code, second.stdout.as_str()),
        (Some(1), ""),
        "{second:?}"
    );
    assert!(
        second
            .stderr
            .starts_with("error: there is a database already"),
        "{second:?}"
    );
    assert!(
        second.stderr.contains("hint: nothing was changed"),
        "{second:?}"
    );
    assert_eq!(fs::read(home.home().instance_key()).unwrap(), key);
    // Neither half is taken for nothing.
    fs::rename(home.home().database(), home.path().join("aside")).unwrap();
    assert_eq!(keyserver(&home, &["create"]).code, Some(1));
    fs::rename(home.path().join("aside"), home.home().database()).unwrap();
    let status = keyserver(&home, &["status"]);
    assert!(
        status.stdout.contains(id) && status.stdout.contains("Front desk"),
        "{status:?}"
    );
    // The new server's own policy decrypts nothing, and a policy that is there is kept.
    assert!(
        fs::read_to_string(home.home().policy())
            .unwrap()
            .contains("decrypt: []")
    );
    let other = TestHome::empty();
    other.write_policy(APPROVE_ALL);
    let json = keyserver(&other, &["create", "--format", "json"]);
    let said: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(said["kss_id"].as_str().unwrap().starts_with("kss1"));
    assert_ne!(
        said["kss_id"].as_str().unwrap(),
        id,
        "two servers have one key"
    );
    assert_eq!(
        fs::read_to_string(other.home().policy()).unwrap(),
        APPROVE_ALL
    );
    for name in ["", &"x".repeat(129), "line\nbreak", "\u{202e}evil"] {
        let home = TestHome::empty();
        let ran = keyserver(&home, &["create", "--name", name]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("bad name"), "{ran:?}");
        assert!(!home.home().database().exists());
    }
}

#[test]
fn status_tells_each_state() {
    let home = TestHome::empty();
    for format in ["human", "json"] {
        let ran = keyserver(&home, &["status", "--format", format]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    let home = TestHome::create(APPROVE_ALL);
    let human = |state: &str, policy: &str| {
        let ran = keyserver(&home, &["status"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        assert!(
            ran.stdout.contains(&format!("state      {state}\n")),
            "{ran:?}"
        );
        assert!(
            ran.stdout.contains(&format!("policy     {policy}")),
            "{ran:?}"
        );
    };
    let json = || -> serde_json::Value {
        let ran = keyserver(&home, &["status", "--format", "json"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    human("stopped", "none yet");
    assert_eq!(
        (&json()["state"], &json()["policy_version"]),
        (&"stopped".into(), &serde_json::Value::Null)
    );
    let server = Keyserver::start(&home);
    human("enabled", "version 1");
    let said = json();
    assert_eq!(said["state"], "enabled");
    assert_eq!(said["kss_id"], server.identity.kss_id().to_string());
    assert_eq!(
        (&said["policy_version"], &said["profiles"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        (&said["database"], &said["protector"]),
        (&"sqlite".into(), &"key file".into())
    );
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    let _user = TestUser::onboard(&server.identity, server.address);
    assert_eq!(json()["profiles"], 1);
    assert_eq!(keyserver(&home, &["disable"]).code, Some(0));
    human("disabled", "version 1");
    assert_eq!(json()["state"], "disabled");
    server.kill();
    human("stopped", "version 1");
    assert_eq!(json()["profiles"], 1);
}

#[test]
fn a_disabled_server_refuses_until_it_is_enabled() {
    let home = TestHome::create(APPROVE_ALL);
    // While it does not run.
    let ran = keyserver(&home, &["disable"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "key shard server disabled\n"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("this holds from its next start"),
        "{ran:?}"
    );
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::new(&server.identity);
    let founding = user.body(vec![user.founding()]);
    let (envelope, pending) = user.first_contact(&founding);
    let answer = ostrakon_testkit::user::post(at, &envelope);
    assert_eq!(
        ostrakon_testkit::user::opened(&answer, &pending).denial(),
        Some(Denial::Disabled)
    );
    let ran = keyserver(&home, &["enable", "--format", "json"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "{\"enabled\":true,\"running\":true}\n"),
        "{ran:?}"
    );
    user.register(at);
    let file = user.file("Public/a");
    let approved = user.body(vec![file.item()]);
    assert!(user.ask(at, &approved).is(&file));
    // While it runs: each request gets a refusal that says why.
    let ran = keyserver(&home, &["disable"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(user.decrypt(at, &file).denial(), Some(Denial::Disabled));
    // That holds over a kill, and twice is once.
    server.kill();
    let server = Keyserver::start(&home);
    let at = server.address;
    assert_eq!(user.decrypt(at, &file).denial(), Some(Denial::Disabled));
    assert_eq!(keyserver(&home, &["disable"]).code, Some(0));
    let refused = user.body(vec![file.item()]);
    assert_eq!(user.ask(at, &refused).denial(), Some(Denial::Disabled));
    assert_eq!(keyserver(&home, &["enable"]).code, Some(0));
    assert!(user.decrypt(at, &file).is(&file));
    // What was refused stays so under its id.
    assert!(matches!(
        user.ask(at, &refused).only(),
        ItemAnswer::Denied(Denial::Disabled)
    ));
    server.stop();
    let json = keyserver(&home, &["enable", "--format", "json"]);
    assert_eq!(json.stdout, "{\"enabled\":true,\"running\":false}\n");
}

#[test]
fn a_disabled_server_releases_nothing_to_a_retry_either() {
    let home = TestHome::create(APPROVE_ALL);
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let file = user.file("Public/a");
    // What needs no approval is refused as well.
    let body = user.body(vec![file.item(), Item::ListLocations, Item::ProfileHead]);
    let (envelope, pending) = user.seal(&body);
    let send = || {
        let answer = ostrakon_testkit::user::post(at, &envelope);
        ostrakon_testkit::user::opened(&answer, &pending)
    };
    let answered = |asked: Asked| file.is_in(&asked.items()[0]);
    assert!(answered(send()));
    assert_eq!(keyserver(&home, &["disable"]).code, Some(0));
    for item in send().items() {
        assert!(matches!(item, ItemAnswer::Denied(Denial::Disabled)));
    }
    assert_eq!(keyserver(&home, &["enable"]).code, Some(0));
    assert!(answered(send()));
    server.stop();
    assert_eq!(home.records().decisions(body.request_id()).len(), 1);
}

#[test]
fn the_administration_socket_is_the_owners_alone() {
    let home = TestHome::create(APPROVE_ALL);
    let _server = Keyserver::start(&home);
    let mode = fs::metadata(home.home().socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// The exit code of a command whose standard output nobody reads, and what it says beside it.
fn unread(command: &mut Command) -> (Option<i32>, String) {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    (output.status.code(), said)
}

/// As it is with `| head`, which closes the pipe.
#[test]
fn a_command_that_nobody_reads_ends_quietly_as_by_sigpipe() {
    const BY_SIGPIPE: Option<i32> = Some(128 + 13);
    let home = TestHome::create(APPROVE_ALL);
    Keyserver::start(&home).stop();
    let policy = home.home().policy();
    let policy = policy.to_str().unwrap();
    let question = home.path().join("question.yml");
    let asks = "request: {type: decrypt, device_id: '64', cryptographic_id: '63',
                profile: {id: da585c21572cc938b99cd6ab4df19e3d}}";
    fs::write(&question, asks).unwrap();
    let archive = home.path().join("archive");
    let suites = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy-examples");
    for arguments in [
        &["status"][..],
        &["audit", "tail"],
        &["audit", "export"],
        &["audit", "verify"],
        &["audit", "archive", archive.to_str().unwrap()],
        &["quota", "list"],
        &["quota", "clear", "--all"],
        &["policy", "check", policy],
        &["policy", "test", suites],
        &["policy", "explain", question.to_str().unwrap()],
        &["policy", "simulate", policy, "--since", "1d"],
        &["policy", "schema"],
        &["disable"],
        &["enable"],
    ] {
        for format in ["human", "json"] {
            let mut command = keyserver_command(home.path());
            let _ = fs::remove_file(&archive);
            let ended = unread(command.args(["--format", format]).args(arguments));
            assert_eq!(ended, (BY_SIGPIPE, String::new()), "{arguments:?} {format}");
        }
    }
    let server = Keyserver::start(&home);
    for arguments in [&["policy", "--load"], &["policy", "--dump"]] {
        let ended = unread(keyserver_command(home.path()).args(arguments));
        assert_eq!(ended, (BY_SIGPIPE, String::new()), "{arguments:?}");
    }
    server.stop();
    for arguments in [&["completions", "bash"][..], &["man"]] {
        let ended = unread(Command::new(binary("keyserver")).args(arguments));
        assert_eq!(ended, (BY_SIGPIPE, String::new()), "{arguments:?}");
    }
    // What was made on the way goes, too.
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["demo", policy][..], &["serve", "--dev"]] {
        let mut command = Command::new(binary("keyserver"));
        let ended = unread(command.args(arguments).env("TMPDIR", folder.path()));
        assert_eq!(ended.0, BY_SIGPIPE, "{arguments:?}: {}", ended.1);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "{arguments:?}"
        );
    }
    // A disk that is full is told of.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = keyserver_command(home.path())
        .arg("status")
        .stdout(full)
        .output()
        .unwrap();
    let said = String::from_utf8(status.stderr).unwrap();
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: cannot write to standard output: "),
        "{said}"
    );
}

#[test]
fn errors_and_log_lines_that_nobody_reads_change_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let empty = TestHome::empty();
    let mut status = keyserver_command(empty.path());
    let ended = status.arg("status").stderr(writer).status().unwrap();
    assert_eq!(ended.code(), Some(1));

    let home = TestHome::create(APPROVE_ALL);
    let mut command = Serve::on(&home)
        .with("OSTRAKON_LOG_LEVEL", "debug")
        .command();
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        let (_, rest) = line.split_once("address=")?;
        Some(rest.split(' ').next().unwrap().parse().unwrap())
    });
    let address = address.unwrap();
    drop(lines);
    let card = get(address, KEYSERVER_PATH).unwrap();
    let announced: Announcement = serde_json::from_slice(&card.body).unwrap();
    let identity = announced.card.verify(&announced.kss_id).unwrap();
    let user = TestUser::onboard(&identity, address);
    let file = user.file("Public/a");
    assert!(user.decrypt(address, &file).is(&file));
    send_signal(child.id(), rustix::process::Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_throw_away_server_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(binary("keyserver"))
        .args(["serve", "--dev"])
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let url = lines
        .find_map(|line| {
            line.unwrap()
                .trim()
                .strip_prefix("url   http://")
                .map(str::to_owned)
        })
        .unwrap();
    let answer = ostrakon_testkit::http::get(url.parse().unwrap(), "/readyz").unwrap();
    assert_eq!(answer.status, 200);
    ostrakon_testkit::keyserver::send_signal(child.id(), rustix::process::Signal::TERM);
    // It may still write how it is to be used.
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
