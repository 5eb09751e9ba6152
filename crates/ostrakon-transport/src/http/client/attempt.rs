//! One try at one server.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{HeaderMap, RETRY_AFTER},
    http,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

use super::{BaseUrl, ClientConfig, after, tls, tls::TlsError};

/// How long an unused connection is kept. Less than servers keep theirs, so that seldom a request meets
/// a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Why one try at one server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The request cannot be addressed to the server.
    #[error("not a request for this server")]
    Unaddressable(#[source] http::Error),
    /// No connection came about.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke before the answer's head was there.
    #[error("connection broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke amid the answer's body.
    #[error("connection broke amid the answer")]
    Cut(#[source] Box<dyn Error + Send + Sync>),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer's body is larger than the configuration allows.
    #[error("the answer is too large")]
    TooLarge,
    /// The server, or a balancer before it, says that it cannot answer now.
    #[error("server is unavailable ({status})")]
    Unavailable {
        /// 502, 503 or 504.
        status: StatusCode,
        /// When the server asked to be tried again.
        retry_after: Option<Duration>,
    },
}

impl AttemptError {
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Connections to all servers, and the limits of a try.
pub(super) struct Attempts {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    response_bytes: usize,
}

impl Attempts {
    pub(super) fn new(config: &ClientConfig) -> Result<Self, TlsError> {
        let tls = if config.urls.iter().any(BaseUrl::is_https) {
            tls::verified(&config.extra_roots)?
        } else {
            tls::unused()?
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        Ok(Self {
            client,
            timeout: config.attempt_timeout,
            response_bytes: config.response_bytes,
        })
    }

    /// Sends `request` to `url`, once.
    pub(super) async fn send(
        &self,
        url: &BaseUrl,
        request: &Request<Bytes>,
        deadline: Instant,
    ) -> Result<Response<Bytes>, AttemptError> {
        let mut request = request.clone().map(Full::new);
        *request.uri_mut() = url
            .join(request.uri())
            .map_err(AttemptError::Unaddressable)?;
        let deadline = deadline.min(after(self.timeout));
        timeout_at(deadline, self.exchange(request))
            .await
            .unwrap_or(Err(AttemptError::Timeout))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, AttemptError> {
        let sent = self.client.request(request).await;
        let response = sent.map_err(|error| {
            if error.is_connect() {
                AttemptError::Connect(error.into())
            } else {
                AttemptError::Broken(error.into())
            }
        })?;
        let status = response.status();
        if is_unavailable(status) {
            let retry_after = retry_after(response.headers());
            return Err(AttemptError::Unavailable {
                status,
                retry_after,
            });
        }
        let (head, body) = response.into_parts();
        let body = collect(body, self.response_bytes).await?;
        Ok(Response::from_parts(head, body))
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts")
            .field("timeout", &self.timeout)
            .field("response_bytes", &self.response_bytes)
            .finish_non_exhaustive()
    }
}

async fn collect(body: Incoming, at_most: usize) -> Result<Bytes, AttemptError> {
    match Limited::new(body, at_most).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(AttemptError::TooLarge),
        Err(error) => Err(AttemptError::Cut(error)),
    }
}

/// Whether another server may do better, because this one did nothing with the request.
fn is_unavailable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// `Retry-After` in seconds. Its other form, a date, would need a clock that agrees with the server's.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    seconds.parse().ok().map(Duration::from_secs)
}
