//! Decoders of foreign bytes refuse what is malformed, and never panic.
//!
//! Random bytes seldom get past the first byte, so most cases are the recorded encodings with some
//! bytes replaced, cut out or put in.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers fail their tests by panicking"
)]

use std::sync::LazyLock;

use ostrakon_shards::{
    card::Card,
    device::DeviceKeys,
    identity::PublicCard,
    kem::KemSecret,
    name::Name,
    profile::{Profile, SignedHead, SignedVersion},
    record::{RecordKey, open_record},
    seal::{self, Sealed},
    sealed_shard::{FileShare, PublicContext, SealedOwnerShare, SealedShard},
    share::{Manifest, Shard},
    words::RecoveryWords,
};
use proptest::{prelude::*, sample::Index};
use serde_json::Value;

/// Every text of hexadecimal digits in the recorded vectors.
static ENCODINGS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    fn collect(value: &Value, found: &mut Vec<Vec<u8>>) {
        match value {
            Value::String(text) => found.extend(hex::decode(text)),
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            Value::Object(values) => values.values().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let vectors = serde_json::from_str(include_str!("../vectors/project-v1.json")).unwrap();
    let mut found = Vec::new();
    collect(&vectors, &mut found);
    assert!(found.len() > 25);
    found
});

static SECRET: LazyLock<KemSecret> = LazyLock::new(|| KemSecret::generate().unwrap());

/// Decodes `bytes` as everything there is; what can be decoded has these bytes as its only encoding.
fn decode_all(bytes: &[u8]) -> usize {
    let mut decoded = 0;
    macro_rules! decode {
        ($($type:ty),+) => { $(
            if let Ok(value) = <$type>::from_bytes(bytes) {
                assert_eq!(&value.to_bytes()[..], bytes);
                decoded += 1;
            }
        )+ };
    }
    decode!(
        Card,
        FileShare,
        Manifest,
        PublicCard,
        PublicContext,
        Sealed,
        SealedOwnerShare,
        SealedShard,
        Shard,
        SignedHead,
        SignedVersion
    );
    let _ = DeviceKeys::from_bytes(bytes);
    let _ = KemSecret::from_bytes(bytes);
    let _ = open_record(&RecordKey::from_bytes(&[7; 32]), "t", "c", b"r", bytes);
    if let Ok(sealed) = Sealed::from_bytes(bytes) {
        assert!(seal::open("tests", &SECRET, b"", &sealed).is_err());
    }
    if let Ok(version) = SignedVersion::from_bytes(bytes) {
        let _ = Profile::found(version);
    }
    if let Ok(card) = PublicCard::from_bytes(bytes) {
        let _ = card.verify(&card.claimed_id());
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = RecoveryWords::parse(&text);
    let _ = Name::new(&text);
    decoded
}

#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        1 => (any::<Index>(), 1usize..64).prop_map(|(at, len)| Edit::Cut(at, len)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..16))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
    ];
    prop::collection::vec(edit, 1..4)
}

fn apply(mut bytes: Vec<u8>, edits: Vec<Edit>) -> Vec<u8> {
    for edit in edits {
        match edit {
            Edit::Replace(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len().min(160));
                bytes[at] = byte;
            }
            Edit::Replace(..) => {}
            Edit::Cut(at, len) => {
                let at = at.index(bytes.len() + 1);
                bytes.drain(at..(at + len).min(bytes.len()));
            }
            Edit::Insert(at, new) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, new);
            }
        }
    }
    bytes
}

#[test]
fn recorded_encodings_are_decoded() {
    let decoded = ENCODINGS.iter().filter(|bytes| decode_all(bytes) > 0);
    assert!(decoded.count() > 15);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn edited_encodings_never_panic(at: Index, edits in edits()) {
        decode_all(&apply(at.get(&ENCODINGS).clone(), edits));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_all(&bytes);
    }

    #[test]
    fn random_text_never_panics(text in ".{0,200}") {
        decode_all(text.as_bytes());
    }
}
