//! Envelopes as no honest client makes them.
//!
//! This is a second writing of the format that `ostrakon-transport` documents, with every part free.

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use minicbor::bytes::ByteSlice;
use ostrakon_shards::{
    card::Card,
    channel::Sender,
    kem::KemPublic,
    sign::{Signature, SigningKey},
    suite::Suite,
};
use ostrakon_transport::message::{Answer, ResponseBody};
use ostrakon_types::{DeviceId, KssId, canonical};
use sha2::Sha256;

use crate::{HttpAnswer, user::Asked};

/// The parts of an envelope, each as one wants it.
#[derive(Clone, Copy, Debug)]
pub struct Forged<'a> {
    /// The version byte.
    pub version: u8,
    /// The suite.
    pub suite: Suite,
    /// The server to which it says that it is sealed.
    pub kss: KssId,
    /// The key to which it is sealed.
    pub key: &'a KemPublic,
    /// The device from which it says that it is.
    pub device: DeviceId,
    /// The card that goes along.
    pub card: Option<&'a Card>,
    /// The body, of any bytes.
    pub body: &'a [u8],
}

impl Forged<'_> {
    /// Signs with a key and seals.
    #[must_use]
    pub fn sealed(&self, signing: &SigningKey) -> Vec<u8> {
        self.sealed_with(|signed| signing.sign("request", signed))
    }

    /// Seals with whatever signature.
    #[must_use]
    pub fn sealed_with(&self, signature: impl FnOnce(&[u8]) -> Signature) -> Vec<u8> {
        let body = <&ByteSlice>::from(self.body);
        self.sealed_inner(|encapsulated| {
            let encapsulated = <&ByteSlice>::from(encapsulated);
            let signed = (1_u8, self.suite, self.kss, self.device, encapsulated, body);
            let signature = signature(&canonical::encode(&signed));
            canonical::encode(&(self.card, signature, body))
        })
    }

    /// Signs with a key and seals, and keeps what opens the answer.
    #[must_use]
    pub fn sealed_with_reply(&self, signing: &SigningKey) -> (Vec<u8>, Reply) {
        let body = <&ByteSlice>::from(self.body);
        self.seal(|encapsulated| {
            let encapsulated = <&ByteSlice>::from(encapsulated);
            let signed = (1_u8, self.suite, self.kss, self.device, encapsulated, body);
            let signature = signing.sign("request", &canonical::encode(&signed));
            canonical::encode(&(self.card, signature, body))
        })
    }

    /// Seals whatever is inside, which is made from the encapsulated key.
    #[must_use]
    pub fn sealed_inner(&self, inner: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
        self.seal(inner).0
    }

    fn seal(&self, inner: impl FnOnce(&[u8]) -> Vec<u8>) -> (Vec<u8>, Reply) {
        let purpose = "request envelope";
        let info = ("ostrakon", 1_u8, self.suite, purpose, self.kss, self.device);
        let mut sender = Sender::setup(self.suite, self.key, &canonical::encode(&info))
            .expect("a context with the server");
        let encapsulated = sender.encapsulated().to_vec();
        let sealed = sender.seal(&[], &inner(&encapsulated)).expect("sealed");
        let head = [self.version, self.suite.as_byte()];
        let envelope = [&head, &self.device.as_bytes()[..], &encapsulated, &sealed].concat();
        let mut secret = [0; 32];
        let label = canonical::encode(&("ostrakon", 1_u8, self.suite, "response"));
        sender.export(&label, &mut secret).expect("a secret");
        let suite = self.suite;
        let reply = Reply {
            suite,
            encapsulated,
            secret,
        };
        (envelope, reply)
    }
}

/// Opens the answer to a forged request.
pub struct Reply {
    suite: Suite,
    encapsulated: Vec<u8>,
    secret: [u8; 32],
}

impl Reply {
    /// Opens an answer.
    #[must_use]
    pub fn opened(&self, answer: &HttpAnswer) -> Asked {
        if answer.status != 200 {
            return Asked::Http(answer.clone());
        }
        let aad = [1, self.suite.as_byte()];
        let rest = answer.body.strip_prefix(&aad).expect("an answer's head");
        let (nonce, msg) = rest.split_at(32);
        let salt = [&self.encapsulated, nonce].concat();
        let prk = Hkdf::<Sha256>::new(Some(&salt), &self.secret);
        let (mut key, mut iv) = ([0; 32], [0; 12]);
        prk.expand(b"key", &mut key).expect("32 bytes");
        prk.expand(b"nonce", &mut iv).expect("12 bytes");
        let cipher = Aes256Gcm::new((&key).into());
        let payload = Payload { msg, aad: &aad };
        let bytes = cipher.decrypt(&iv.into(), payload).expect("an answer");
        let (version, body): (u8, ResponseBody) = minicbor::decode(&bytes).expect("an answer");
        assert_eq!(version, 1);
        match body.answer {
            Answer::Items(items) => Asked::Items(items),
            Answer::Refused(code) => Asked::Refused(code),
        }
    }
}
