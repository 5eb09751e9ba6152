use ostrakon_types::Digest;
use sha2::{Digest as _, Sha256};

/// The first item of everything that is hashed, signed or bound in canonical form with a purpose.
pub(crate) const DOMAIN: &str = "ostrakon";

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The first 16 bytes of a digest, as the ids of devices and profiles are.
pub(crate) fn first_half(digest: &Digest) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut()
        .zip(digest.as_bytes())
        .for_each(|(to, from)| *to = *from);
    half
}
