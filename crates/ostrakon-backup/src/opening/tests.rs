//! What is encrypted is opened, and what was changed, cut or put together anew is not.
//!
//! Seen to fail: with gpg's exit code as the only word on a file, one that is cut within its first packets; without the exit
//! code, one with something behind its end; with a `finish` that does not read the rest, each flipped bit of an age file; with
//! a gpg that is not waited for, what is left of it; with nobody who reads what gpg says, a message for very many, which then
//! never ends.

use std::{fs, os::unix::fs::FileExt, path::Path};

use super::*;
use crate::{
    keyrings::{Keyring, NOW, keyring, sample},
    recipients::Recipients,
};

fn opening() -> Opening {
    Opening {
        gpg: keyring().gpg(),
        identities: Vec::new(),
    }
}

fn file(content: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

/// What is read, and how it ends.
fn open(opening: &Opening, archive: &[u8]) -> (Vec<u8>, Result<(), OpenError>) {
    let mut read = Vec::new();
    let ended = opening.open(file(archive)).and_then(|mut plain| {
        // Nobody may take this for the verdict.
        let _ = plain.read_to_end(&mut read);
        plain.finish()
    });
    (read, ended)
}

fn for_keys(named: &[&str], plain: &[u8]) -> Vec<u8> {
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    let recipients = Recipients::open_pgp_by(&keyring().gpg(), &named, NOW).unwrap();
    let mut message = Vec::new();
    recipients.encrypt(plain, &mut message).unwrap();
    message
}

struct ForAge {
    folder: tempfile::TempDir,
    identity: ::age::x25519::Identity,
}

impl ForAge {
    fn new() -> Self {
        use ::age::secrecy::ExposeSecret;

        let folder = tempfile::tempdir().unwrap();
        let identity = ::age::x25519::Identity::generate();
        let content = format!("# for a test\n{}\n", identity.to_string().expose_secret());
        fs::write(folder.path().join("identity"), content).unwrap();
        Self { folder, identity }
    }

    fn opening(&self) -> Opening {
        Opening::new(vec![self.folder.path().join("identity")])
    }

    fn encrypt(&self, plain: &[u8]) -> Vec<u8> {
        let recipients = Recipients::age(&[self.identity.to_public().to_string()]).unwrap();
        let mut message = Vec::new();
        recipients.encrypt(plain, &mut message).unwrap();
        message
    }
}

#[test]
fn what_was_encrypted_is_opened() {
    let age = ForAge::new();
    for length in [0, 1, 64 << 10, 5 << 20] {
        let plain = sample(length);
        let keys = ["rsa@example.com", "curve@example.com", "nist@example.com"];
        for key in keys {
            let (read, ended) = open(&opening(), &for_keys(&[key], &plain));
            ended.unwrap();
            assert!(read == plain, "{key}, {length}");
        }
        let (read, ended) = open(&age.opening(), &age.encrypt(&plain));
        ended.unwrap();
        assert!(read == plain, "age, {length}");
    }
}

#[test]
fn what_gpg_encrypts_is_opened() {
    let plain = sample(300_000);
    let recipient = ["--recipient", "curve@example.com", "--encrypt"];
    for arguments in [&recipient[..], &[&["--armor"][..], &recipient].concat()] {
        let message = keyring().run("20200601T000000", arguments, &plain);
        let (read, ended) = open(&opening(), &message);
        ended.unwrap();
        assert!(read == plain);
    }
}

#[test]
fn finishing_reads_the_rest_first() {
    let plain = sample(5 << 20);
    let age = ForAge::new();
    let mut broken = age.encrypt(&plain);
    *broken.last_mut().unwrap() ^= 1;
    for (opening, archive, whole) in [
        (opening(), for_keys(&["curve@example.com"], &plain), true),
        (age.opening(), age.encrypt(&plain), true),
        (age.opening(), broken, false),
    ] {
        let mut stream = opening.open(file(&archive)).unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
        assert_eq!(stream.finish().is_ok(), whole);
    }
}

#[test]
fn a_tar_in_clear_is_passed_on_from_its_first_byte() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    tar.append_data(&mut header, "member", &b"abc"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    let (read, ended) = open(&opening(), &tar);
    ended.unwrap();
    assert!(read == tar);
}

#[test]
fn what_is_no_archive_is_refused() {
    for content in [
        &b""[..],
        b"text",
        &[0; 1024],
        b"\x1f\x8b\x08",
        b"age-encryption",
    ] {
        let (read, ended) = open(&opening(), content);
        assert!(matches!(ended, Err(OpenError::Unknown)), "{ended:?}");
        assert!(read.is_empty());
    }
    // A packet that holds its content in clear is not encrypted, were it OpenPGP.
    let literal = keyring().run("20200601T000000", &["--store"], b"in clear");
    assert!(open(&opening(), &literal).1.is_err());
}

/// Places all over, and all among the first packets.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let step =
        |from: usize, to: usize, times: usize| (from..to).step_by(((to - from) / times).max(1));
    let head = 120.min(length);
    step(0, head, 30)
        .chain(step(head, length, 30))
        .chain(length.saturating_sub(25)..length)
}

