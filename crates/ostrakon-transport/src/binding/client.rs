use bytes::Bytes;
use hyper::{
    Request, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use ostrakon_shards::identity::{VerifiedKeyserver, VerifyPublicCardError};
use ostrakon_types::KssId;

use super::{Announcement, ENVELOPE_TYPE, KEYSERVER_PATH, REQUESTS_PATH};
use crate::{
    envelope::{OpenResponseError, PendingResponse, Received},
    http::{BaseUrl, HttpClient, RequestError, SingleConnection},
};

/// Why a sealed request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// No server answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server does not know the device, or cannot read what it was sent. It never says which.
    #[error("server does not know this device, or is not the one that was asked")]
    Stranger,
    /// The server answered with a status that no key shard server has for this.
    #[error("unexpected answer with status {0}")]
    Status(StatusCode),
    /// What came back is not the answer.
    #[error(transparent)]
    Response(#[from] OpenResponseError),
}

/// Why a server's card could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchKeyserverError {
    /// No server answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What answers is no key shard server, or one that has no card yet.
    #[error("unexpected answer with status {0}")]
    Status(StatusCode),
    /// The answer holds no card.
    #[error("answer holds no public card")]
    Malformed(#[source] serde_json::Error),
    /// The card is not that of the server that was asked for.
    #[error("server is not `{expected}`")]
    Card {
        /// The server that was asked for.
        expected: KssId,
        /// What is wrong with the card.
        #[source]
        source: VerifyPublicCardError,
    },
}

/// Sends a sealed request, as often as it takes, and opens the answer.
///
/// A message of a session is taken once: sent again, it is a stranger's.
///
/// # Errors
/// When no server answers, or none that knows the device.
pub async fn exchange(
    client: &HttpClient,
    envelope: Vec<u8>,
    pending: &PendingResponse,
) -> Result<Received, ExchangeError> {
    let mut request = Request::new(Bytes::from(envelope));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = hyper::Uri::from_static(REQUESTS_PATH);
    let envelope_type = HeaderValue::from_static(ENVELOPE_TYPE);
    request.headers_mut().insert(CONTENT_TYPE, envelope_type);
    let response = client.send(&request).await?;
    received(response.status(), response.body(), pending)
}

/// A connection of its own for [`exchange_on`], if the server is reached by plain HTTP.
#[must_use]
pub fn single_connection(url: &BaseUrl) -> Option<SingleConnection> {
    SingleConnection::new(url, REQUESTS_PATH, ENVELOPE_TYPE)
}

/// Sends a sealed request once, on one connection, and opens the answer.
///
/// # Errors
/// When there is no answer, or not that of a server that knows the device.
pub async fn exchange_on(
    connection: &mut SingleConnection,
    envelope: &[u8],
    pending: &PendingResponse,
) -> Result<Received, ExchangeError> {
    let (status, body) = connection.post(envelope).await?;
    received(status, &body, pending)
}

fn received(
    status: StatusCode,
    body: &[u8],
    pending: &PendingResponse,
) -> Result<Received, ExchangeError> {
    match status {
        StatusCode::OK => Ok(pending.receive(body)?),
        StatusCode::BAD_REQUEST => Err(ExchangeError::Stranger),
        status => Err(ExchangeError::Status(status)),
    }
}

/// Fetches the card of the server with the id `expected`.
///
/// # Errors
/// When no server answers, or the one that does is not the server with that id.
pub async fn fetch_keyserver(
    client: &HttpClient,
    expected: &KssId,
) -> Result<VerifiedKeyserver, FetchKeyserverError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = hyper::Uri::from_static(KEYSERVER_PATH);
    let response = client.send(&request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchKeyserverError::Status(response.status()));
    }
    let announcement: Announcement =
        serde_json::from_slice(response.body()).map_err(FetchKeyserverError::Malformed)?;
    let verified = announcement.card.verify(expected);
    verified.map_err(|source| FetchKeyserverError::Card {
        expected: *expected,
        source,
    })
}
