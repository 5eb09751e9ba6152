use std::sync::Arc;

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use minicbor::bytes::ByteSlice;
use ostrakon_shards::{stack, suite::Suite};
use ostrakon_types::canonical;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    super::{
        SealResponseError,
        reply::LEN,
        wire::{DOMAIN, TAG_LEN, Version, export_label},
    },
    SessionId,
};

/// Version, suite, id and number.
const HEAD_LEN: usize = 2 + 16 + 4;

/// What comes before the ciphertext of a request.
pub(super) const CLEAR_LEN: usize = HEAD_LEN + LEN;

/// What a request that asks for a session exports for it. No session yet. Wiped on drop.
pub(in super::super) struct Offer {
    id: SessionId,
    suite: Suite,
    secret: Box<Zeroizing<[u8; LEN]>>,
}

/// A session's secret. Wiped on drop.
pub(super) struct SessionKeys {
    pub(super) id: SessionId,
    pub(super) suite: Suite,
    /// With the key schedule of HMAC done once.
    secret: Box<Hkdf<Sha256>>,
}

/// Which way a message goes.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Request,
    Response,
}

/// The part in clear of a request in a session.
#[derive(Clone, Copy)]
pub(super) struct Clear<'a> {
    pub(super) suite: Suite,
    pub(super) id: SessionId,
    pub(super) number: u32,
    pub(super) random: &'a [u8; LEN],
}

/// Seals the answer to one request in a session.
pub(in super::super) struct SessionReply {
    pub(super) keys: Arc<SessionKeys>,
    pub(super) number: u32,
}

impl Offer {
    /// Has `export` fill in what the request's HPKE context exports.
    pub(in super::super) fn new<E>(
        suite: Suite,
        export: impl Fn(&[u8], &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let label = |name| export_label(Version::Opening, suite, name);
        let (mut id, mut secret) = ([0; 16], Box::new(Zeroizing::new([0; LEN])));
        export(&label("session id"), &mut id)?;
        export(&label("session"), &mut **secret)?;
        let id = SessionId(id);
        Ok(Self { id, suite, secret })
    }

    pub(in super::super) fn id(&self) -> SessionId {
        self.id
    }

    /// The session, once the nonce of the answer that grants it is known.
    pub(super) fn granted(&self, nonce: &[u8; LEN]) -> SessionKeys {
        let secret = Box::new(Hkdf::<Sha256>::new(Some(nonce), &**self.secret));
        stack::wipe();
        SessionKeys {
            id: self.id,
            suite: self.suite,
            secret,
        }
    }
}

impl SessionKeys {
    /// Adds the ciphertext of `plaintext` to `bytes`, which must be what comes before it on the wire.
    pub(super) fn seal(
        &self,
        direction: Direction,
        number: u32,
        random: &[u8; LEN],
        plaintext: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Option<()> {
        let (cipher, nonce) = self.cipher(direction, number, random);
        let aad = self.aad(number);
        let payload = Payload {
            msg: plaintext,
            aad: &aad,
        };
        bytes.extend_from_slice(&cipher.encrypt(&nonce.into(), payload).ok()?);
        Some(())
    }

    pub(super) fn open(
        &self,
        direction: Direction,
        number: u32,
        random: &[u8; LEN],
        ciphertext: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (cipher, nonce) = self.cipher(direction, number, random);
        let aad = self.aad(number);
        let payload = Payload {
            msg: ciphertext,
            aad: &aad,
        };
        let plaintext = cipher.decrypt(&nonce.into(), payload).ok()?;
        Some(Zeroizing::new(plaintext))
    }

    /// What a message is bound to; its random bytes and direction are in the key.
    fn aad(&self, number: u32) -> [u8; HEAD_LEN] {
        Clear::head(self.suite, self.id, number)
    }

    #[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
    fn cipher(
        &self,
        direction: Direction,
        number: u32,
        random: &[u8; LEN],
    ) -> (Aes256Gcm, [u8; 12]) {
        let name = match direction {
            Direction::Request => "session request",
            Direction::Response => "session response",
        };
        let version = Version::InSession.as_byte();
        let random = <&ByteSlice>::from(&random[..]);
        let info = canonical::encode(&(DOMAIN, version, self.suite, name, number, random));
        let mut okm = Zeroizing::new([0; 32 + 12]);
        self.secret.expand(&info, &mut *okm).expect("44 bytes");
        let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _] = &*okm;
        let [.., n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11] = *okm;
        let nonce = [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11];
        (Aes256Gcm::new(key.into()), nonce)
    }
}

impl SessionReply {
    pub(in super::super) fn seal(
        &self,
        plaintext: &[u8],
        random: &[u8; LEN],
    ) -> Result<Vec<u8>, SealResponseError> {
        let mut bytes = Vec::with_capacity(2 + LEN + plaintext.len() + TAG_LEN);
        bytes.extend([Version::InSession.as_byte(), self.keys.suite.as_byte()]);
        bytes.extend(random);
        self.keys
            .seal(
                Direction::Response,
                self.number,
                random,
                plaintext,
                &mut bytes,
            )
            .ok_or(SealResponseError::TooLong)?;
        Ok(bytes)
    }

    /// Opens what [`seal`](Self::seal) made on the other side.
    pub(in super::super) fn open(&self, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let head = [Version::InSession.as_byte(), self.keys.suite.as_byte()];
        let (random, ciphertext) = bytes.strip_prefix(&head)?.split_first_chunk()?;
        self.keys
            .open(Direction::Response, self.number, random, ciphertext)
    }
}

impl<'a> Clear<'a> {
    /// Takes a message apart; every one that this takes has one spelling.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[version, suite], rest) = bytes.split_first_chunk()?;
        if version != Version::InSession.as_byte() {
            return None;
        }
        let suite = Suite::try_from(suite).ok()?;
        let (&id, rest) = rest.split_first_chunk()?;
        let (&number, rest) = rest.split_first_chunk()?;
        let (random, ciphertext) = rest.split_first_chunk()?;
        let clear = Self {
            suite,
            id: SessionId(id),
            number: u32::from_be_bytes(number),
            random,
        };
        (ciphertext.len() >= TAG_LEN).then_some((clear, ciphertext))
    }

    fn head(suite: Suite, id: SessionId, number: u32) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        let parts = [
            &[Version::InSession.as_byte(), suite.as_byte()][..],
            &id.0,
            &number.to_be_bytes(),
        ];
        for (to, from) in head.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        head
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(Self::head(self.suite, self.id, self.number));
        bytes.extend(self.random);
    }
}