#[test]
fn a_message_that_was_changed_is_refused() {
    let message = for_keys(&["curve@example.com"], &sample(200_000));
    for place in places(message.len()) {
        let mut changed = message.clone();
        changed[place] ^= 0x10;
        let (_, ended) = open(&opening(), &changed);
        assert!(ended.is_err(), "changed at {place} of {}", message.len());
    }
}

#[test]
fn a_message_that_was_cut_is_refused() {
    let message = for_keys(&["curve@example.com"], &sample(200_000));
    for place in places(message.len()) {
        let (_, ended) = open(&opening(), &message[..place]);
        assert!(ended.is_err(), "cut at {place} of {}", message.len());
    }
}

#[test]
fn a_message_with_something_around_it_is_refused() {
    let message = for_keys(&["curve@example.com"], b"mine");
    let literal = keyring().run("20200601T000000", &["--store"], b"not mine");
    for parts in [
        [&message[..], &literal],
        [&literal, &message],
        [&message, &message],
    ] {
        let (_, ended) = open(&opening(), &parts.concat());
        assert!(ended.is_err(), "{ended:?}");
    }
}

#[test]
fn plaintext_comes_before_the_verdict() {
    // Why `finish` is there: of this file all was read but the end.
    let plain = sample(2 << 20);
    let mut message = for_keys(&["curve@example.com"], &plain);
    *message.last_mut().unwrap() ^= 1;
    let (read, ended) = open(&opening(), &message);
    assert!(read.len() > plain.len() / 2, "{}", read.len());
    assert!(matches!(ended, Err(OpenError::Damaged { .. })), "{ended:?}");

    let age = ForAge::new();
    let mut message = age.encrypt(&plain);
    *message.last_mut().unwrap() ^= 1;
    let (read, ended) = open(&age.opening(), &message);
    assert!(read.len() > plain.len() / 2, "{}", read.len());
    assert!(matches!(ended, Err(OpenError::Damaged { .. })), "{ended:?}");
}

#[test]
fn an_age_file_that_was_changed_or_cut_is_refused() {
    let age = ForAge::new();
    let opening = age.opening();
    // The last chunk is a whole one, and whole chunks are cut off too.
    let message = age.encrypt(&sample(128 << 10));
    let chunk = (64 << 10) + 16;
    let header = message.len() - 2 * chunk;
    for place in (0..header).chain([header + 1, header + chunk, message.len() - 1]) {
        for mask in [1, 0x20, 0x80, 0xff] {
            let mut changed = message.clone();
            changed[place] ^= mask;
            assert!(open(&opening, &changed).1.is_err(), "changed at {place}");
        }
    }
    let chunks = [
        header,
        header + chunk - 1,
        header + chunk,
        message.len() - 1,
    ];
    for place in (0..header).chain(chunks) {
        let ended = open(&opening, &message[..place]).1;
        assert!(ended.is_err(), "cut at {place}");
    }
    let swapped = [
        &message[..header],
        &message[header + chunk..],
        &message[header..header + chunk],
    ];
    assert!(open(&opening, &swapped.concat()).1.is_err());
    let longer = [&message[..], b"x"].concat();
    assert!(open(&opening, &longer).1.is_err());
}

