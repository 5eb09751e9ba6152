use axum::{
    extract::{FromRequest, Request},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::ENVELOPE_TYPE;

/// Extracts the bytes of a sealed request; answers 415 where the type is another.
#[derive(Clone, Debug)]
pub struct EnvelopeBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for EnvelopeBytes {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let is_envelope = |value: &HeaderValue| value.as_bytes() == ENVELOPE_TYPE.as_bytes();
        if !request.headers().get(CONTENT_TYPE).is_some_and(is_envelope) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response());
        }
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(IntoResponse::into_response)
    }
}

/// The answer to a known device.
#[must_use]
pub fn sealed(answer: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, ENVELOPE_TYPE)], answer).into_response()
}

/// The one answer to all others.
#[must_use]
pub fn stranger() -> Response {
    StatusCode::BAD_REQUEST.into_response()
}
