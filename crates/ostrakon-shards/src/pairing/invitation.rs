use std::{net::SocketAddr, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use minicbor::bytes::ByteArray;
use ostrakon_types::{Digest, canonical};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Pairing, Role};
use crate::{
    card::Card,
    chain_key::ChainKey,
    device::DeviceKeys,
    hash::{DOMAIN, sha256},
    random::{self, RandomError},
    seal::{SealError, Sealed, open, seal},
    secret::assert_secret,
    suite::Suite,
};

const VERSION: u8 = 1;
const SCHEME: &str = "ostrakon:join?";
const HELLO: &str = "pairing hello";

/// What a QR code or link says to a guest. It holds a secret, wiped on drop: whoever has it can come as
/// the guest, once.
pub struct Invitation {
    address: SocketAddr,
    host: Digest,
    secret: Box<Zeroizing<[u8; 32]>>,
}

assert_secret!(Invitation);

/// Text that is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an invitation: expected `{SCHEME}…`, whole")]
pub struct ParseInvitationError;

/// What came is not from whoever has the invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("guest does not have this invitation")]
pub struct HelloError;

impl Invitation {
    /// A fresh invitation to the host with this card, which waits at this address.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn new(address: SocketAddr, host: &Card) -> Result<Self, RandomError> {
        let mut secret = Box::new(Zeroizing::new([0; 32]));
        random::fill(&mut **secret)?;
        Ok(Self {
            address,
            host: host.digest(),
            secret,
        })
    }

    /// Where the host waits.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is to the host with this card.
    #[must_use]
    pub fn is_from(&self, host: &Card) -> bool {
        host.digest() == self.host
    }

    /// The text to draw or send.
    #[must_use]
    pub fn to_uri(&self) -> Zeroizing<String> {
        let host = URL_SAFE_NO_PAD.encode(self.host.as_bytes());
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(**self.secret));
        Zeroizing::new(format!("{SCHEME}a={}&c={host}&s={}", self.address, *secret))
    }

    /// What a guest with this card sends first, sealed to the host's.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn hello(&self, host: &Card, guest: &Card) -> Result<Sealed, SealError> {
        let code = self.key().mac(&[b"guest", &guest.to_bytes()]);
        let plaintext = canonical::encode(&(VERSION, guest, ByteArray::from(code)));
        let context = self.host.as_bytes();
        seal(Suite::XWing, HELLO, &host.kem, context, &plaintext)
    }

    /// Opens what a guest sent first, at the host with these keys, and gives the guest's card.
    ///
    /// # Errors
    /// When the guest does not have this invitation.
    pub fn receive(&self, keys: &DeviceKeys, hello: &Sealed) -> Result<Card, HelloError> {
        let opened = open(HELLO, &keys.kem, self.host.as_bytes(), hello).map_err(|_| HelloError)?;
        let (version, guest, code): (u8, Card, ByteArray<32>) =
            canonical::decode(&opened).map_err(|_| HelloError)?;
        let fits = self.key().verify(&[b"guest", &guest.to_bytes()], &code);
        if version == VERSION && fits.is_ok() {
            Ok(guest)
        } else {
            Err(HelloError)
        }
    }

    /// The pairing of the host and this guest. Its session depends on the secret.
    #[must_use]
    pub fn pair(&self, role: Role, host: Card, guest: Card) -> Pairing {
        let bound = self.key().mac(&[b"session", &guest.to_bytes()]);
        let session = (
            DOMAIN,
            VERSION,
            "pairing by invitation",
            ByteArray::from(bound),
        );
        let session = sha256(&canonical::encode(&session));
        let (own, other) = match role {
            Role::Host => (host, guest),
            Role::Guest => (guest, host),
        };
        Pairing::new(session, role, own, other)
    }

    #[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
    fn key(&self) -> ChainKey {
        let info = canonical::encode(&(DOMAIN, VERSION, "pairing secret", self.host));
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &**self.secret)
            .expand(&info, &mut *key)
            .expect("32 bytes");
        ChainKey::from_bytes(&key)
    }
}

impl FromStr for Invitation {
    type Err = ParseInvitationError;

    fn from_str(text: &str) -> Result<Self, ParseInvitationError> {
        let fields = text
            .trim()
            .strip_prefix(SCHEME)
            .ok_or(ParseInvitationError)?;
        let mut fields = fields.split('&');
        let mut field = |name: &str| {
            let field = fields.next().and_then(|field| field.strip_prefix(name));
            field.ok_or(ParseInvitationError)
        };
        let address = field("a=")?.parse().map_err(|_| ParseInvitationError)?;
        let host = bytes(field("c=")?)?;
        let secret = bytes(field("s=")?)?;
        if fields.next().is_some() {
            return Err(ParseInvitationError);
        }
        let mut kept = Box::new(Zeroizing::new([0; 32]));
        kept.copy_from_slice(&*secret);
        Ok(Self {
            address,
            host: Digest::from_bytes(*host),
            secret: kept,
        })
    }
}

fn bytes(text: &str) -> Result<Zeroizing<[u8; 32]>, ParseInvitationError> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    let bytes = Zeroizing::new(bytes.map_err(|_| ParseInvitationError)?);
    let mut kept = Zeroizing::new([0; 32]);
    if bytes.len() != kept.len() {
        return Err(ParseInvitationError);
    }
    kept.copy_from_slice(&bytes);
    Ok(kept)
}