#[test]
fn whoever_has_no_key_is_told_so() {
    let keyring = Keyring::empty();
    let stranger = Opening {
        gpg: keyring.gpg(),
        identities: Vec::new(),
    };
    let message = for_keys(&["curve@example.com", "rsa@example.com"], b"x");
    let (_, ended) = open(&stranger, &message);
    assert!(matches!(ended, Err(OpenError::NoKey { .. })), "{ended:?}");

    let message = ForAge::new().encrypt(b"x");
    let (_, ended) = open(&ForAge::new().opening(), &message);
    assert!(matches!(ended, Err(OpenError::NoKey { .. })), "{ended:?}");
    let (_, ended) = open(&opening(), &message);
    assert!(matches!(ended, Err(OpenError::NoIdentity)), "{ended:?}");
}

#[test]
fn a_passphrase_that_nobody_enters_is_neither_damage_nor_a_missing_key() {
    let keyring = Keyring::empty();
    keyring.locked("Locked <locked@example.com>");
    let recipients =
        Recipients::open_pgp_by(&keyring.gpg(), &["locked@example.com".to_owned()], NOW).unwrap();
    let mut message = Vec::new();
    recipients.encrypt(&b"x"[..], &mut message).unwrap();
    let opening = Opening {
        gpg: keyring.gpg(),
        identities: Vec::new(),
    };
    let (_, ended) = open(&opening, &message);
    assert!(matches!(ended, Err(OpenError::Gpg { .. })), "{ended:?}");
}

#[test]
fn without_gpg_an_age_file_will_do() {
    let age = ForAge::new();
    let opening = Opening {
        gpg: Gpg::missing(),
        ..age.opening()
    };
    let (_, ended) = open(&opening, &for_keys(&["curve@example.com"], b"x"));
    assert!(matches!(ended, Err(OpenError::NoGpg)), "{ended:?}");
    open(&opening, &age.encrypt(b"x")).1.unwrap();
}

#[test]
fn an_identity_file_that_is_none_says_where() {
    let age = ForAge::new();
    let archive = age.encrypt(b"x");
    let path = age.folder.path().join("other");
    let refuse = |content: &[u8], what: &str| {
        fs::write(&path, content).unwrap();
        let opening = Opening::new(vec![path.clone()]);
        let (_, ended) = open(&opening, &archive);
        let Err(OpenError::Identity { source, .. }) = ended else {
            panic!("{ended:?}");
        };
        assert!(source.to_string().contains(what), "{source}");
        assert!(!source.to_string().contains("hidden"));
    };
    refuse(b"", "no identity");
    refuse(b"# only this\n", "no identity");
    refuse(b"# first\n\nAGE-SECRET-KEY-1hidden\n", "line 3");
    refuse(b"\xff\xfe\n", "line 1");
    refuse(&[b'#'; 100_000], "too large");
}

#[test]
fn nothing_is_left_of_a_gpg_that_nobody_needs_any_more() {
    let message = for_keys(&["curve@example.com"], &sample(5 << 20));
    let mut plain = opening().open(file(&message)).unwrap();
    plain.read_exact(&mut [0; 10]).unwrap();
    let Source::OpenPgp(decrypting) = &plain.0 else {
        panic!("{plain:?}");
    };
    let process = format!("/proc/{}", decrypting.process());
    assert!(Path::new(&process).exists());
    drop(plain);
    // Not even a zombie.
    assert!(!Path::new(&process).exists());
}

#[test]
fn a_gpg_with_much_to_say_does_not_wait_for_a_listener() {
    // A packet with a session key for each of very many recipients: what gpg says of them exceeds a pipe.
    let message = for_keys(&["curve@example.com"], b"for many");
    let first = 2 + usize::from(message[1]);
    assert!(message[1] < 192, "a packet with one byte for its length");
    let archive = [message[..first].repeat(1000), message[first..].to_vec()].concat();
    let (read, ended) = open(&opening(), &archive);
    ended.unwrap();
    assert_eq!(read, b"for many");
}
