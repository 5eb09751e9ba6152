//! Several devices of one profile, with the commands that people type: several homes on one machine stand
//! for several devices.
//!
//! Bugs planted to see these tests fail: one approval less taken for enough
//! (`five_devices_three_of_which_decide`); the person's word on the digits not heeded
//! (`a_typed_code_needs_both_to_agree`); one key for the answers to all ceremonies, and the digest in them
//! not compared (`what_a_relay_moves_or_alters_is_not_answered`); an interrupted request not closed at the server
//! (`who_is_interrupted_withdraws_what_waits_at_the_server`), nor one whose terminal is closed (the same); the
//! failure of a relay that answers passed over (`a_relay_that_was_named_and_does_not_say_what_waits_is_an_error`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failure of the test"
)]

mod devices;

use std::{
    fs::{self, File},
    io::{BufWriter, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use devices::{Device, Waiting};
use ostrakon_custody::AuditEvent;
use ostrakon_testkit::{Keyserver, TestHome, keyserver::send_signal, keyserver_command, run};
use rustix::process::Signal;
use serde_json::Value;

const CHANGES: &str = "\
decrypt: [[{rule: approve-rule}]]
change_profile: [[{rule: approve-rule}]]
";

#[test]
fn five_devices_three_of_which_decide() {
    let desk = Device::workstation();
    assert_eq!(desk.threshold(), (1, 1));
    fs::create_dir(desk.path("vault")).unwrap();
    fs::write(desk.path("vault/old"), "old").unwrap();
    desk.done(&["folder", "create", "vault"]);
    desk.done(&["encrypt", "--remove", "vault"]);
    desk.listen();
    let [phone, tablet, other] = [(); 3].map(|()| Device::new());
    desk.add("phone", &phone, &[]);
    // One of two would be no threshold.
    assert_eq!(desk.threshold(), (2, 2));
    desk.add("tablet", &tablet, &[&phone]);
    desk.add("other", &other, &[&tablet]);
    assert_eq!(desk.threshold(), (2, 4));
    // Words are a device, too, and are shown once all that it takes has been approved.
    let host = desk.start(&["device", "words"]);
    phone.approve();
    let said = host.succeeds();
    let words: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let words = words["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 24);
    assert_eq!(desk.threshold(), (2, 5));
    let host = desk.start(&["profile", "threshold", "3"]);
    phone.approve();
    host.succeeds();
    assert_eq!(desk.threshold(), (3, 5));
    for word in words.split(' ').collect::<Vec<_>>().windows(3) {
        let found = fs::read_dir(desk.path("home")).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
            let text = word.join(" ");
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        });
        assert!(!found, "recovery words are kept");
    }

    // Two of three are not enough, whatever the waiting device itself thinks.
    let mut host = desk.start(&["profile", "threshold", "2", "--wait", "12"]);
    let id = host.event("opened")["ceremony"]
        .as_str()
        .unwrap()
        .to_owned();
    phone.done(&["approvals", "approve", &id]);
    let again = phone.run(&["approvals", "approve", &id]);
    assert_eq!(again.code, Some(1), "answered twice: {again:?}");
    host.fails(1, "not enough devices approved in time");
    assert_eq!(desk.threshold(), (3, 5));
    // After its end, there is nothing to answer.
    let late = tablet.run(&["approvals", "approve", &id]);
    assert!(late.stderr.contains("nothing that waits here"), "{late:?}");
    // A denial ends it.
    let host = desk.start(&["profile", "threshold", "2"]);
    let id = tablet.asked();
    let shown = tablet.done(&["approvals", "show", &id[..6]]).stdout;
    assert!(shown.contains("threshold  2 of 5, now 3 of 5"), "{shown}");
    tablet.done(&["approvals", "deny", &id]);
    host.fails(3, "denied it");

    // The words on a fresh home are that device, once another one has shown it the profile.
    let paper = Device::new();
    let mut loading = paper.command(&["device", "words", "--load"]);
    loading.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut loading = loading.spawn().unwrap();
    let line = format!("{}\n", words.to_uppercase());
    loading
        .stdin
        .take()
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    let loaded = loading.wait_with_output().unwrap();
    assert!(loaded.status.success());
    let device = String::from_utf8(loaded.stdout).unwrap();
    let device = device.split(' ').next().unwrap().to_owned();
    let mut host = desk.start(&["device", "link", &device]);
    let uri = host.event("invitation")["uri"].as_str().unwrap().to_owned();
    paper.done(&["device", "join", &uri]);
    host.succeeds();
    assert_eq!(paper.threshold(), (3, 5));
    // Any three of the five: this time the words and the tablet, and the phone goes.
    let devices = desk.json(&["device", "list"]);
    let id_of = |name: &str| {
        let found = devices
            .iter()
            .find(|device| device["name"] == name)
            .unwrap();
        found["id"].as_str().unwrap().to_owned()
    };
    let host = desk.start(&["device", "remove", &id_of("phone")]);
    paper.approve();
    tablet.approve();
    host.succeeds();
    assert_eq!(desk.threshold(), (3, 4));
    // What was encrypted by the first version is still decrypted.
    desk.done(&["decrypt", "vault"]);
    assert_eq!(fs::read(desk.path("vault/old")).unwrap(), b"old");
    // A device of another profile cannot be linked, nor added again.
    let stranger = Device::workstation();
    let mut host = desk.start(&["device", "add", "stranger"]);
    let uri = host.event("invitation")["uri"].as_str().unwrap().to_owned();
    let refused = stranger.run(&["device", "join", &uri]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    host.child.kill().unwrap();
    host.child.wait().unwrap();
}

#[test]
fn a_relay_that_was_named_and_is_away_is_an_error() {
    let desk = Device::workstation();
    let phone = Device::new();
    desk.listen();
    desk.add("phone", &phone, &[]);
    // Nobody listens there any more.
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = format!("http://{}", away.local_addr().unwrap());
    phone.done(&["approvals", "list"]);
    for args in [
        &["approvals", "list", "--relay", &away][..],
        &["approvals", "show", "ab", "--relay", &away],
        &["approvals", "approve", "ab", "--relay", &away],
    ] {
        let ran = phone.run(args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let said = format!("nobody answers at {away}");
        assert!(ran.stderr.contains(&said), "{ran:?}");
    }
    // What waits elsewhere is shown, and can be answered, all the same.
    let mut host = desk.start(&["device", "words"]);
    let relay = host.event("opened")["relay"].as_str().unwrap().to_owned();
    let ran = phone.run(&["approvals", "list", "--relay", &away, "--relay", &relay]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("change the profile"), "{ran:?}");
    let id = phone.asked();
    phone.done(&[
        "approvals",
        "approve",
        &id,
        "--relay",
        &away,
        "--relay",
        &relay,
    ]);
    host.succeeds();
}

#[test]
fn a_relay_that_was_named_and_does_not_say_what_waits_is_an_error() {
    let desk = Device::workstation();
    let phone = Device::new();
    desk.listen();
    desk.add("phone", &phone, &[]);
    let mut host = desk.start(&["device", "words"]);
    let relay = host.event("opened")["relay"].as_str().unwrap().to_owned();
    // It has the card of one that is there, and no answer that can be read.
    let false_one = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", false_one.local_addr().unwrap());
    let behind = relay.strip_prefix("http://").unwrap().to_owned();
    thread::spawn(move || {
        for mut client in false_one.incoming().flatten() {
            let mut asked = vec![0; 64 << 10];
            let length = client.read(&mut asked).unwrap_or_default();
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            let mut answer =
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno".to_vec();
            if let Some(path) = asked
                .strip_prefix("GET ")
                .and_then(|asked| asked.split(' ').next())
            {
                let mut server = TcpStream::connect(&behind).unwrap();
                write!(
                    server,
                    "GET {path} HTTP/1.1\r\nhost: there\r\nconnection: close\r\n\r\n"
                )
                .unwrap();
                answer.clear();
                server.read_to_end(&mut answer).unwrap();
            }
            let _ = client.write_all(&answer);
        }
    });
    let said = format!("it is not known what waits at {url}");
    let ran = phone.run(&["approvals", "list", "--relay", &url]);
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains(&said), "{ran:?}");
    // What waits elsewhere is shown. And who says that it does not know this device, has said all.
    let ran = phone.run(&["approvals", "list", "--relay", &url, "--relay", &relay]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("change the profile"), "{ran:?}");
    let stranger = Device::workstation();
    let ran = stranger.done(&["approvals", "list", "--relay", &relay]);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""), "{ran:?}");
    phone.done(&["approvals", "approve", &phone.asked(), "--relay", &relay]);
    host.succeeds();
}

