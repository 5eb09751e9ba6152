//! A profile of one workstation: no server anywhere.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use ostrakon_client::{
    CreateFolderError, CreateProfileError, DecryptOptions, EncryptOptions, OpenError, Summary,
    Workstation,
};
use ostrakon_shards::suite::Suite;

use crate::fixture::{Place, names, told, told_of_one};

const CHUNK: usize = 64 << 10;

async fn workstation(place: &Place) -> Workstation {
    let mut workstation = place.open();
    workstation.create_profile(None).unwrap();
    let vault = place.path("vault");
    workstation
        .create_folder(&vault, Some("Vault"), Suite::X25519)
        .await
        .unwrap();
    workstation
}

fn encrypt(workstation: &Workstation, path: &Path) -> String {
    let mut reports = Vec::new();
    workstation
        .encrypt(&[path], &EncryptOptions::default(), &mut reports)
        .unwrap();
    told_of_one(&reports)
}

async fn decrypt(workstation: &Workstation, path: &Path) -> String {
    let mut reports = Vec::new();
    let options = DecryptOptions::default();
    workstation
        .decrypt(&[path], &options, &mut reports)
        .await
        .unwrap();
    told_of_one(&reports)
}

fn encrypted(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.age", path.display()))
}

#[tokio::test]
async fn files_of_all_sizes_round_trip() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
        let content: Vec<u8> = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        let path = place.write("a.bin", &content);
        assert_eq!(encrypt(&workstation, &path), format!("done {size}"));
        fs::remove_file(&path).unwrap();
        assert_eq!(
            decrypt(&workstation, &encrypted(&path)).await,
            format!("done {size}")
        );
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(encrypted(&path)).unwrap();
    }
}

#[tokio::test]
async fn folders_are_done_whole_without_following_links() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    place.write("a.txt", b"a");
    place.write("below/b.txt", b"bb");
    place.write("below/done.age", b"whatever");
    fs::write(place.path("outside"), b"secret").unwrap();
    symlink(place.path("outside"), place.path("vault/below/link")).unwrap();
    symlink(place.path("vault"), place.path("vault/below/loop")).unwrap();
    let mut reports = Vec::new();
    let vault = [place.path("vault")];
    let options = EncryptOptions {
        remove: true,
        ..EncryptOptions::default()
    };
    let summary = workstation.encrypt(&vault, &options, &mut reports).unwrap();
    assert_eq!(
        summary,
        Summary {
            done: 2,
            skipped: 3,
            ..Summary::default()
        }
    );
    let expected = [
        "a.txt.age",
        "below/b.txt.age",
        "below/done.age",
        "below/link",
        "below/loop",
    ];
    assert_eq!(names(&place.path("vault")), expected);

    let mut reports = Vec::new();
    let output = Some(place.path("out"));
    let options = DecryptOptions {
        output,
        ..DecryptOptions::default()
    };
    let summary = workstation
        .decrypt(&vault, &options, &mut reports)
        .await
        .unwrap();
    assert_eq!(
        summary,
        Summary {
            done: 2,
            failed: 1,
            ..Summary::default()
        }
    );
    assert_eq!(names(&place.path("out")), ["a.txt", "below/b.txt"]);
    let done = (
        "done.age".to_owned(),
        "failed: it is not an encrypted file".to_owned(),
    );
    assert!(told(&reports).contains(&done), "{:?}", told(&reports));
    assert!(!format!("{reports:?}").contains("b.txt"));
}

#[tokio::test]
async fn what_is_outside_of_secure_folders_is_not_encrypted() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    fs::write(place.path("outside"), b"x").unwrap();
    let outside = "failed: it is not in a secure folder";
    assert_eq!(encrypt(&workstation, &place.path("outside")), outside);
    // Neither under a name that leads outside.
    fs::create_dir_all(place.path("vault")).unwrap();
    symlink(place.path("outside"), place.path("vault/link")).unwrap();
    assert_eq!(encrypt(&workstation, &place.path("vault/link")), outside);
    assert_eq!(
        encrypt(&workstation, &place.path("vault/../outside")),
        outside
    );
    assert_eq!(
        encrypt(&workstation, &place.path("vault/none")),
        "failed: cannot read it"
    );
    assert_eq!(names(&place.path("vault")), ["link"]);
}

