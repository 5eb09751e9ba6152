use std::error::Error;

use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};
use ostrakon_shards::generation::SignedGeneration;
use ostrakon_types::{
    Digest, ProfileId, RequestId, UnixMillis,
    canonical::{self, DecodeError},
};
use sha2::{Digest as _, Sha256};

use super::{Item, MAX_ITEMS, RefusalCode};

const VERSION: u8 = 1;

/// What a device asks for, at one time, for one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestBody {
    request_id: RequestId,
    issued_at: UnixMillis,
    profile: ProfileId,
    items: Vec<Item>,
    seen: Option<SignedGeneration>,
}

/// Why items do not make a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// There is none.
    #[error("request asks for nothing")]
    Empty,
    /// There are more than [`MAX_ITEMS`].
    #[error("request has more than {MAX_ITEMS} items")]
    TooManyItems,
    /// One of them belongs to another profile than the request.
    #[error("request and item belong to different profiles")]
    OtherProfile,
    /// A list is asked for more than once, which would make an answer of any size.
    #[error("request asks for the same list more than once")]
    Repeated,
    /// What makes or changes a profile stands beside other items.
    #[error("what makes or changes a profile must be asked alone")]
    NotAlone,
    /// A path is longer than [`MAX_PATH_LEN`](super::MAX_PATH_LEN).
    #[error("path is too long")]
    PathTooLong,
    /// A ceremony has more notices than a profile has devices, or longer ones than are kept.
    #[error("ceremony is too large")]
    CeremonyTooLarge,
}

impl RequestBody {
    /// A request for `items`, issued at the time `issued_at`.
    ///
    /// Whoever asks again takes the same `request_id` and items, and the time as it then is.
    ///
    /// # Errors
    /// When there are no items or too many, or one of them belongs to another profile or has too long a
    /// path.
    pub fn new(
        request_id: RequestId,
        issued_at: UnixMillis,
        profile: ProfileId,
        items: Vec<Item>,
    ) -> Result<Self, RequestBodyError> {
        check_count(items.len() as u64)?;
        items.iter().try_for_each(|item| item.check(&profile))?;
        // What it comes to hangs on what is in force, so on a retry the decisions of the first try would not
        // belong to the same items; and a stranger may ask for one profile, not for hundreds.
        if items.len() > 1 && items.iter().any(Item::stands_alone) {
            return Err(RequestBodyError::NotAlone);
        }
        let mut lists: Vec<_> = items.iter().filter(|item| item.asks_for_a_list()).collect();
        while let Some(list) = lists.pop() {
            let same =
                |other: &&Item| std::mem::discriminant(*other) == std::mem::discriminant(list);
            if lists.iter().any(same) {
                return Err(RequestBodyError::Repeated);
            }
        }
        Ok(Self {
            request_id,
            issued_at,
            profile,
            items,
            seen: None,
        })
    }

    /// The same request, which shows the server the newest of its generations that was seen.
    #[must_use]
    pub fn showing(self, seen: Option<SignedGeneration>) -> Self {
        Self { seen, ..self }
    }

    /// The newest generation of the server that the requester has seen.
    #[must_use]
    pub fn seen(&self) -> Option<&SignedGeneration> {
        self.seen.as_ref()
    }

    /// The same request, issued at another time: what to send after the first one's validity.
    #[must_use]
    pub fn reissued(self, issued_at: UnixMillis) -> Self {
        Self { issued_at, ..self }
    }

    /// The id, which stays the same over all tries.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// When this try was made.
    #[must_use]
    pub fn issued_at(&self) -> UnixMillis {
        self.issued_at
    }

    /// The profile that it is made for, and that all items belong to.
    #[must_use]
    pub fn profile(&self) -> ProfileId {
        self.profile
    }

    /// What is asked for: 1 to [`MAX_ITEMS`] items.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What is asked for.
    #[must_use]
    pub fn into_items(self) -> Vec<Item> {
        self.items
    }

    /// SHA-256 of all but the time of issue and what was seen: what a ledger remembers, to tell a retry,
    /// in which these may be others, from a second request under the same id.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let asked = (
            "ostrakon",
            VERSION,
            "request",
            self.request_id,
            self.profile,
            &self.items,
        );
        Digest::from_bytes(Sha256::digest(canonical::encode(&asked)).into())
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, RefusalCode> {
        canonical::decode(bytes).map_err(|error| match broken_bound(&error) {
            Some(RequestBodyError::TooManyItems) => RefusalCode::TooManyItems,
            Some(RequestBodyError::OtherProfile) => RefusalCode::OtherProfile,
            _ => RefusalCode::Malformed,
        })
    }
}

fn check_count(items: u64) -> Result<(), RequestBodyError> {
    match items {
        0 => Err(RequestBodyError::Empty),
        n if n > MAX_ITEMS as u64 => Err(RequestBodyError::TooManyItems),
        _ => Ok(()),
    }
}

/// Which bound the decoded value broke, if that was the reason.
fn broken_bound(error: &DecodeError) -> Option<RequestBodyError> {
    error.source()?.source()?.downcast_ref().copied()
}

impl<C> Encode<C> for RequestBody {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let Self {
            request_id,
            issued_at,
            profile,
            items,
            seen,
        } = self;
        match seen {
            None => (VERSION, request_id, issued_at, profile, items).encode(e, ctx),
            Some(seen) => (VERSION, request_id, issued_at, profile, items, seen).encode(e, ctx),
        }
    }
}

impl<'b, C> Decode<'b, C> for RequestBody {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        let shows = d.probe().array()? == Some(6);
        let ((version, request_id, issued_at, profile, Items(items)), seen): (Plain, _) = if shows {
            let (version, id, issued_at, profile, items, seen): Showing = Decode::decode(d, ctx)?;
            ((version, id, issued_at, profile, items), Some(seen))
        } else {
            (Decode::decode(d, ctx)?, None)
        };
        if version != VERSION {
            return Err(minicbor::decode::Error::message("unknown version").at(at));
        }
        Self::new(request_id, issued_at, profile, items)
            .map(|body| body.showing(seen))
            .map_err(|error| minicbor::decode::Error::custom(error).at(at))
    }
}

type Plain = (u8, RequestId, UnixMillis, ProfileId, Items);
type Showing = (
    u8,
    RequestId,
    UnixMillis,
    ProfileId,
    Items,
    SignedGeneration,
);

/// Items, counted before the first is decoded.
struct Items(Vec<Item>);

impl<'b, C> Decode<'b, C> for Items {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        let count = d
            .probe()
            .array()?
            .ok_or_else(|| minicbor::decode::Error::message("items of indefinite number").at(at))?;
        check_count(count).map_err(|error| minicbor::decode::Error::custom(error).at(at))?;
        Decode::decode(d, ctx).map(Self)
    }
}
