//! Who is encrypted to, and who is not; and that others than this program open what was encrypted.
//!
//! Seen to fail: without the check of a subkey's binding, a key with a flipped bit is encrypted to another part; without that
//! of a revocation (by the key, by a designated revoker, of a subkey, of a user id), of an end, of the flags, of a trial, of
//! the time or of MD5, each of the refusals; with the oldest part instead of the newest, whose session key it is; with a parser
//! that stops after the first block, the second key of a file; without `--`, the name that begins with a dash; without gpg's
//! exit code, a keyring that cannot be read.

use std::{fs, path::PathBuf, process::Command};

use super::*;
use crate::keyrings::{Keyring, NOW, keyring, run, sample};

fn find(named: &[&str]) -> Result<Recipients, RecipientError> {
    let named: Vec<String> = named.iter().map(|named| (*named).to_owned()).collect();
    Recipients::open_pgp_by(&keyring().gpg(), &named, NOW)
}

fn encrypted(recipients: &Recipients, plain: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    recipients.encrypt(plain, &mut message).unwrap();
    message
}

fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

/// Which key the first recipient of `message` opens it with (RFC 9580, 5.1.1).
fn part(message: &[u8]) -> [u8; 8] {
    let length = if message[1] < 192 { 1 } else { 2 };
    message[length + 2..][..8].try_into().unwrap()
}

