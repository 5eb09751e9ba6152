//! The canonical encoding of what holds secrets: wiped, and without a copy that is not.

use std::convert::Infallible;

use minicbor::{Decode, Encode, Encoder, encode::Write};
use ostrakon_types::canonical::DecodeError;
use zeroize::Zeroizing;

/// Encodes canonically, into one allocation that never grows and so leaves nothing behind.
pub(crate) fn encode<T: Encode<()>>(value: &T) -> Zeroizing<Vec<u8>> {
    let mut length = Length(0);
    // Neither writer nor any `Encode` of this workspace can fail.
    let _ = Encoder::new(&mut length).encode(value);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    let _ = Encoder::new(&mut *bytes).encode(value);
    bytes
}

/// Decodes `bytes`, which must be exactly the canonical encoding of the result.
pub(crate) fn decode<'b, T>(bytes: &'b [u8]) -> Result<T, DecodeError>
where
    T: Encode<()> + Decode<'b, ()>,
{
    let value: T = minicbor::decode(bytes).map_err(DecodeError::Malformed)?;
    // The bytes are authenticated: who could learn from the time of this made them.
    if *encode(&value) == bytes {
        Ok(value)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

struct Length(usize);

impl Write for Length {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}
