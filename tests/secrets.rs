//! What must not be found: released shards and keys in memory, users' data in logs and on disk.
//!
//! Each search is shown to find what is there. Seen to fail: with a copy of the values that `Shard`
//! decodes not wiped, all released shards are found in memory; with the process left dumpable, another
//! one reads it; with the path in a log line, it is found in the log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use ostrakon_shards::random;
use ostrakon_testkit::{APPROVE_ALL, Keyserver, Serve, TestHome, TestUser, keyserver_command, run};
use ostrakon_transport::message::Item;

/// All that the process can write to, and has touched.
fn memory(id: u32) -> io::Result<Vec<u8>> {
    let memory = File::open(format!("/proc/{id}/mem"))?;
    let maps = fs::read_to_string(format!("/proc/{id}/maps"))?;
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut parts = line.split(' ');
        let (range, rights) = (parts.next().unwrap(), parts.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        let start = all.len();
        all.resize(start + usize::try_from(to - from).unwrap(), 0);
        if memory.read_exact_at(&mut all[start..], from).is_err() {
            for (page, at) in all[start..].chunks_mut(4096).zip((from..).step_by(4096)) {
                let _ = memory.read_exact_at(page, at);
            }
        }
    }
    Ok(all)
}

/// Whether `needle` is in `bytes`.
fn find(bytes: &[u8], needle: &[u8]) -> bool {
    found(bytes, [needle]) == 1
}

/// How many of `needles`, all of one length of at least 2, are in `bytes`.
fn found<'n>(bytes: &[u8], needles: impl IntoIterator<Item = &'n [u8]>) -> usize {
    let mut by_start: HashMap<[u8; 2], Vec<&[u8]>> = HashMap::new();
    for needle in needles {
        by_start
            .entry([needle[0], needle[1]])
            .or_default()
            .push(needle);
    }
    let mut starts = vec![false; 1 << 16];
    for start in by_start.keys() {
        starts[usize::from(u16::from_be_bytes(*start))] = true;
    }
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for (at, pair) in bytes.windows(2).enumerate() {
        if starts[usize::from(u16::from_be_bytes([pair[0], pair[1]]))] {
            let here = by_start[&[pair[0], pair[1]]].iter();
            seen.extend(here.filter(|needle| bytes[at..].starts_with(needle)));
        }
    }
    seen.len()
}

#[test]
fn no_released_shard_and_no_instance_key_stays_in_memory() {
    let home = TestHome::create(APPROVE_ALL);
    let planted = "planted-9b1f4c7a-value";
    let server = Serve::on(&home).with("PLANTED", planted).start();
    if !rustix::process::getuid().is_root() {
        // Nobody but root may look, which is what the next test is about.
        assert!(memory(server.id()).is_err());
        return;
    }
    let user = TestUser::onboard(&server.identity, server.address);
    let mut released = Vec::new();
    for number in 0..50 {
        let files: Vec<_> = (0..4)
            .map(|n| user.file(&format!("Public/{number}-{n}")))
            .collect();
        let body = user.body(files.iter().map(|file| file.item()).collect());
        let answers = user.ask(server.address, &body).items();
        assert!(
            files
                .iter()
                .zip(&answers)
                .all(|(file, answer)| file.is_in(answer))
        );
        released.extend(files.into_iter().map(|file| file.shard));
    }
    let memory = memory(server.id()).unwrap();
    assert!(
        find(&memory, planted.as_bytes()),
        "the search finds nothing"
    );
    // The device's public key is remembered: what is on the heap is found, too.
    assert!(find(&memory, user.card.verify.as_bytes()));
    let found = found(&memory, released.iter().map(|shard| shard.values()));
    assert_eq!(found, 0, "of {} released shards", released.len());

    let key = fs::read_to_string(home.home().instance_key()).unwrap();
    let digits = key.trim_end().rsplit(':').next().unwrap();
    assert!(!find(&memory, digits.as_bytes()), "the instance key's text");
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    assert!(!find(&memory, &bytes), "the instance key");
    assert!(
        user.decrypt(server.address, &user.file("Public/z"))
            .releases()
    );
}

#[test]
fn other_processes_cannot_look_into_the_server() {
    let home = TestHome::create(APPROVE_ALL);
    let root = rustix::process::getuid().is_root();
    // As nobody in particular, where the tests run as root: root may always look.
    let other = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
    ];
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let server = if root {
        let binary = folder.path().join("keyserver");
        fs::copy(ostrakon_testkit::command::binary("keyserver"), &binary).unwrap();
        for path in [folder.path(), home.path()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
        for entry in fs::read_dir(home.path()).unwrap() {
            std::os::unix::fs::chown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
        }
        // `under` puts the binary where it was built behind this, which `env` takes for a name.
        let script = format!("shift; exec {} \"$@\"", binary.display());
        let mut under = other.to_vec();
        under.extend(["sh", "-c", &script, "sh"]);
        Serve::on(&home).under(&under).start()
    } else {
        Keyserver::start(&home)
    };
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert_eq!(core.split_whitespace().nth(5), Some("0"), "{core}");
    // What is not dumpable belongs to root in /proc, whoever runs it.
    let owner = fs::metadata(format!("/proc/{}/environ", server.id()))
        .unwrap()
        .uid();
    assert_eq!(owner, 0, "the process is dumpable");
    for file in ["mem", "environ", "maps", "fd"] {
        let path = format!("/proc/{}/{file}", server.id());
        let ran = if root {
            run(Command::new(other[0])
                .args(&other[1..])
                .args(["ls", "-l", "--"])
                .arg(format!("{path}/")));
            run(Command::new(other[0])
                .args(&other[1..])
                .args(["head", "-c", "1"])
                .arg(&path))
        } else {
            run(Command::new("head").args(["-c", "1"]).arg(&path))
        };
        assert_ne!(ran.code, Some(0), "{file}: {ran:?}");
        assert!(ran.stdout.is_empty());
    }
}

