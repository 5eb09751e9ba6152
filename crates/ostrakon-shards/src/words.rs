//! A digest as the 24 words of BIP-39 that people read to each other.

use bip39::Mnemonic;
use ostrakon_types::{Digest, ProfileWords};

/// The 24 words of `digest`: 256 bits, and a checksum of 8 in the last word.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "32 bytes are one of the five lengths that BIP-39 has"
)]
pub fn words(digest: &Digest) -> ProfileWords {
    let mnemonic = Mnemonic::from_entropy(digest.as_bytes()).expect("24 words for 32 bytes");
    ProfileWords::new(&mnemonic.to_string())
}
