//! Seen to fail: with the check of the order of files left out, a name that comes twice is taken; with the check
//! of the end left out, what is behind the archive is taken; without `is_plain`, a path that leads out.

use std::io::{Read, Seek as _, Write as _};

use ostrakon_shards::{archive::SignedArchive, card::DeviceKind, device::DeviceKeys, name::Name};
use ostrakon_storage::{Place, ProtectorKey, Rows, Store};

use super::{read::is_plain, *};

/// What a visitor has seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    files: Vec<(String, u32, Vec<u8>)>,
    rows: BTreeMap<&'static str, u64>,
}

impl Visitor for Seen {
    type Error = String;

    fn header(&mut self, _: &Header, _: Voucher) -> Result<(), String> {
        Ok(())
    }

    fn file(&mut self, name: &str, mode: u32, content: &mut dyn Read) -> Result<(), String> {
        let mut bytes = Vec::new();
        let read = content.read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        self.files.push((name.to_owned(), mode, bytes));
        Ok(())
    }

    fn rows(&mut self, rows: Rows) -> Result<(), String> {
        *self.rows.entry(rows.table()).or_default() += rows.count();
        Ok(())
    }
}

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn header(author: Author) -> Header {
    Header {
        format: FORMAT,
        archive: "00112233445566778899aabbccddeeff".to_owned(),
        contents: Contents::Folder,
        release: "0.1.0".to_owned(),
        host: "host".to_owned(),
        created_at: NOW,
        author,
        database: Some("sqlite".to_owned()),
        instance: None,
    }
}

/// Parts of a real database.
fn parts() -> Vec<(&'static str, u64, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = ProtectorKey::create(&folder.path().join("key")).unwrap();
    runtime.block_on(async {
        let place = Place::File(folder.path().join("db"));
        let store = Store::create(&place, &key).await.unwrap();
        let mut dump = store.dump().await.unwrap();
        let mut parts = Vec::new();
        while let Some(part) = dump.next().await.unwrap() {
            parts.push((part.table, part.rows, part.bytes));
        }
        parts
    })
}

fn large() -> Vec<u8> {
    let lines = (0..110_000).map(|line| format!("line {line}\n"));
    lines.collect::<String>().into_bytes()
}

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn card(keys: &DeviceKeys) -> Author {
    let name = Name::new("laptop").unwrap();
    Author::Device {
        card: keys.card(DeviceKind::Workstation, name),
    }
}

fn archive(keys: &DeviceKeys) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &header(card(keys))).unwrap();
    writer.file("a", 0o600, &mut file(b"A")).unwrap();
    writer.bytes("b/empty", b"").unwrap();
    writer.file("b/large", 0o755, &mut file(&large())).unwrap();
    writer
        .bytes(&format!("c/{}", "long/".repeat(60) + "name"), b"L")
        .unwrap();
    for (table, rows, part) in parts() {
        writer.part(table, rows, &part).unwrap();
    }
    let sign = |digest| SignedArchive::issue(&keys.signing, digest);
    writer.finish(Some(&sign)).unwrap().0
}

fn read_seen(bytes: &[u8]) -> Result<(Verified, Seen), ArchiveError<String>> {
    let mut seen = Seen::default();
    read(bytes, &mut seen).map(|verified| (verified, seen))
}