#[test]
fn a_typed_code_needs_both_to_agree() {
    let desk = Device::workstation();
    desk.listen();
    let attempt = |here: &str, there: &str| {
        let phone = Device::new();
        let mut host = desk.command(&["device", "add", "phone", "--method", "code"]);
        let mut host = Waiting::spawn(host.stdin(Stdio::piped()).args(["--format", "json"]));
        let code = host.event("code")["code"].as_str().unwrap().to_owned();
        assert_eq!(code.len(), 14);
        let guest = phone
            .command(&["device", "join", &code.to_lowercase()])
            .into_waiting(there);
        let digits = host.event("compare")["digits"].as_str().unwrap().to_owned();
        let mut input = host.child.stdin.take().unwrap();
        writeln!(input, "{here}").unwrap();
        (host, guest, digits, phone)
    };
    let (host, guest, _, _phone) = attempt("n", "y");
    host.fails(1, "the digits differ");
    assert_ne!(guest.ended().0, Some(0));
    let (host, guest, _, _phone) = attempt("y", "n");
    guest.fails(1, "the digits differ");
    let mut host = host;
    host.child.kill().unwrap();
    host.child.wait().unwrap();
    assert_eq!(desk.threshold(), (1, 1));
    let (host, guest, digits, phone) = attempt("y", "y");
    let (code, stdout, stderr) = guest.ended();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.contains(&digits), "{digits}: {stderr}");
    host.succeeds();
    assert_eq!(phone.threshold(), (2, 2));
}