/// All that is in the files of a folder, but for those that the operator writes.
fn on_disk(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && name != "keyserver.yml" && name != "instance.key" {
            all.extend(fs::read(path).unwrap());
        }
    }
    all
}

#[test]
fn users_data_is_in_no_log_and_in_no_file() {
    for (format, level) in [("text", "debug"), ("json", "debug"), ("json", "trace")] {
        let home = TestHome::create("decrypt: [[{rule: meta-rule, paths: [/Public]}]]\n");
        let outside = tempfile::tempdir().unwrap();
        let checkpoints = outside.path().join("checkpoints");
        let server = Serve::on(&home)
            .with(
                "OSTRAKON_AUDIT_CHECKPOINT_FILE",
                checkpoints.to_str().unwrap(),
            )
            .with("OSTRAKON_LOG_FORMAT", format)
            .with("OSTRAKON_LOG_LEVEL", level)
            .start();
        let at = server.address;
        let user = TestUser::named(&server.identity, "canary-profile-7f3a");
        user.register(at);
        let folder = Item::CreateLocation {
            location: random::id().unwrap(),
            name: "canary-folder-7f3a".parse().unwrap(),
        };
        let [granted, denied, wrong] = [
            "Public/canary-path-7f3a",
            "Secret/canary-path-7f3a",
            "Public/canary-path-7f3a/x",
        ]
        .map(|path| user.file(path));
        let mut context = wrong.context.clone();
        context.meta.meta = "Public/canary-path-7f3a/y".into();
        let items = vec![
            folder,
            granted.item(),
            denied.item(),
            wrong.item_in(context),
            Item::ListLocations,
        ];
        let body = user.body(items);
        assert_eq!(user.ask(at, &body).items().len(), 5);
        // Reused, expired and malformed ones, and ones of strangers, are logged, too.
        let reused = ostrakon_transport::message::RequestBody::new(
            body.request_id(),
            body.issued_at(),
            user.profile,
            vec![denied.item()],
        );
        assert!(!user.ask(at, &reused.unwrap()).releases());
        let old = user.body_at(ostrakon_types::UnixMillis(0), vec![granted.item()]);
        assert!(!user.ask(at, &old).releases());
        let elsewhere = TestUser::named(&server.identity, "canary-profile-7f3a");
        let (envelope, _) =
            elsewhere.seal(&elsewhere.body(vec![elsewhere.file("canary-path-7f3a").item()]));
        assert_eq!(ostrakon_testkit::user::post(at, &envelope).status, 400);
        // What commands show, but for the two that read the audit log to the operator.
        let mut shown = Vec::new();
        for arguments in [
            &["status"][..],
            &["quota", "list"],
            &["audit", "verify", "--quotas", "--format", "json"],
        ] {
            let ran = run(keyserver_command(home.path()).args(arguments));
            assert_eq!(ran.code, Some(0), "{ran:?}");
            shown.extend([ran.stdout.into_bytes(), ran.stderr.into_bytes()]);
        }
        shown.push(fs::read(format!("/proc/{}/cmdline", server.id())).unwrap());
        let export = run(keyserver_command(home.path()).args(["audit", "export"]));
        assert!(
            export.stdout.contains("Public/canary-path-7f3a"),
            "{export:?}"
        );
        assert!(!export.stdout.contains("canary-folder") && !export.stdout.contains("-profile-"));

        let key = fs::read_to_string(home.home().instance_key()).unwrap();
        let digits = key.trim_end().rsplit(':').next().unwrap();
        let wal = format!("{}-wal", home.home().database().display());
        assert!(fs::metadata(wal).unwrap().len() > 0);
        let running = on_disk(home.path());
        let (status, log) = server.stop();
        assert!(status.success());
        let archive = outside.path().join("archive");
        let archived = run(keyserver_command(home.path())
            .args(["audit", "archive"])
            .arg(&archive));
        assert_eq!(archived.code, Some(0), "{archived:?}");
        for path in [&checkpoints, &archive] {
            shown.push(fs::read(path).unwrap());
        }
        let stopped = on_disk(home.path());
        // The search finds what is there: ids in both, and the request's kinds of answers.
        assert!(log.contains(&body.request_id().to_string()), "{log}");
        assert!(find(&stopped, user.profile.as_bytes()));
        for secret in ["canary-", "7f3a", digits, "Public/", "Secret/"] {
            assert!(
                !log.contains(secret),
                "{secret} in the log ({format}, {level}):\n{log}"
            );
            for bytes in [&running, &stopped] {
                let policy = secret == "Public/" || secret == "Secret/";
                assert!(
                    policy || !find(bytes, secret.as_bytes()),
                    "{secret} in a file"
                );
            }
        }
        for bytes in &shown {
            for secret in ["canary-", digits] {
                assert!(!find(bytes, secret.as_bytes()), "{secret} is shown");
            }
        }
        for bytes in [&running, &stopped].into_iter().chain(&shown) {
            assert!(!find(bytes, granted.shard.values()), "the shard in a file");
        }
    }
}
