use minicbor::bytes::ByteSlice;
use ostrakon_shards::{
    card::Card,
    channel::{MessageError, Sender, SetupError},
    device::DeviceKeys,
    identity::VerifiedKeyserver,
    suite::Suite,
};
use ostrakon_types::{RequestId, UnixMillis, canonical::DecodeError};
use zeroize::Zeroizing;

use super::{
    MAX_ENVELOPE_LEN,
    reply::ReplySecret,
    session::{ClientSession, Offer, SessionReply},
    wire::{self, Clear, PURPOSE, Version},
};
use crate::message::{Answer, RequestBody, ResponseBody, secret};

/// Whether the server has the device's card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It has not: the card goes along. Creating a profile, joining one, and relaying begin so.
    First,
    /// It has.
    Known,
    /// It has, and more requests will follow: a session is asked for.
    Lasting,
}

/// What opens the answer to one request. Wiped on drop.
pub struct PendingResponse {
    opener: Opener,
    request_id: RequestId,
    items: usize,
}

enum Opener {
    Single(ReplySecret),
    Opening(ReplySecret, Offer, UnixMillis),
    InSession(SessionReply),
}

/// A server's answer, opened.
pub struct Received {
    /// The answer.
    pub response: ResponseBody,
    /// The session, if it was asked for and granted.
    pub session: Option<ClientSession>,
}

/// Why a request could not be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealRequestError {
    /// The keys are not those that the card shows.
    #[error("device's keys and card do not belong together")]
    OtherCard,
    /// The server's key is not valid, or there is no randomness.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Sealing failed.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The envelope would be longer than [`MAX_ENVELOPE_LEN`].
    #[error("request is longer than {MAX_ENVELOPE_LEN} bytes")]
    TooLarge,
}

/// Why bytes are not the answer to a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenResponseError {
    /// They do not open: altered, or the answer to another request, or from somebody else.
    #[error("answer does not open: it is not the server's answer to this request")]
    Sealed,
    /// They open, but are not a response of this version.
    #[error("malformed answer")]
    Malformed(#[source] DecodeError),
    /// The server answers another request, or not each item.
    #[error("answer does not fit the request")]
    Misfit,
}

/// Seals `body` to `server`, signed by the device that has `keys` and `card`.
///
/// The bytes may be sent again, to the same server or another with its identity, as long as they are
/// valid. After that, the same request is sealed anew as [reissued](RequestBody::reissued).
///
/// # Errors
/// When keys and card differ, the server's key is not valid, there is no randomness, or the request is
/// too long.
pub fn seal_request(
    keys: &DeviceKeys,
    card: &Card,
    contact: Contact,
    server: &VerifiedKeyserver,
    suite: Suite,
    body: &RequestBody,
) -> Result<(Vec<u8>, PendingResponse), SealRequestError> {
    if keys.signing.verify_key() != card.verify {
        return Err(SealRequestError::OtherCard);
    }
    let kss = server.kss_id();
    let device = card.id();
    let version = match contact {
        Contact::First | Contact::Known => Version::Single,
        Contact::Lasting => Version::Opening,
    };
    let info = wire::info(version, suite, &kss, &device);
    let mut sender = Sender::setup(suite, server.envelope_key(), &info)?;
    let export = |label: &[u8], secret: &mut [u8]| sender.export(label, secret);
    let secret = ReplySecret::new(suite, sender.encapsulated(), export)?;
    let offer = match version {
        Version::Opening => Some(Offer::new(suite, export)?),
        _ => None,
    };
    let clear = Clear {
        version,
        suite,
        device,
        encapsulated: secret.encapsulated(),
    };
    let bytes = body.to_bytes();
    let signature = keys.signing.sign(PURPOSE, &clear.signed(&kss, &bytes));
    let shown = match contact {
        Contact::First => Some(card),
        Contact::Known | Contact::Lasting => None,
    };
    let inner = secret::encode(&(shown, signature, <&ByteSlice>::from(&*bytes)));
    let envelope = clear.with(&sender.seal(&[], &inner)?);
    if envelope.len() > MAX_ENVELOPE_LEN {
        return Err(SealRequestError::TooLarge);
    }
    let opener = match offer {
        Some(offer) => Opener::Opening(secret, offer, body.issued_at()),
        None => Opener::Single(secret),
    };
    Ok((envelope, PendingResponse::new(body, opener)))
}

impl PendingResponse {
    fn new(body: &RequestBody, opener: Opener) -> Self {
        Self {
            opener,
            request_id: body.request_id(),
            items: body.items().len(),
        }
    }

    pub(super) fn in_session(body: &RequestBody, reply: SessionReply) -> Self {
        Self::new(body, Opener::InSession(reply))
    }

    /// Opens the server's answer, and does without the session that may come with it.
    ///
    /// # Errors
    /// When the bytes are not the answer to this request, of the server that it was sealed to.
    pub fn open(&self, bytes: &[u8]) -> Result<ResponseBody, OpenResponseError> {
        self.receive(bytes).map(|received| received.response)
    }

    /// Opens the server's answer.
    ///
    /// # Errors
    /// When the bytes are not the answer to this request, of the server that it was sealed to.
    pub fn receive(&self, bytes: &[u8]) -> Result<Received, OpenResponseError> {
        let (plaintext, session) = self.opener.open(bytes).ok_or(OpenResponseError::Sealed)?;
        let response = self.read(&plaintext)?;
        Ok(Received { response, session })
    }

    fn read(&self, plaintext: &[u8]) -> Result<ResponseBody, OpenResponseError> {
        let response = ResponseBody::from_bytes(plaintext).map_err(OpenResponseError::Malformed)?;
        let fits = match (&response.request_id, &response.answer) {
            (Some(id), Answer::Items(items)) => *id == self.request_id && items.len() == self.items,
            (Some(id), Answer::Refused(_)) => *id == self.request_id,
            (None, Answer::Refused(_)) => true,
            (None, Answer::Items(_)) => false,
        };
        if fits {
            Ok(response)
        } else {
            Err(OpenResponseError::Misfit)
        }
    }
}

impl Opener {
    fn open(&self, bytes: &[u8]) -> Option<(Zeroizing<Vec<u8>>, Option<ClientSession>)> {
        let single = |secret: &ReplySecret| secret.open(Version::Single, bytes);
        match self {
            Self::Single(secret) => single(secret).map(|(plaintext, _)| (plaintext, None)),
            Self::InSession(reply) => reply.open(bytes).map(|plaintext| (plaintext, None)),
            Self::Opening(secret, offer, began) => match secret.open(Version::Opening, bytes) {
                Some((plaintext, nonce)) => {
                    let session = ClientSession::granted(offer, nonce, *began);
                    Some((plaintext, Some(session)))
                }
                None => single(secret).map(|(plaintext, _)| (plaintext, None)),
            },
        }
    }
}