#[tokio::test]
async fn existing_outputs_stay_unless_they_are_to_be_replaced() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    let path = place.write("a.txt", b"old");
    encrypt(&workstation, &path);
    let exists = "failed: the output exists already";
    assert_eq!(encrypt(&workstation, &path), exists);
    fs::write(&path, b"mine").unwrap();
    assert_eq!(decrypt(&workstation, &encrypted(&path)).await, exists);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let mut reports = Vec::new();
    let options = DecryptOptions {
        overwrite: true,
        ..DecryptOptions::default()
    };
    workstation
        .decrypt(&[encrypted(&path)], &options, &mut reports)
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[tokio::test]
async fn altered_files_give_an_error_and_no_output() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    let path = place.write("a.bin", &vec![7; CHUNK + 100]);
    encrypt(&workstation, &path);
    fs::remove_file(&path).unwrap();
    let good = fs::read(encrypted(&path)).unwrap();
    let header = good.windows(5).position(|at| at == b"\n--- ").unwrap() + 49;
    let before = names(&place.path("vault"));
    let refuse = async |bytes: &[u8], what: String| {
        fs::write(encrypted(&path), bytes).unwrap();
        let outcome = decrypt(&workstation, &encrypted(&path)).await;
        assert!(outcome.starts_with("failed"), "{what}: {outcome}");
        assert_eq!(names(&place.path("vault")), before, "{what}");
    };
    for at in (0..header + 40).chain(good.len() - 40..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        refuse(&bad, format!("byte {at}")).await;
    }
    for len in
        (0..header + 40)
            .step_by(7)
            .chain([good.len() - 1, good.len() - 100, good.len() - 116])
    {
        refuse(&good[..len], format!("cut at {len}")).await;
    }
    refuse(&[&good[..], b"x"].concat(), "a tail".to_owned()).await;
}

#[tokio::test]
async fn absurd_headers_end_soon() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    let first = b"age-encryption.org/v1\n".to_vec();
    for (name, content, expected) in [
        (
            "endless",
            [first.clone(), vec![b'x'; 3 << 20]].concat(),
            "failed: its header is larger than 1024 KiB",
        ),
        (
            "lines",
            [first.clone(), b"-> x\n".repeat(300_000)].concat(),
            "failed: its header is larger than 1024 KiB",
        ),
        ("none", first.clone(), "failed: its header is damaged"),
        (
            "v2",
            b"age-encryption.org/v2\nx".to_vec(),
            "failed: it is in a version of the age format that is not known",
        ),
        ("empty", Vec::new(), "failed: it is not an encrypted file"),
        (
            "text",
            b"hello".to_vec(),
            "failed: it is not an encrypted file",
        ),
    ] {
        let path = place.write(&format!("{name}.age"), &content);
        assert_eq!(decrypt(&workstation, &path).await, expected, "{name}");
    }
}

#[tokio::test]
async fn files_for_others_are_told_apart() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    let other_place = Place::new();
    let other = self::workstation(&other_place).await;
    let theirs = other_place.write("a.txt", b"theirs");
    encrypt(&other, &theirs);
    let id = other.profile().unwrap().profile.id();
    let expected = format!("failed: it is encrypted for another profile ({id})");
    assert_eq!(decrypt(&workstation, &encrypted(&theirs)).await, expected);

    let plain = age::x25519::Identity::generate().to_public();
    let content = age::encrypt(&plain, b"plain age").unwrap();
    let path = place.write("plain.age", &content);
    let expected = "failed: it is an age file that was not encrypted for a profile";
    assert_eq!(decrypt(&workstation, &path).await, expected);
    assert_eq!(
        decrypt(&workstation, &place.write("x", b"")).await,
        "failed: its name does not end in `.age`"
    );
}

#[tokio::test]
async fn names_that_no_policy_could_judge_are_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let place = Place::new();
    let workstation = workstation(&place).await;
    let outcome = encrypt(&workstation, &place.write("a\\b", b"x"));
    assert!(outcome.contains("not canonical"), "{outcome}");
    let raw = place.path("vault").join(OsStr::from_bytes(b"\xff\xfe"));
    fs::write(&raw, b"x").unwrap();
    let mut reports = Vec::new();
    workstation
        .encrypt(&[&raw], &EncryptOptions::default(), &mut reports)
        .unwrap();
    assert_eq!(
        told_of_one(&reports),
        "failed: a name in its path is not valid UTF-8"
    );
}

