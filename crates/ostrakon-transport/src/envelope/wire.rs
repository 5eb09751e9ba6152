//! The parts of a sealed request that both sides must see alike.

use minicbor::bytes::ByteSlice;
use ostrakon_shards::suite::Suite;
use ostrakon_types::{DeviceId, KssId, canonical};

/// The first item of everything that is bound or signed.
pub(super) const DOMAIN: &str = "ostrakon";
pub(super) const TAG_LEN: usize = 16;
/// What a device's signature under a request is for.
pub(super) const PURPOSE: &str = "request";

/// The first byte of a request, and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Version {
    /// A request with a key agreement of its own; an answer that opens no session.
    Single = 1,
    /// The same, but the request asks for a session; an answer that opens it.
    Opening = 2,
    /// A message of a session.
    InSession = 3,
}

impl Version {
    pub(super) const fn as_byte(self) -> u8 {
        self as u8
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Single, Self::Opening, Self::InSession]
            .into_iter()
            .find(|version| version.as_byte() == byte)
    }
}

/// The part in clear of a request that has a key agreement of its own.
#[derive(Clone, Copy)]
pub(super) struct Clear<'a> {
    pub(super) version: Version,
    pub(super) suite: Suite,
    pub(super) device: DeviceId,
    pub(super) encapsulated: &'a [u8],
}

impl<'a> Clear<'a> {
    /// Takes an envelope apart into the part in clear and the ciphertext. Every envelope that this
    /// takes, [`with`](Self::with) makes again: there is one spelling.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[version, suite], rest) = bytes.split_first_chunk()?;
        let version = Version::from_byte(version)?;
        if version == Version::InSession {
            return None;
        }
        let suite = Suite::try_from(suite).ok()?;
        let (device, rest) = rest.split_first_chunk()?;
        let (encapsulated, ciphertext) = rest.split_at_checked(suite.encapsulated_len())?;
        let clear = Self {
            version,
            suite,
            device: DeviceId::from_bytes(*device),
            encapsulated,
        };
        (ciphertext.len() >= TAG_LEN).then_some((clear, ciphertext))
    }

    /// The envelope with this ciphertext.
    pub(super) fn with(&self, ciphertext: &[u8]) -> Vec<u8> {
        let head = [self.version.as_byte(), self.suite.as_byte()];
        [
            &head,
            &self.device.as_bytes()[..],
            self.encapsulated,
            ciphertext,
        ]
        .concat()
    }

    /// What the signature covers.
    pub(super) fn signed(&self, kss: &KssId, body: &[u8]) -> Vec<u8> {
        let encapsulated = <&ByteSlice>::from(self.encapsulated);
        let body = <&ByteSlice>::from(body);
        let version = self.version.as_byte();
        canonical::encode(&(version, self.suite, kss, self.device, encapsulated, body))
    }

    /// What the HPKE context is bound to.
    pub(super) fn info(&self, kss: &KssId) -> Vec<u8> {
        info(self.version, self.suite, kss, &self.device)
    }
}

/// What the HPKE context of a request is bound to.
pub(super) fn info(version: Version, suite: Suite, kss: &KssId, device: &DeviceId) -> Vec<u8> {
    let version = version.as_byte();
    canonical::encode(&(DOMAIN, version, suite, "request envelope", kss, device))
}

/// The exporter context of what is called `name`.
pub(super) fn export_label(version: Version, suite: Suite, name: &str) -> Vec<u8> {
    canonical::encode(&(DOMAIN, version.as_byte(), suite, name))
}