fn faults(named: &[&str]) -> Vec<KeyFault> {
    match find(named) {
        Err(RecipientError::Unusable { keys, .. }) => {
            keys.into_iter().map(|key| key.fault).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn gpg_sq_and_sqop_open_what_was_encrypted() {
    let keyring = keyring();
    let addresses = ["rsa", "curve", "nist", "whole"].map(|name| format!("{name}@example.com"));
    for address in &addresses {
        let recipients = find(&[address]).unwrap();
        let secret = keyring.export(address, &["--export-secret-keys"]);
        let (_folder, secret) = file("secret", &secret);
        for length in [0, 1, 3 << 20] {
            let plain = sample(length);
            let message = encrypted(&recipients, &plain);
            let by_gpg = keyring.run("20200601T000000", &["--decrypt"], &message);
            assert!(by_gpg == plain, "gpg, {address}, {length}");

            let mut sq = Command::new("sq");
            sq.args(["decrypt", "--recipient-key", &secret]);
            assert!(run(sq, &message) == plain, "sq, {address}, {length}");
            let mut sqop = Command::new("sqop");
            sqop.args(["decrypt", &secret]);
            assert!(run(sqop, &message) == plain, "sqop, {address}, {length}");
        }
    }
}

#[test]
fn a_large_stream_arrives_whole() {
    let plain = sample(20 << 20);
    let message = encrypted(&find(&["curve@example.com"]).unwrap(), &plain);
    assert!(keyring().run("20200601T000000", &["--decrypt"], &message) == plain);
    // Nothing is compressed: what the archive's members hold is already.
    assert!(message.len() > plain.len());
}

#[test]
fn each_of_several_recipients_opens_alone() {
    let names = ["rsa@example.com", "curve@example.com", "rsa@example.com"];
    let recipients = find(&names).unwrap();
    assert_eq!(
        recipients.described().len(),
        2,
        "named twice, a recipient once"
    );
    let message = encrypted(&recipients, b"for both");
    for address in ["rsa@example.com", "curve@example.com"] {
        let alone = Keyring::empty();
        let secret = keyring().export(address, &["--export-secret-keys"]);
        alone.run("20200601T000000", &["--import"], &secret);
        let opened = alone.run("20200601T000000", &["--decrypt"], &message);
        assert_eq!(opened, b"for both", "{address}");
    }
}

#[test]
fn a_key_is_found_by_all_its_names() {
    let fingerprint = keyring().fingerprint("rsa@example.com");
    let described = format!("{fingerprint} John Doe (Key Trustee Backup) <rsa@example.com>");
    let names = ["John Doe", "rsa@example.com", "Key Trustee", &fingerprint];
    for name in names {
        let recipients = find(&[name]).unwrap();
        assert_eq!(recipients.described(), [described.as_str()], "{name}");
        assert_eq!(recipients.extension(), "gpg");
    }
    let dash = find(&["-Dash"]).unwrap();
    assert!(dash.described()[0].ends_with(" -Dash <dash@example.com>"));
}

#[test]
fn a_key_in_a_file_is_used_as_it_is() {
    for address in ["rsa@example.com", "curve@example.com", "nist@example.com"] {
        let known = find(&[address]).unwrap().described();
        for arguments in [&["--export"][..], &["--export", "--armor"]] {
            let (_folder, path) = file("key.asc", &keyring().export(address, arguments));
            assert_eq!(find(&[&path]).unwrap().described(), known, "{address}");
        }
    }
}

#[test]
fn a_name_that_nobody_has_is_refused() {
    // A path without a `/` is a name, were there such a file.
    for name in ["nobody", "", "  ", "Cargo.toml", "/nonexistent/key.asc"] {
        let refused = find(&[name]);
        assert!(
            matches!(refused, Err(RecipientError::Unknown { .. })),
            "{name}: {refused:?}"
        );
    }
    assert!(matches!(find(&[]), Err(RecipientError::Nobody)));
}

#[test]
fn of_two_keys_with_one_name_neither_is_taken() {
    let Err(RecipientError::Ambiguous { named, keys }) = find(&["Twin"]) else {
        panic!("taken");
    };
    assert_eq!(named, "Twin");
    assert_eq!(keys, keyring().fingerprints("Twin"));
    assert_eq!(keys.len(), 2);
    for key in keys {
        let described = find(&[&key]).unwrap().described();
        assert!(described[0].starts_with(&key), "{described:?}");
    }
}

#[test]
fn both_keys_of_a_file_count() {
    let [first, second] = ["first@example.com", "second@example.com"];
    for arguments in [&["--export"][..], &["--export", "--armor"]] {
        let keys = [first, second].map(|address| keyring().export(address, arguments));
        let (_folder, path) = file("keys", &keys.concat());
        let refused = find(&[&path]);
        assert!(
            matches!(&refused, Err(RecipientError::Ambiguous { keys, .. }) if keys.len() == 2),
            "{refused:?}"
        );
    }
}

#[test]
fn the_one_usable_key_of_several_is_taken() {
    assert_eq!(keyring().fingerprints("again@example.com").len(), 2);
    let described = find(&["again@example.com"]).unwrap().described();
    let newer = &keyring().fingerprints("again@example.com")[1];
    assert!(described[0].starts_with(newer), "{described:?}");
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    assert_eq!(faults(&["past@example.com"]), [KeyFault::Expired]);
    assert_eq!(faults(&["revoked@example.com"]), [KeyFault::Revoked]);
    assert_eq!(faults(&["staff@example.com"]), [KeyFault::Revoked]);
    assert_eq!(faults(&["signer@example.com"]), [KeyFault::CannotEncrypt]);
    assert_eq!(faults(&["exotic@example.com"]), [KeyFault::CannotEncrypt]);
    assert_eq!(faults(&["weak@example.com"]), [KeyFault::Unproven]);
    // A good one beside it does not make up for it.
    let both = ["curve@example.com", "revoked@example.com"];
    assert_eq!(faults(&both), [KeyFault::Revoked]);
    // The sentence names the recipient as it was given, and the key.
    let sentence = find(&["past@example.com"]).unwrap_err().to_string();
    let fingerprint = keyring().fingerprint("past@example.com");
    assert_eq!(
        sentence,
        format!("`past@example.com` cannot be encrypted to: {fingerprint} is expired")
    );
}

#[test]
fn a_key_of_tomorrow_is_not_used_today() {
    let early = UnixMillis(1_500_000_000_000);
    let named = ["curve@example.com".to_owned()];
    let refused = Recipients::open_pgp_by(&keyring().gpg(), &named, early);
    let Err(RecipientError::Unusable { keys, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(keys[0].fault, KeyFault::Unproven);
}

#[test]
fn a_name_that_was_taken_back_finds_nobody() {
    assert_eq!(faults(&["before@example.com"]), [KeyFault::Revoked]);
    let described = find(&["after@example.com"]).unwrap().described();
    assert!(
        described[0].ends_with(" After <after@example.com>"),
        "{described:?}"
    );
}

#[test]
fn the_newest_part_that_holds_is_encrypted_to() {
    let listed = keyring().run(
        "20200601T000000",
        &["--with-colons", "--list-keys", "parts@example.com"],
        b"",
    );
    let listed = String::from_utf8(listed).unwrap();
    let parts: Vec<&str> = (listed.lines())
        .filter(|line| line.starts_with("sub:"))
        .map(|line| line.split(':').nth(4).unwrap())
        .collect();
    assert_eq!(parts.len(), 4);

    let message = encrypted(&find(&["parts@example.com"]).unwrap(), b"x");
    let packets = keyring().run("20200601T000000", &["--list-packets"], &message);
    let packets = String::from_utf8(packets).unwrap();
    assert!(
        packets.contains(&format!("keyid {}", parts[1])),
        "{packets}"
    );
}

#[test]
fn a_file_without_a_public_key_says_so() {
    let secret = keyring().export("curve@example.com", &["--export-secret-keys"]);
    let armoured = keyring().export("curve@example.com", &["--export-secret-keys", "--armor"]);
    let message = encrypted(&find(&["curve@example.com"]).unwrap(), b"x");
    let key = keyring().export("curve@example.com", &["--export"]);
    let text = b"-----BEGIN NOTHING-----\n-----END NOTHING-----\n";
    for (content, what) in [
        (&b""[..], "no public key"),
        (b"no key at all\n", "no public key"),
        (&message, "no public key"),
        (&secret, "a secret key"),
        (&armoured, "a secret key"),
        (text, "damaged"),
        (&key[..100], "damaged"),
    ] {
        let (_folder, path) = file("key", content);
        let refused = find(&[&path]);
        let Err(RecipientError::Unreadable { named, source }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(named, path);
        assert!(source.to_string().contains(what), "{source}, not {what}");
    }
}

#[test]
fn a_changed_key_is_refused_or_the_same() {
    for address in ["rsa@example.com", "curve@example.com", "nist@example.com"] {
        let fingerprint = keyring().fingerprint(address);
        let good = find(&[address]).unwrap();
        let part = |keys: &Recipients| part(&encrypted(keys, b""));
        let known = part(&good);
        let key = keyring().export(address, &["--export"]);
        let (_folder, path) = file("key", &key);
        // RSA takes its time, and its numbers are long.
        let places = (0..key.len()).step_by(if address.starts_with("rsa") { 7 } else { 1 });
        let mut used = 0;
        for place in places.clone() {
            let mut changed = key.clone();
            changed[place] ^= [1, 0x80, 0xff][place % 3];
            fs::write(&path, &changed).unwrap();
            if let Ok(keys) = find(&[&path]) {
                // The user id may be another one, if it says so: nothing else.
                assert!(keys.described()[0].starts_with(&fingerprint), "{place}");
                assert_eq!(part(&keys), known, "{address}: {place}");
                used += 1;
            }
        }
        // A signature does not cover everything: not its own hints at who made it.
        assert!(used < places.len() / 3, "{address}: {used}");
    }
}

#[test]
fn without_gpg_a_file_will_do() {
    let named = ["curve@example.com".to_owned()];
    let refused = Recipients::open_pgp_by(&Gpg::missing(), &named, NOW);
    assert!(
        matches!(refused, Err(RecipientError::NoGpg { .. })),
        "{refused:?}"
    );
    let (_folder, path) = file("key", &keyring().export("curve@example.com", &["--export"]));
    Recipients::open_pgp_by(&Gpg::missing(), &[path], NOW).unwrap();
}

#[test]
fn a_keyring_that_cannot_be_read_is_not_one_without_keys() {
    let (_folder, path) = file("pubring.kbx", b"");
    let gpg = Gpg::at(&PathBuf::from(path).join("no folder"));
    let refused = Recipients::open_pgp_by(&gpg, &["somebody".to_owned()], NOW);
    assert!(
        matches!(refused, Err(RecipientError::Gpg { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_disk_that_is_full_ends_the_encryption() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = (self.0.checked_sub(bytes.len())).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let age = age_recipient();
    for recipients in [find(&["curve@example.com"]).unwrap(), age] {
        let failed = recipients.encrypt(&sample(2 << 20)[..], Full(1 << 20));
        assert!(
            matches!(&failed, Err(EncryptError::Io(error)) if error.kind() == io::ErrorKind::StorageFull),
            "{failed:?}"
        );
    }
}

fn age_recipient() -> Recipients {
    let key = ::age::x25519::Identity::generate().to_public().to_string();
    Recipients::age(&[key]).unwrap()
}

#[test]
fn the_age_program_opens_what_was_encrypted() {
    use ::age::secrecy::ExposeSecret;

    let identities: [_; 3] = std::array::from_fn(|_| ::age::x25519::Identity::generate());
    let [first, second, third] =
        (identities.each_ref()).map(|identity| identity.to_public().to_string());
    let list = format!("# two of them\n{second}\n\n{third}\n{second}\n");
    let (_list, list) = file("recipients.txt", list.as_bytes());
    let recipients = Recipients::age(&[first.clone(), list]).unwrap();
    assert_eq!(recipients.described(), [first, second, third]);
    assert_eq!(recipients.extension(), "age");

    for length in [0, 1, 64 << 10, 3 << 20] {
        let plain = sample(length);
        let message = encrypted(&recipients, &plain);
        for identity in &identities {
            let (_folder, path) = file("identity", identity.to_string().expose_secret().as_bytes());
            let mut age = Command::new("age");
            age.args(["--decrypt", "--identity", &path]);
            assert!(run(age, &message) == plain, "{length}");
        }
    }
}

#[test]
fn what_is_no_age_recipient_is_refused() {
    use ::age::secrecy::ExposeSecret;

    let identity = ::age::x25519::Identity::generate();
    let secret = identity.to_string().expose_secret().to_owned();
    let good = identity.to_public().to_string();
    let refuse = |named: &str, what: &str| {
        let refused = Recipients::age(&[good.clone(), named.to_owned()]).unwrap_err();
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert!(cause.contains(what), "{named}: {cause}, not {what}");
        assert!(!cause.contains(&secret));
    };
    refuse("age1nobody", "line 1");
    refuse(&good.replace("age1", "age1x"), "line 1");
    refuse("/nonexistent/recipients", "No such file");
    let (_folder, path) = file("list", format!("{good}\nssh-ed25519 AAAA\n").as_bytes());
    refuse(&path, "line 2");
    let (_folder, path) = file("list", format!("{good}\n{secret}\n").as_bytes());
    refuse(&path, "a secret key");
    let (_folder, path) = file("list", b"# nobody yet\n");
    refuse(&path, "no public key");
    assert!(matches!(Recipients::age(&[]), Err(RecipientError::Nobody)));
}
