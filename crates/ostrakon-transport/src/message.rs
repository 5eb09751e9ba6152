//! What a device asks for, and what a server answers: canonical CBOR, bounded in every length.
//!
//! A [`RequestBody`] holds up to [`MAX_ITEMS`] items, each judged, charged and answered alone. Whatever
//! is decoded here has met all its bounds; [`RequestBody`] also promises that all its items belong to
//! the profile that the request names, so that nobody is judged as one profile and served as another.
//!
//! Bodies hold user data (paths, names): they are not logged, and `Debug` does not show them. A
//! [`ResponseBody`] may hold released shards, which are secret; it has no `Debug` at all, and its
//! encodings are wiped.

mod item;
mod request;
mod response;
pub(crate) mod secret;

pub use item::{Item, ReleaseKind};
pub use request::{RequestBody, RequestBodyError};
pub use response::{
    Answer, CeremonyOutcome, Failure, ItemAnswer, LocationEntry, PendingNotice, RefusalCode,
    ResponseBody,
};

/// The greatest number of items in one request.
pub const MAX_ITEMS: usize = 256;
/// The greatest length in bytes of a path in a request.
pub const MAX_PATH_LEN: usize = 4096;
/// The greatest number of locations in one answer, and so of one profile.
pub const MAX_LOCATIONS: usize = 4096;
/// The greatest number of versions of a profile in one answer. With the most devices that a profile can
/// have, they still fit into one.
pub const MAX_CHAIN: usize = 16;
/// The greatest number of notices of one ceremony: one for each device of a profile.
pub const MAX_NOTICES: usize = 64;
/// The greatest length in bytes of a sealed notice.
pub const MAX_NOTICE_LEN: usize = 256 << 10;
/// The greatest length in bytes of a sealed answer to a ceremony.
pub const MAX_ANSWER_LEN: usize = 16 << 10;
/// The greatest number of ceremonies that one device may have open at once.
pub const MAX_PENDING_CEREMONIES: usize = 3;

#[cfg(test)]
mod tests;
