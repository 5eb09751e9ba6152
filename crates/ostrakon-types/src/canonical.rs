//! The canonical encoding: deterministic CBOR (RFC 8949, section 4.2).
//!
//! Types encode as fixed-layout arrays of shortest-form integers, byte strings and text, so that one
//! value has one encoding. [`decode`] refuses every other spelling of the same value, because ids,
//! digests and signatures are taken over the bytes.

use minicbor::{Decode, Encode, Encoder, encode::Write};

/// Why bytes are not the canonical encoding of a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not CBOR, or not the shape that the type has.
    #[error("malformed encoding")]
    Malformed(#[source] minicbor::decode::Error),
    /// A value, but not in its canonical spelling, or with bytes behind it.
    #[error("encoding is not canonical")]
    NotCanonical,
}

/// Encodes `value` canonically.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    // Room for most of what is encoded, so that it seldom has to grow.
    let mut bytes = Vec::with_capacity(256);
    let mut encoder = Encoder::new(Infallibly(&mut bytes));
    // Neither the writer nor any `Encode` of this workspace can fail.
    let _ = encoder.encode(value);
    bytes
}

/// Decodes `bytes`, which must be exactly the canonical encoding of the result.
///
/// # Errors
/// When the bytes are malformed, have a tail, or spell the value in a second way.
pub fn decode<T>(bytes: &[u8]) -> Result<T, DecodeError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let value: T = minicbor::decode(bytes).map_err(DecodeError::Malformed)?;
    if encode(&value) == bytes {
        Ok(value)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

struct Infallibly<'a>(&'a mut Vec<u8>);

impl Write for Infallibly<'_> {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Pair {
        #[n(0)]
        number: u64,
        #[n(1)]
        text: Option<String>,
    }

    #[test]
    fn one_value_has_one_encoding() {
        let pair = Pair {
            number: 7,
            text: Some("seven".into()),
        };
        let bytes = encode(&pair);
        assert_eq!(bytes, b"\x82\x07\x65seven");
        assert_eq!(decode::<Pair>(&bytes).unwrap(), pair);
    }

    #[test]
    fn other_spellings_are_refused() {
        let spellings: [&[u8]; 6] = [
            b"\x82\x18\x07\x65seven",     // the integer in a longer form
            b"\x9f\x07\x65seven\xff",     // an array of indefinite length
            b"\x82\x07\x7f\x65seven\xff", // text of indefinite length
            b"\x82\x07\x65seven\x00",     // a tail
            b"\x83\x07\x65seven\xf6",     // a further field
            b"\x82\x07\x65sev",           // cut off
        ];
        for spelling in spellings {
            assert!(decode::<Pair>(spelling).is_err(), "{spelling:02x?}");
        }
    }
}
