//! The parts of a sealed request that both sides must see alike.

use minicbor::bytes::ByteSlice;
use ostrakon_shards::suite::Suite;
use ostrakon_types::{DeviceId, KssId, canonical};

/// The first item of everything that is bound or signed.
const DOMAIN: &str = "ostrakon";
pub(super) const VERSION: u8 = 1;
pub(super) const TAG_LEN: usize = 16;
/// What a device's signature under a request is for.
pub(super) const PURPOSE: &str = "request";

/// The part in clear.
#[derive(Clone, Copy)]
pub(super) struct Clear<'a> {
    pub(super) suite: Suite,
    pub(super) device: DeviceId,
    pub(super) encapsulated: &'a [u8],
}

impl<'a> Clear<'a> {
    /// Takes an envelope apart into the part in clear and the ciphertext. Every envelope that this
    /// takes, [`with`](Self::with) makes again: there is one spelling.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[version, suite], rest) = bytes.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        let suite = Suite::try_from(suite).ok()?;
        let (device, rest) = rest.split_first_chunk()?;
        let (encapsulated, ciphertext) = rest.split_at_checked(suite.encapsulated_len())?;
        let clear = Self {
            suite,
            device: DeviceId::from_bytes(*device),
            encapsulated,
        };
        (ciphertext.len() >= TAG_LEN).then_some((clear, ciphertext))
    }

    /// The envelope with this ciphertext.
    pub(super) fn with(&self, ciphertext: &[u8]) -> Vec<u8> {
        let head = [VERSION, self.suite.as_byte()];
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
        canonical::encode(&(VERSION, self.suite, kss, self.device, encapsulated, body))
    }
}

/// What the HPKE context is bound to.
pub(super) fn info(suite: Suite, kss: &KssId, device: &DeviceId) -> Vec<u8> {
    canonical::encode(&(DOMAIN, VERSION, suite, "request envelope", kss, device))
}

/// The exporter context of the secret under which the answer is sealed.
pub(super) fn reply_label(suite: Suite) -> Vec<u8> {
    canonical::encode(&(DOMAIN, VERSION, suite, "response"))
}