#[tokio::test]
async fn pipes_and_sockets_do_not_block() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    fs::create_dir_all(place.path("vault")).unwrap();
    let socket = place.path("vault/socket.age");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(
        decrypt(&workstation, &socket).await,
        "failed: it is not a regular file"
    );
    assert_eq!(
        encrypt(&workstation, &socket),
        "failed: it is not a regular file"
    );
}

#[tokio::test]
async fn a_second_profile_is_refused_and_the_first_one_stays() {
    let place = Place::new();
    let mut workstation = workstation(&place).await;
    let id = workstation.profile().unwrap().profile.id();
    assert!(matches!(
        workstation.create_profile(None),
        Err(CreateProfileError::Exists)
    ));
    let view_id = place.open().profile().unwrap().profile.id();
    assert_eq!(view_id, id);
    let again = place.open();
    let view = again.profile().unwrap();
    assert_eq!(view.profile.version().name.as_str(), "zoe@pallas");
    assert_eq!(view.profile.threshold().needed(), 1);
    assert_eq!(again.folders().len(), 1);
}

#[tokio::test]
async fn folders_do_not_overlap_or_share_a_name() {
    let place = Place::new();
    let mut workstation = workstation(&place).await;
    let suite = Suite::X25519;
    let mut create = async |path: &str, name: &str| {
        workstation
            .create_folder(&place.path(path), Some(name), suite)
            .await
    };
    let location = create("vault", "Vault").await.unwrap().location();
    assert_eq!(create("vault", "Vault").await.unwrap().location(), location);
    assert!(matches!(
        create("vault", "Other").await,
        Err(CreateFolderError::Exists { .. })
    ));
    assert!(matches!(
        create("other", "Vault").await,
        Err(CreateFolderError::NameTaken { .. })
    ));
    assert!(matches!(
        create("vault/in", "In").await,
        Err(CreateFolderError::Overlaps { .. })
    ));
    assert!(matches!(
        create("", "Out").await,
        Err(CreateFolderError::Overlaps { .. })
    ));
    assert!(matches!(
        create("other", "a/b").await,
        Err(CreateFolderError::Path(_))
    ));
    assert!(matches!(
        create("other", "..").await,
        Err(CreateFolderError::Path(_))
    ));
}

#[tokio::test]
async fn a_home_that_others_can_read_is_refused() {
    let place = Place::new();
    workstation(&place).await;
    let home = place.path("home");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Workstation::open(&home, Default::default(), crate::fixture::environment());
    assert!(matches!(error.err(), Some(OpenError::Home(_))));
}

#[tokio::test]
async fn originals_that_changed_are_not_removed() {
    let place = Place::new();
    let workstation = workstation(&place).await;
    let path = place.write("a.txt", b"first");
    /// Writes to the original while it is encrypted.
    struct Meddle(PathBuf, Vec<ostrakon_client::Report>);
    impl ostrakon_client::Progress for Meddle {
        fn reported(&mut self, report: ostrakon_client::Report) {
            self.1.push(report);
        }
        fn advanced(&mut self, _: u64) {
            fs::write(&self.0, b"second thoughts").unwrap();
        }
    }
    let mut meddle = Meddle(path.clone(), Vec::new());
    let options = EncryptOptions {
        remove: true,
        ..EncryptOptions::default()
    };
    workstation
        .encrypt(&[&path], &options, &mut meddle)
        .unwrap();
    assert!(told_of_one(&meddle.1).contains("it changed while it was encrypted"));
    assert_eq!(fs::read(&path).unwrap(), b"second thoughts");
}

#[tokio::test]
async fn both_suites_work() {
    let place = Place::new();
    let mut workstation = place.open();
    workstation.create_profile(Some("Zoe")).unwrap();
    workstation
        .create_folder(&place.path("vault"), Some("V"), Suite::XWing)
        .await
        .unwrap();
    let path = place.write("a.txt", b"for long");
    assert_eq!(encrypt(&workstation, &path), "done 8");
    fs::remove_file(&path).unwrap();
    assert_eq!(decrypt(&workstation, &encrypted(&path)).await, "done 8");
}
