//! Canonical encodings that begin with a version.

use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};

/// Encodes as the number `N`, and decodes from nothing else.
pub(crate) struct Version<const N: u8>;

impl<C, const N: u8> Encode<C> for Version<N> {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u8(N)?.ok()
    }
}

impl<'b, C, const N: u8> Decode<'b, C> for Version<N> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        match d.u8()? {
            version if version == N => Ok(Self),
            _ => Err(minicbor::decode::Error::message("unknown version").at(at)),
        }
    }
}

/// Encodes a struct as an array of a version number and all its fields, in the order given.
macro_rules! versioned {
    ($type:ident, $version:literal { $($field:ident),+ $(,)? }) => {
        impl<C> minicbor::Encode<C> for $type {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                (crate::versioned::Version::<$version>, $(&self.$field),+).encode(e, ctx)
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $type {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                ctx: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let (crate::versioned::Version::<$version>, $($field),+) =
                    minicbor::Decode::decode(d, ctx)?;
                Ok(Self { $($field),+ })
            }
        }
    };
}
pub(crate) use versioned;
