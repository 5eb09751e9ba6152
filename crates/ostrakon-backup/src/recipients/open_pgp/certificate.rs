//! From bytes to keys. Nothing of what a key says is believed here; see [`super::judge`].

use std::io::Read;

use pgp::{
    armor::{BlockType, Dearmor},
    composed::{Deserializable, SignedPublicKey},
    errors::Error,
    packet::{Packet, PacketParser, PacketTrait},
    types::Tag,
};

use super::super::ReadKeyError;

/// How each block of an armoured text begins.
const BLOCK: &str = "-----BEGIN ";

/// All keys of `bytes`, binary or armoured, were it in several blocks. Those of versions that nobody knows are passed over.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<SignedPublicKey>, ReadKeyError> {
    // The first bit tells a packet from text.
    if bytes.first().is_none_or(|first| first & 0x80 != 0) {
        return parse_binary(bytes);
    }
    let text = str::from_utf8(bytes).map_err(|_| ReadKeyError::NoKey)?;
    let mut keys = Vec::new();
    // One by one: the parser would stop after the first, and the second key of a file would be overlooked.
    for (start, _) in text.match_indices(BLOCK) {
        let block = text.get(start..).unwrap_or_default();
        let mut dearmor = Dearmor::new(block.as_bytes());
        let mut binary = Vec::new();
        dearmor.read_to_end(&mut binary).map_err(damaged)?;
        match dearmor.typ {
            Some(BlockType::PublicKey) => keys.append(&mut parse_binary(&binary)?),
            Some(BlockType::PrivateKey) => return Err(ReadKeyError::SecretKey),
            _ => return Err(ReadKeyError::NoKey),
        }
    }
    Ok(keys)
}

fn parse_binary(bytes: &[u8]) -> Result<Vec<SignedPublicKey>, ReadKeyError> {
    let mut packets = Vec::new();
    for packet in PacketParser::new(bytes) {
        match packet {
            Ok(Packet::Marker(_) | Packet::Padding(_)) => {}
            Ok(packet) if packet.tag() == Tag::SecretKey => return Err(ReadKeyError::SecretKey),
            Ok(packet) => packets.push(Ok(packet)),
            Err(error) if skippable(&error) => {}
            // Among others what is incomplete: it could be the revocation.
            Err(error) => return Err(damaged(error)),
        }
    }
    if !matches!(packets.first(), None | Some(Ok(Packet::PublicKey(_)))) {
        return Err(ReadKeyError::NoKey);
    }
    SignedPublicKey::from_packets(packets.into_iter().peekable())
        .collect::<Result<_, _>>()
        .map_err(damaged)
}

/// Whether a packet is merely of a kind or version that the parser does not know.
fn skippable(error: &Error) -> bool {
    match error {
        Error::Unsupported { .. } => true,
        Error::InvalidPacketContent { source } => matches!(**source, Error::Unsupported { .. }),
        _ => false,
    }
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ReadKeyError {
    ReadKeyError::Damaged(error.into())
}
