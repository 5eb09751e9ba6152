//! Any bytes from the network are a stranger's: an error, never a panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ostrakon_shards::kem::KemSecret;
use ostrakon_transport::envelope::{EnvelopeKey, SessionMessage};
use ostrakon_types::{Digest, KssId};

static KEY: LazyLock<EnvelopeKey> =
    LazyLock::new(|| EnvelopeKey::new(KemSecret::generate().expect("random bytes")));

fuzz_target!(|bytes: &[u8]| {
    let kss = KssId::from_digest(Digest::from_bytes([0; 32]));
    assert!(KEY.open(&kss, bytes).is_err());
    // What no session opens, it can still name.
    let _ = SessionMessage::parse(bytes).map(|message| message.session());
});