/// A command with a person who answers.
trait IntoWaiting {
    fn into_waiting(self, answer: &str) -> Waiting;
}

impl IntoWaiting for Command {
    fn into_waiting(mut self, answer: &str) -> Waiting {
        let mut waiting = Waiting::spawn(self.stdin(Stdio::piped()));
        let mut input = waiting.child.stdin.take().unwrap();
        writeln!(input, "{answer}").unwrap();
        waiting
    }
}

#[test]
fn the_code_that_is_drawn_is_read_back() {
    let desk = Device::workstation();
    desk.listen();
    let host = Waiting::spawn(&mut desk.command(&["device", "add", "phone"]));
    let phone = Device::new();
    paint(&host.drawn(), &phone.path("code.png"));
    phone.done(&["device", "join", "--image", "code.png"]);
    assert!(host.succeeds().contains("mobile"));
    assert_eq!(phone.threshold(), (2, 2));
}

/// Paints what a terminal shows: light blocks on a dark ground, eight pixels a module.
fn paint(drawn: &str, path: &Path) {
    const SCALE: usize = 8;
    let lines: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
    let (columns, rows) = (lines[0].len(), lines.len() * 2);
    let light = |x: usize, y: usize| {
        let character = lines[y / 2].get(x).copied().unwrap_or(' ');
        match y % 2 {
            0 => matches!(character, '\u{2588}' | '\u{2580}'),
            _ => matches!(character, '\u{2588}' | '\u{2584}'),
        }
    };
    let (width, height) = (columns * SCALE, rows * SCALE);
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| if light(x / SCALE, y / SCALE) { 255 } else { 0 })
        .collect();
    let file = BufWriter::new(File::create(path).unwrap());
    let size = |length: usize| u32::try_from(length).unwrap();
    let mut encoder = png::Encoder::new(file, size(width), size(height));
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
}

