//! Secrets are gone from memory once they are dropped.
//!
//! The process searches its own memory for what it has just dropped. Linux only: it reads
//! `/proc/self/mem`. It is alone in its process, so that no other test writes meanwhile.
//!
//! Rust moves values over the stack as it likes, and what a move leaves behind is overwritten only by
//! what comes after. So this shows that nothing stays for long, not that there is never a copy.
//!
//! Planted bug that this was seen to catch: a copy of what a backup file held that is not wiped.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers fail their tests by panicking"
)]

use std::{
    fs::File,
    hint::black_box,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
};

use ostrakon_shards::{
    backup::Backup,
    card::DeviceKind,
    device::DeviceKeys,
    generation::Generation,
    identity::PublicCard,
    kem::KemSecret,
    name::Name,
    profile::{ProfileVersion, SignedVersion},
    record::{RecordKey, open_record, seal_record},
    seal,
    share::{FileKey, Shard, Threshold, combine, split},
    sign::SigningKey,
    suite::Suite,
};
use ostrakon_types::UnixMillis;
use zeroize::Zeroizing;

const MASK: u8 = 0xa5;

/// Remembers secrets without holding them: each byte is changed by a mask.
#[derive(Default)]
struct Needles(Vec<(&'static str, Vec<u8>)>);

impl Needles {
    /// The last 16 bytes, because the allocator writes over the first ones of what is freed.
    fn add(&mut self, name: &'static str, secret: &[u8]) {
        let tail = secret.len().saturating_sub(16);
        let masked = secret.iter().skip(tail).map(|byte| byte ^ MASK).collect();
        self.0.push((name, masked));
    }

    /// The names of those secrets that writable memory holds, and where.
    fn found(&self) -> Vec<String> {
        let maps = BufReader::new(File::open("/proc/self/maps").unwrap());
        let mut memory = File::open("/proc/self/mem").unwrap();
        let mut found = Vec::new();
        for map in maps.lines().map(Result::unwrap) {
            let (range, rest) = map.split_once(' ').unwrap();
            if !rest.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16).unwrap());
            let mut bytes = Zeroizing::new(vec![0; end - start]);
            let own = bytes.as_ptr().addr()..bytes.as_ptr().addr() + bytes.len();
            memory.seek(SeekFrom::Start(start as u64)).unwrap();
            if memory.read_exact(&mut bytes).is_ok() {
                let hits = self.within(&bytes).map(|(at, name)| (start + at, name));
                let others = hits.filter(|(at, _)| !own.contains(at));
                found.extend(others.map(|(at, name)| format!("{name} at {at:x} of {map}")));
            }
        }
        found
    }

    fn within<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (usize, &'a str)> {
        self.0.iter().flat_map(|(name, needle)| {
            let first = needle.first().map(|masked| masked ^ MASK);
            let is_hit = move |window: &[u8]| {
                window.first().copied() == first
                    && window
                        .iter()
                        .zip(needle)
                        .all(|(byte, masked)| byte ^ MASK == *masked)
            };
            let windows = bytes.windows(needle.len()).enumerate();
            windows.filter_map(move |(at, window)| is_hit(window).then_some((at, *name)))
        })
    }
}

fn use_secrets(needles: &mut Needles) {
    let key = FileKey::generate(32).unwrap();
    needles.add("file key", key.as_bytes());
    let set = split(&key, Threshold::new(2, 3).unwrap()).unwrap();
    for shard in &set.shards {
        needles.add("shard", shard.values());
        let _ = Shard::from_bytes(&shard.to_bytes()).unwrap();
    }
    let _ = combine(&set.manifest, &set.shards).unwrap();

    let device = DeviceKeys::generate().unwrap();
    needles.add("signing key", &*device.signing.to_bytes());
    let kem = device.kem.to_bytes();
    needles.add("x25519 key", &kem[1..33]);
    needles.add("x-wing key", &kem[33..]);
    let _ = DeviceKeys::from_bytes(&device.to_bytes()).unwrap();
    let _ = device.signing.sign("tests", b"message");
    for suite in Suite::ALL {
        let sealed = seal::seal(suite, "tests", device.kem.public(), b"", key.as_bytes()).unwrap();
        let opened = seal::open("tests", &device.kem, b"", &sealed).unwrap();
        assert_eq!(*opened, key.as_bytes());
    }
    let record = RecordKey::generate().unwrap();
    needles.add("record key", &*record.to_bytes());
    let sealed = seal_record(&record, "t", "c", b"r", key.as_bytes()).unwrap();
    let _ = open_record(&record, "t", "c", b"r", &sealed).unwrap();
    let _ = (
        KemSecret::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
}

/// Makes a backup file for one device, opens it again, and gives the shares and what was in it.
fn back_up(needles: &mut Needles) {
    let (root, kem) = (
        SigningKey::generate().unwrap(),
        KemSecret::generate().unwrap(),
    );
    let name = Name::new("wiped").unwrap();
    let card = PublicCard::issue(&root, 1, name.clone(), kem.public(), kem.public());
    let device = DeviceKeys::generate().unwrap();
    let device_card = device.card(DeviceKind::Mobile, name.clone());
    let id = device_card.id();
    let version = ProfileVersion::first(name, 1, vec![device_card]).unwrap();
    let signature = version.sign(&device.signing);
    let identity = FileKey::generate(32).unwrap();
    needles.add("identity", identity.as_bytes());
    let root_key = RecordKey::generate().unwrap();
    needles.add("root key", &*root_key.to_bytes());
    let backup = Backup {
        card: &card,
        generation: Generation {
            epoch: 0,
            counter: 1,
        },
        created_at: UnixMillis(0),
        versions: &[SignedVersion::new(version, [(id, signature)])],
        identity: identity.as_bytes(),
        root_key: Some(&root_key),
        suite: Suite::XWing,
    };
    let file = backup.make(&root).unwrap();
    let share = file.open_share(&device, id).unwrap();
    // Of one share, it is the backup key itself.
    needles.add("backup share", share.values());
    let recovered = file.recover(&[share]).unwrap();
    assert_eq!(*recovered.identity, identity.as_bytes());
}

#[test]
fn dropped_secrets_are_gone() {
    let mut needles = Needles::default();
    use_secrets(&mut needles);
    back_up(&mut needles);
    assert_eq!(needles.found(), [""; 0]);

    // A copy that nobody wipes is found. It is not freed: the allocator may hand its memory to the search.
    let forgotten = FileKey::generate(32).unwrap().as_bytes().to_vec();
    needles.add("forgotten key", &forgotten);
    assert!(!needles.found().is_empty());
    drop(black_box(forgotten));
}
