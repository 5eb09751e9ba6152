//! Whatever decodes encodes to the same bytes; whatever does not is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostrakon_shards::{
    card::Card,
    device::DeviceKeys,
    identity::PublicCard,
    profile::{Profile, SignedHead, SignedVersion},
    record::{RecordKey, open_record},
    sealed_shard::{FileShare, PublicContext, SealedOwnerShare, SealedShard},
    share::{Manifest, Shard, combine},
};
use ostrakon_types::KssId;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(card) = Card::from_bytes(bytes) {
        assert_eq!(card.to_bytes(), bytes);
    }
    if let Ok(card) = PublicCard::from_bytes(bytes) {
        assert_eq!(card.to_bytes(), bytes);
        let _ = card.verify(&card.claimed_id());
    }
    if let Ok(signed) = SignedVersion::from_bytes(bytes) {
        assert_eq!(signed.to_bytes(), bytes);
        let _ = Profile::found(signed);
    }
    if let Ok(head) = SignedHead::from_bytes(bytes) {
        assert_eq!(head.to_bytes(), bytes);
    }
    if let Ok(context) = PublicContext::from_bytes(bytes) {
        assert_eq!(context.to_bytes(), bytes);
    }
    if let Ok(share) = FileShare::from_bytes(bytes) {
        assert_eq!(share.to_bytes(), bytes);
    }
    if let Ok(sealed) = SealedShard::from_bytes(bytes) {
        assert_eq!(sealed.to_bytes(), bytes);
    }
    if let Ok(sealed) = SealedOwnerShare::from_bytes(bytes) {
        assert_eq!(sealed.to_bytes(), bytes);
    }
    let half = bytes.len() / 2;
    if let (Ok(manifest), Ok(shard)) =
        (Manifest::from_bytes(&bytes[..half]), Shard::from_bytes(&bytes[half..]))
    {
        let _ = combine(&manifest, &[shard]);
    }
    let _ = DeviceKeys::from_bytes(bytes);
    let _ = open_record(&RecordKey::from_bytes(&[7; 32]), "t", "c", b"r", bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(id) = text.parse::<KssId>() {
            assert_eq!(id.to_string(), text.to_lowercase());
        }
    }
});