#[test]
fn with_a_key_shard_server_it_relays_and_its_policy_judges() {
    let home = TestHome::create(CHANGES);
    let server = Keyserver::start(&home);
    let desk = Device::onboarded(&server);
    fs::create_dir(desk.path("vault")).unwrap();
    fs::write(desk.path("vault/old"), "old").unwrap();
    desk.done(&["folder", "create", "vault"]);
    desk.done(&["encrypt", "--remove", "vault"]);
    desk.listen();
    let phone = Device::new();
    // The workstation and the server are two of two: nobody else need be asked.
    desk.add("phone", &phone, &[]);
    assert_eq!(desk.threshold(), (2, 3));
    fs::write(desk.path("vault/new"), "new").unwrap();
    desk.done(&["encrypt", "--remove", "vault/new"]);
    desk.done(&["decrypt", "vault"]);
    assert_eq!(fs::read(desk.path("vault/old")).unwrap(), b"old");
    // The phone opens what was encrypted since, and nothing from before.
    fs::copy(desk.path("vault/new.age"), phone.path("new.age")).unwrap();
    fs::copy(desk.path("vault/old.age"), phone.path("old.age")).unwrap();
    phone.done(&["decrypt", "new.age"]);
    assert_eq!(fs::read(phone.path("new")).unwrap(), b"new");
    assert_eq!(phone.run(&["decrypt", "old.age"]).code, Some(1));

    desk.done(&["profile", "threshold", "3"]);
    let tablet = Device::new();
    let mut host = desk.start(&["device", "add", "tablet"]);
    let uri = host.event("invitation")["uri"].as_str().unwrap().to_owned();
    let guest = tablet.start(&["device", "join", &uri]);
    let relay = host.event("opened")["relay"].clone();
    assert_eq!(relay, Value::Null, "the server relays");
    phone.approve();
    guest.succeeds();
    host.succeeds();
    // The phone has missed two versions; it learns of both.
    assert_eq!(phone.threshold().1, 3);
    phone.done(&["approvals", "list"]);
    assert_eq!(phone.threshold(), (3, 4));
    assert_eq!(tablet.threshold(), (3, 4));

    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let audit = home.records().audit;
    let steps: Vec<&str> = audit
        .iter()
        .filter_map(|record| match &record.event {
            AuditEvent::Ceremony { step, .. } => Some(step.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(steps, ["opened", "answered", "approved"]);
}

#[test]
fn the_operator_cancels_what_devices_ask_each_other() {
    let home = TestHome::create(CHANGES);
    let server = Keyserver::start(&home);
    let desk = Device::onboarded(&server);
    let phone = Device::new();
    desk.listen();
    desk.add("phone", &phone, &[]);
    desk.done(&["profile", "threshold", "3"]);
    let mut host = desk.start(&["profile", "threshold", "2"]);
    let id = host.event("opened")["ceremony"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(phone.asked(), id);
    let ran = run(keyserver_command(home.path()).args(["ceremony", "cancel", &id]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    host.fails(3, "it was cancelled at the key shard server");
    assert!(phone.json(&["approvals", "list"]).is_empty());
    let late = phone.run(&["approvals", "approve", &id]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert_eq!(desk.threshold(), (3, 3));
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    let steps = home
        .records()
        .audit
        .into_iter()
        .filter_map(|record| match record.event {
            AuditEvent::Ceremony { ceremony, step, .. } => {
                (ceremony.to_string() == id).then_some(step)
            }
            _ => None,
        });
    assert_eq!(steps.collect::<Vec<_>>(), ["opened", "cancelled"]);
}

#[test]
fn who_is_interrupted_withdraws_what_waits_at_the_server() {
    let home = TestHome::create(CHANGES);
    let server = Keyserver::start(&home);
    let desk = Device::onboarded(&server);
    let phone = Device::new();
    desk.listen();
    desk.add("phone", &phone, &[]);
    desk.done(&["profile", "threshold", "3"]);
    let listed = || {
        let ran =
            run(keyserver_command(home.path()).args(["ceremony", "list", "--format", "json"]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout.lines().count()
    };
    // More often than there are places.
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::HUP] {
        let mut host = desk.start(&["profile", "threshold", "2"]);
        host.event("opened");
        assert_eq!((phone.json(&["approvals", "list"]).len(), listed()), (1, 1));
        send_signal(host.child.id(), signal);
        host.fails(1, "interrupted: nobody is asked any more");
        assert_eq!((phone.json(&["approvals", "list"]).len(), listed()), (0, 0));
    }
    // Who is killed says nothing: the place is taken until the request expires, or the operator ends it.
    let mut host = desk.start(&["profile", "threshold", "2"]);
    host.event("opened");
    host.child.kill().unwrap();
    host.child.wait().unwrap();
    assert_eq!(listed(), 1);
    // And after all that, it works.
    let mut host = desk.start(&["profile", "threshold", "2"]);
    let id = host.event("opened")["ceremony"]
        .as_str()
        .unwrap()
        .to_owned();
    phone.done(&["approvals", "approve", &id]);
    host.succeeds();
}

#[test]
fn what_a_policy_does_not_allow_no_device_changes() {
    let home = TestHome::create("decrypt: []\n");
    let server = Keyserver::start(&home);
    let desk = Device::onboarded(&server);
    desk.listen();
    let phone = Device::new();
    let mut host = desk.start(&["device", "add", "phone"]);
    let uri = host.event("invitation")["uri"].as_str().unwrap().to_owned();
    let guest = phone.start(&["device", "join", &uri]);
    guest.fails(3, "did not approve");
    host.fails(3, "the policy does not allow it");
    assert_eq!(desk.threshold(), (2, 2));
}

#[test]
fn what_a_relay_moves_or_alters_is_not_answered() {
    let home = TestHome::create(CHANGES);
    let server = Keyserver::start(&home);
    let desk = Device::onboarded(&server);
    desk.listen();
    let (phone, tablet) = (Device::new(), Device::new());
    desk.add("phone", &phone, &[]);
    desk.add("tablet", &tablet, &[]);
    desk.done(&["profile", "threshold", "3"]);
    // A server that has been taken over, by way of its database: it swaps the notices of two devices.
    let mut host = desk.start(&["profile", "threshold", "2"]);
    host.event("opened");
    home.sql("CREATE TABLE kept AS SELECT device, notice FROM ceremony_notices");
    let swapped = home.sql(
        "UPDATE ceremony_notices SET notice =
         (SELECT kept.notice FROM kept WHERE kept.device <> ceremony_notices.device)",
    );
    assert_eq!(swapped, 2);
    for device in [&phone, &tablet] {
        let listed = device.done(&["approvals", "list"]);
        assert_eq!(listed.stdout, "");
        assert!(listed.stderr.contains("does not answer"), "{listed:?}");
    }
    // It gives each its own again, but a byte short. Then it loses all.
    home.sql(
        "UPDATE ceremony_notices SET notice = (SELECT substr(kept.notice, 1, length(kept.notice) - 1)
         FROM kept WHERE kept.device = ceremony_notices.device)",
    );
    assert_eq!(phone.done(&["approvals", "list"]).stdout, "");
    home.sql("DELETE FROM ceremonies");
    host.fails(3, "cancelled at the key shard server");
    assert_eq!(desk.threshold(), (3, 4));

    // It keeps a good answer, and gives it for another ceremony, and twice: no approval comes of it.
    let mut host = desk.start(&["profile", "threshold", "2", "--wait", "12"]);
    host.event("opened");
    let id = phone.asked();
    let other = desk.start(&["profile", "threshold", "2", "--wait", "12"]);
    let mut other = other;
    other.event("opened");
    phone.done(&["approvals", "deny", &id]);
    home.sql(
        "INSERT OR REPLACE INTO ceremony_answers
         SELECT n.profile, n.ceremony, n.device, a.answer FROM ceremony_notices n, ceremony_answers a",
    );
    // The first was denied. The second is not, though the denial stands in it, too.
    host.fails(3, "denied it");
    other.fails(1, "not enough devices approved in time");
    assert_eq!(desk.threshold(), (3, 4));
}
