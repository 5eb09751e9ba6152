//! Envelopes that no honest client makes.

use minicbor::bytes::ByteSlice;
use ostrakon_shards::{card::Card, channel::Sender, sign::Signature, suite::Suite};
use ostrakon_types::{KssId, canonical};

use super::super::{
    reply::ReplySecret,
    wire::{self, Clear, PURPOSE, Version},
};
use crate::fixture::{Device, Server};

/// Forges envelopes to `server` in the name of `device`.
pub(super) struct Forgery<'a> {
    pub(super) server: &'a Server,
    pub(super) device: &'a Device,
    pub(super) suite: Suite,
}

impl<'a> Forgery<'a> {
    pub(super) fn new(server: &'a Server, device: &'a Device) -> Self {
        let suite = Suite::X25519;
        Self {
            server,
            device,
            suite,
        }
    }

    /// An envelope that holds what `content` makes of its clear part.
    fn seal(&self, content: impl FnOnce(&Clear<'_>) -> Vec<u8>) -> (Vec<u8>, ReplySecret) {
        let (kss, device) = (self.server.verified.kss_id(), self.device.card.id());
        let info = wire::info(Version::Single, self.suite, &kss, &device);
        let key = self.server.verified.envelope_key();
        let mut sender = Sender::setup(self.suite, key, &info).unwrap();
        let reply = ReplySecret::new(self.suite, sender.encapsulated(), |label, secret| {
            sender.export(label, secret)
        });
        let encapsulated = sender.encapsulated().to_vec();
        let clear = Clear {
            version: Version::Single,
            suite: self.suite,
            device,
            encapsulated: &encapsulated,
        };
        let ciphertext = sender.seal(&[], &content(&clear)).unwrap();
        (clear.with(&ciphertext), reply.unwrap())
    }

    fn sign(&self, by: &Device, clear: &Clear<'_>, body: &[u8]) -> Signature {
        let signed = clear.signed(&self.server.verified.kss_id(), body);
        by.keys.signing.sign(PURPOSE, &signed)
    }

    pub(super) fn content(&self, content: &[u8]) -> Vec<u8> {
        self.seal(|_| content.to_vec()).0
    }

    pub(super) fn signed(&self, body: &[u8]) -> (Vec<u8>, ReplySecret) {
        self.signed_by(self.device, body)
    }

    pub(super) fn signed_by(&self, by: &Device, body: &[u8]) -> (Vec<u8>, ReplySecret) {
        self.seal(|clear| content(None, self.sign(by, clear, body), body))
    }

    pub(super) fn with_card(&self, card: &Card, body: &[u8]) -> Vec<u8> {
        self.seal(|clear| content(Some(card), self.sign(self.device, clear, body), body))
            .0
    }

    pub(super) fn signed_for(&self, kss: &KssId, body: &[u8]) -> Vec<u8> {
        self.with_signature(body, PURPOSE, |clear| clear.signed(kss, body))
    }

    pub(super) fn signed_in_another_envelope(&self, body: &[u8]) -> Vec<u8> {
        let kss = self.server.verified.kss_id();
        self.with_signature(body, PURPOSE, |clear| {
            let encapsulated = &[9; 32];
            let clear = Clear {
                encapsulated,
                ..*clear
            };
            clear.signed(&kss, body)
        })
    }

    pub(super) fn signed_as_another_suite(&self, body: &[u8]) -> Vec<u8> {
        let kss = self.server.verified.kss_id();
        self.with_signature(body, PURPOSE, |clear| {
            let suite = Suite::XWing;
            Clear { suite, ..*clear }.signed(&kss, body)
        })
    }

    pub(super) fn signed_as_another_purpose(&self, body: &[u8]) -> Vec<u8> {
        let kss = self.server.verified.kss_id();
        self.with_signature(body, "approval", |clear| clear.signed(&kss, body))
    }

    fn with_signature(
        &self,
        body: &[u8],
        purpose: &'static str,
        signed: impl FnOnce(&Clear<'_>) -> Vec<u8>,
    ) -> Vec<u8> {
        self.seal(|clear| {
            let signature = self.device.keys.signing.sign(purpose, &signed(clear));
            content(None, signature, body)
        })
        .0
    }

    /// The length of the body in one byte more than it takes.
    pub(super) fn in_another_spelling(&self, body: &[u8]) -> Vec<u8> {
        self.seal(|clear| {
            let canonical = content(None, self.sign(self.device, clear, body), body);
            let (head, _) = canonical.split_at(canonical.len() - body.len() - 2);
            assert_eq!(canonical[head.len()], 0x58, "a length of one byte");
            [head, &[0x59, 0, canonical[head.len() + 1]], body].concat()
        })
        .0
    }
}

fn content(card: Option<&Card>, signature: Signature, body: &[u8]) -> Vec<u8> {
    canonical::encode(&(card, signature, <&ByteSlice>::from(body)))
}