#[test]
fn what_was_written_is_read() {
    let keys = DeviceKeys::generate().unwrap();
    let bytes = archive(&keys);
    let (verified, seen) = read_seen(&bytes).unwrap();
    assert!(matches!(verified.voucher, Voucher::Device(_)));
    let content: Vec<_> = seen
        .files
        .iter()
        .map(|(name, _, bytes)| (name.as_str(), bytes.len()))
        .collect();
    assert_eq!(
        content[..3],
        [("a", 1), ("b/empty", 0), ("b/large", large().len())]
    );
    assert_eq!(seen.files[2].1, 0o700, "others have no part in it");
    assert_eq!(seen.files[2].2, large());
    assert!(seen.files[3].0.len() > 100);
    assert_eq!(seen.rows.get("settings"), Some(&4));
    let database = verified.manifest.database.unwrap();
    assert_eq!(database.rows.get("settings"), Some(&4));
    // What is large is compressed: this one counts.
    assert!(bytes.len() < 2 << 20, "{}", bytes.len());

    // Any program that reads a tar lists it.
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), &bytes).unwrap();
    let listed = std::process::Command::new("tar")
        .args(["tvf".as_ref(), path.path().as_os_str()])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in [
        "header.json",
        "files/a",
        "compressed/b/large.zst",
        "database/00000001.zst",
        "manifest.sig",
    ] {
        assert!(listed.contains(name), "{listed}");
    }
}

#[test]
fn an_archive_without_a_signature_is_one_of_nobody() {
    let mut writer = Writer::begin(Vec::new(), &header(Author::Nobody)).unwrap();
    writer.bytes("a", b"A").unwrap();
    let (bytes, _) = writer.finish(None).unwrap();
    assert_eq!(read_seen(&bytes).unwrap().0.voucher, Voucher::Nobody);
    // One that takes the signature off, and somebody else's name on, has neither.
    let keys = DeviceKeys::generate().unwrap();
    let mut writer = Writer::begin(Vec::new(), &header(card(&keys))).unwrap();
    writer.bytes("a", b"A").unwrap();
    let (bytes, _) = writer.finish(None).unwrap();
    assert!(matches!(read_seen(&bytes), Err(ArchiveError::Damaged(_))));
}

#[test]
fn whatever_is_flipped_or_cut_off_is_found_out() {
    let keys = DeviceKeys::generate().unwrap();
    let bytes = archive(&keys);
    let step = bytes.len() / 700;
    for place in (0..bytes.len())
        .step_by(step)
        .chain(0..512)
        .chain(bytes.len() - 1600..bytes.len())
    {
        let mut flipped = bytes.clone();
        flipped[place] ^= 0x10;
        assert!(
            read_seen(&flipped).is_err(),
            "byte {place} of {}",
            bytes.len()
        );
    }
    for cut in (0..bytes.len()).step_by(512) {
        assert!(read_seen(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for behind in [&[0_u8; 512][..], &[0; 1024], b"x", &bytes] {
        let longer = [&bytes[..], behind].concat();
        assert!(
            read_seen(&longer).is_err(),
            "{} bytes behind it",
            behind.len()
        );
    }
}

/// The members of an archive, as they stand in it.
fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>, u32)> {
    let mut tar = tar::Archive::new(bytes);
    let entries = tar.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let mode = entry.header().mode().unwrap();
            (name, content, mode)
        })
        .collect()
}

