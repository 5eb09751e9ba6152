//! Text that many values share, in the encodings that a `String` has.

use std::sync::Arc;

use minicbor::{
    Decoder, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn encode<C, W: Write>(
    text: &Arc<str>,
    encoder: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), EncodeError<W::Error>> {
    encoder.str(text)?.ok()
}

pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Arc<str>, DecodeError> {
    decoder.str().map(Arc::from)
}

pub(crate) fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}
