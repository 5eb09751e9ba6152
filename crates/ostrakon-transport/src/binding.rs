//! How envelopes travel over HTTP.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/requests`, `application/ostrakon-envelope`: a sealed request | 200, the same type: the sealed answer. 400, empty: no request of a known device |
//! | `GET /v1/keyserver` | 200, `application/json`: the server's id and public card |
//!
//! Whatever a known device may learn is inside the sealed answer, so its HTTP status is always 200.
//! Whatever a stranger sent, it gets the one answer of [`stranger`]. Apart from these there is only what
//! any HTTP server says before it looks at a request: 408, 411, 413, 415 and 503.

mod client;
mod server;

pub use client::{
    ExchangeError, FetchKeyserverError, exchange, exchange_on, fetch_keyserver, single_connection,
};
pub use server::{EnvelopeBytes, sealed, stranger};

use ostrakon_shards::identity::PublicCard;
use ostrakon_types::KssId;
use serde::{Deserialize, Serialize};

/// Where sealed requests are posted.
pub const REQUESTS_PATH: &str = "/v1/requests";

/// Where the server's public card is.
pub const KEYSERVER_PATH: &str = "/v1/keyserver";

/// The type of sealed requests and answers.
pub const ENVELOPE_TYPE: &str = "application/ostrakon-envelope";

/// The answer to `GET /v1/keyserver`.
///
/// The id is for people to look at: a client knows whom it asks, and verifies the card against that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The server's id.
    pub kss_id: KssId,
    /// The card, in base64.
    pub card: PublicCard,
}

impl From<PublicCard> for Announcement {
    fn from(card: PublicCard) -> Self {
        Self {
            kss_id: card.claimed_id(),
            card,
        }
    }
}

#[cfg(test)]
mod tests;
