//! What all secrets have in common: an encoding that leaves no copies behind, and the assertion that
//! a type of secrets lacks the traits that would.

use std::convert::Infallible;

use minicbor::{Decode, Encode, Encoder, encode::Write};
use ostrakon_types::canonical::DecodeError;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Asserts at compile time that secrets cannot be copied, compared, printed or serialised by accident.
///
/// For each trait that a type must lack, it gets two candidate impls of a helper trait if it has the
/// trait and one if it lacks it; only with one can the compiler infer which is meant.
macro_rules! assert_secret {
    ($($type:ty),+ $(,)?) => { $(
        const _: fn() = || {
            trait Lacks<Marker> {
                fn holds() {}
            }
            impl<T: ?Sized> Lacks<()> for T {}
            macro_rules! lacks {
                ($marker:ident: $bound:path) => {
                    #[allow(dead_code, reason = "a marker for type inference alone")]
                    struct $marker;
                    impl<T: ?Sized + $bound> Lacks<$marker> for T {}
                };
            }
            lacks!(IsClone: Clone);
            lacks!(IsDebug: std::fmt::Debug);
            lacks!(IsDisplay: std::fmt::Display);
            lacks!(IsEq: PartialEq);
            lacks!(IsHash: std::hash::Hash);
            lacks!(IsSerialize: serde::Serialize);
            lacks!(IsEncode: minicbor::Encode<()>);
            let _ = <$type as Lacks<_>>::holds;
        };
    )+ };
}
pub(crate) use assert_secret;

/// Encodes canonically into one allocation that is wiped on drop and never moved while it grows.
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
    if encode(&value).ct_eq(bytes).into() {
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
