use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use hkdf::Hkdf;
use ostrakon_shards::{
    random::{self, RandomError},
    stack,
    suite::Suite,
};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    session::SessionReply,
    wire::{Version, export_label},
};
use crate::message::ResponseBody;

/// max(Nn, Nk) of AES-256-GCM, as RFC 9458 has it for both the secret and the nonce.
pub(super) const LEN: usize = 32;

/// Seals the answer to one request. Wiped on drop.
pub struct ReplyKey(Kind);

enum Kind {
    Single(ReplySecret),
    InSession(SessionReply),
}

/// Why an answer could not be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealResponseError {
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Longer than AES-GCM takes (64 GiB).
    #[error("answer is too long")]
    TooLong,
}

impl ReplyKey {
    pub(super) fn single(secret: ReplySecret) -> Self {
        Self(Kind::Single(secret))
    }

    pub(super) fn in_session(reply: SessionReply) -> Self {
        Self(Kind::InSession(reply))
    }

    /// Seals `response` to whoever sealed the request. Each sealing has a nonce of its own, so a request
    /// may be answered more than once.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn seal(&self, response: &ResponseBody) -> Result<Vec<u8>, SealResponseError> {
        self.seal_impl(Version::Single, response, &random::array()?)
    }

    /// Seals an answer that, being of version `opening`, opens the session that was asked for.
    pub(super) fn seal_impl(
        &self,
        version: Version,
        response: &ResponseBody,
        nonce: &[u8; LEN],
    ) -> Result<Vec<u8>, SealResponseError> {
        let sealed = match &self.0 {
            Kind::Single(secret) => secret.seal(version, &response.to_bytes(), nonce),
            Kind::InSession(reply) => reply.seal(&response.to_bytes(), nonce),
        };
        stack::wipe();
        sealed
    }
}

/// What both sides of a request know and nobody else. Wiped on drop.
pub(super) struct ReplySecret {
    suite: Suite,
    encapsulated: Box<[u8]>,
    secret: Box<Zeroizing<[u8; LEN]>>,
}

impl ReplySecret {
    /// Has `export` fill in what the request's HPKE context exports.
    pub(super) fn new<E>(
        suite: Suite,
        encapsulated: &[u8],
        export: impl FnOnce(&[u8], &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = Box::new(Zeroizing::new([0; LEN]));
        // The label is the same for both versions of a request: their contexts differ already.
        let label = export_label(Version::Single, suite, "response");
        export(&label, &mut **secret)?;
        Ok(Self {
            suite,
            encapsulated: encapsulated.into(),
            secret,
        })
    }

    pub(super) fn suite(&self) -> Suite {
        self.suite
    }

    pub(super) fn encapsulated(&self) -> &[u8] {
        &self.encapsulated
    }

    fn seal(
        &self,
        version: Version,
        plaintext: &[u8],
        nonce: &[u8; LEN],
    ) -> Result<Vec<u8>, SealResponseError> {
        let aad = self.aad(version);
        let (cipher, aead_nonce) = self.cipher(nonce);
        let payload = Payload {
            msg: plaintext,
            aad: &aad,
        };
        let ciphertext = cipher
            .encrypt(&aead_nonce.into(), payload)
            .map_err(|_| SealResponseError::TooLong)?;
        Ok([&aad, &nonce[..], &ciphertext].concat())
    }

    /// Opens what the other side sealed in this version, if it did. Also gives the nonce.
    pub(super) fn open<'a>(
        &self,
        version: Version,
        bytes: &'a [u8],
    ) -> Option<(Zeroizing<Vec<u8>>, &'a [u8; LEN])> {
        let aad = self.aad(version);
        let rest = bytes.strip_prefix(&aad)?;
        let (nonce, msg) = rest.split_first_chunk()?;
        let (cipher, aead_nonce) = self.cipher(nonce);
        let payload = Payload { msg, aad: &aad };
        let plaintext = cipher.decrypt(&aead_nonce.into(), payload).ok()?;
        Some((Zeroizing::new(plaintext), nonce))
    }

    fn aad(&self, version: Version) -> [u8; 2] {
        [version.as_byte(), self.suite.as_byte()]
    }

    /// RFC 9458, section 4.4.
    #[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
    fn cipher(&self, nonce: &[u8; LEN]) -> (Aes256Gcm, [u8; 12]) {
        let salt = [&*self.encapsulated, nonce].concat();
        let prk = Hkdf::<Sha256>::new(Some(&salt), &**self.secret);
        let mut key = Zeroizing::new([0; 32]);
        let mut aead_nonce = [0; 12];
        prk.expand(b"key", &mut *key).expect("32 bytes");
        prk.expand(b"nonce", &mut aead_nonce).expect("12 bytes");
        (Aes256Gcm::new((&*key).into()), aead_nonce)
    }
}