/// An archive of these members.
fn of(members: &[(String, Vec<u8>, u32)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content, mode) in members {
        let mut frame = frame(*mode, content.len() as u64, NOW);
        tar.append_data(&mut frame, name, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn members_stay_in_their_order_and_their_number() {
    let keys = DeviceKeys::generate().unwrap();
    let whole = members(&archive(&keys));
    read_seen(&of(&whole)).unwrap();
    for first in 0..whole.len() {
        let mut without = whole.clone();
        let taken = without.remove(first);
        assert!(read_seen(&of(&without)).is_err(), "without {}", taken.0);
        for place in 0..whole.len() {
            let mut moved = without.clone();
            moved.insert(place, taken.clone());
            let accepted = read_seen(&of(&moved)).is_ok();
            assert_eq!(accepted, place == first, "{} at {place}", taken.0);
        }
        let mut twice = whole.clone();
        twice.insert(first, taken.clone());
        assert!(read_seen(&of(&twice)).is_err(), "{} twice", taken.0);
    }
}

#[test]
fn an_archive_that_somebody_else_signed_is_his() {
    let (keys, forger) = (
        DeviceKeys::generate().unwrap(),
        DeviceKeys::generate().unwrap(),
    );
    let (original, _) = read_seen(&archive(&keys)).unwrap();
    let mut forged = members(&archive(&keys));
    let signature = forged.len() - 1;
    let manifest = sha256(&forged[signature - 1].1);
    forged[signature].1 = SignedArchive::issue(&forger.signing, manifest).to_bytes();
    let refused = read_seen(&of(&forged));
    assert!(
        matches!(refused, Err(ArchiveError::Forged(_))),
        "{refused:?}"
    );
    // Under his own name it is another's archive.
    let (his, _) = read_seen(&archive(&forger)).unwrap();
    assert_ne!(his.voucher, original.voucher);
}

#[test]
fn nothing_leads_out_of_the_folder() {
    for name in ["../x", "a/../x", "a//x", "./x", "a/.", "..", "/x", ""] {
        assert!(!is_plain(name), "{name:?}");
    }
    for name in ["x", "a/x", ".x", "a/..x", "a/x..", "é", "a\\x"] {
        assert!(is_plain(name), "{name:?}");
    }
    let keys = DeviceKeys::generate().unwrap();
    let whole = members(&archive(&keys));
    let crafted = |kind: tar::EntryType, name: &[u8], link: Option<&str>| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut append = |kind, name: &[u8], content: &[u8], link: Option<&str>| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o600);
            header.set_size(content.len() as u64);
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name);
            if let Some(link) = link {
                header.set_link_name(link).unwrap();
            }
            header.set_cksum();
            tar.append(&header, content).unwrap();
        };
        append(tar::EntryType::Regular, b"header.json", &whole[0].1, None);
        append(kind, name, b"", link);
        tar.into_inner().unwrap()
    };
    let regular = tar::EntryType::Regular;
    for name in [
        "files/../x",
        "files//x",
        "files/a/../../x",
        "../x",
        "/etc/x",
        "compressed/../x.zst",
        "x",
        "database/../x.zst",
        "database/00000002.zst",
    ] {
        let refused = read_seen(&crafted(regular, name.as_bytes(), None));
        assert!(
            matches!(refused, Err(ArchiveError::Damaged(_))),
            "{name}: {refused:?}"
        );
    }
    let refused = read_seen(&crafted(regular, b"files/\xff", None));
    assert!(
        matches!(refused, Err(ArchiveError::Damaged(_))),
        "{refused:?}"
    );
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Directory,
        tar::EntryType::Fifo,
        tar::EntryType::Char,
        tar::EntryType::Block,
        tar::EntryType::Continuous,
        tar::EntryType::GNUSparse,
    ] {
        let refused = read_seen(&crafted(kind, b"files/x", Some("/etc/passwd")));
        assert!(
            matches!(refused, Err(ArchiveError::Damaged(_))),
            "{kind:?}: {refused:?}"
        );
    }
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let none = |bytes: &[u8]| match read_seen(bytes) {
        Err(ArchiveError::NotOne(_) | ArchiveError::Damaged(_)) => {}
        other => panic!("{other:?}"),
    };
    none(b"");
    none(&[0; 1024]);
    none(&[7; 5000]);
    none(&of(&[("files/a".to_owned(), vec![], 0o600)]));
    none(&of(&[("header.json".to_owned(), b"{}".to_vec(), 0o600)]));
    let newer = of(&[(
        "header.json".to_owned(),
        br#"{"format": 2}"#.to_vec(),
        0o600,
    )]);
    assert!(matches!(read_seen(&newer), Err(ArchiveError::Format(2))));
    // Small, and large once it is unpacked: it costs no more memory than a part may have.
    let keys = DeviceKeys::generate().unwrap();
    let mut bomb = members(&archive(&keys))[..1].to_vec();
    let zeros = zstd::bulk::compress(&vec![0; usize::try_from(MAX_PART).unwrap() + 1], 19).unwrap();
    bomb.push(("database/00000001.zst".to_owned(), zeros, 0o600));
    assert!(matches!(
        read_seen(&of(&bomb)),
        Err(ArchiveError::Damaged(_))
    ));
}
