use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response};
use tokio::time::{Instant, sleep};

use self::{attempt::Attempts, backoff::Backoff};

mod attempt;
mod backoff;
mod base_url;
mod single;
mod tls;

pub use attempt::AttemptError;
pub use base_url::{BaseUrl, ParseBaseUrlError};
pub use single::SingleConnection;
pub use tls::TlsError;

/// Where an [`HttpClient`] sends requests, and how long it tries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The servers, in the order in which every request tries them.
    pub urls: Vec<BaseUrl>,
    /// Certificate authorities, in PEM, that are trusted beside the platform's.
    pub extra_roots: Vec<u8>,
    /// Until a TCP connection stands. Default 3 s.
    pub connect_timeout: Duration,
    /// For one try at one server, connecting included. Default 10 s.
    pub attempt_timeout: Duration,
    /// For all tries at all servers. Default 30 s.
    pub deadline: Duration,
    /// Whether all servers are tried again after the last one. Default yes.
    pub again: bool,
    /// Bytes of an answer's body. Default 4 MiB.
    pub response_bytes: usize,
}

impl ClientConfig {
    /// Tries `urls` in order, with the default limits.
    #[must_use]
    pub fn new(urls: Vec<BaseUrl>) -> Self {
        Self {
            urls,
            extra_roots: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            again: true,
            response_bytes: 4 << 20,
        }
    }
}

/// Why no server answered a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is none to ask.
    #[error("no server is configured")]
    NoServer,
    /// None of them did before the deadline.
    #[error("no server answered, the last one tried was `{url}`")]
    NoAnswer {
        /// The server tried last.
        url: BaseUrl,
        /// What came of it.
        #[source]
        last: AttemptError,
    },
}

/// Sends requests to the first of several servers that answers.
///
/// Every request tries the servers in the order in which they are configured. A connection that fails or
/// breaks, an answer that does not come in time, and the answers 502, 503 and 504 lead to the next
/// server. After the last one it waits, longer each time, at random, and at least as long as
/// `Retry-After` says, then begins anew, until the deadline, unless it is not to. Every other answer is the
/// answer.
///
/// So the same bytes may reach several servers, or one twice. That is safe with a sealed envelope:
/// within its validity the same bytes have the same answer. When to make a fresh envelope is the
/// caller's decision.
///
/// `http` URLs are as safe as `https` ones for envelopes, which are sealed to the server by themselves.
/// Redirects are not followed and proxies not used.
#[derive(Debug)]
pub struct HttpClient {
    urls: Vec<BaseUrl>,
    deadline: Duration,
    again: bool,
    attempts: Attempts,
}

impl HttpClient {
    /// A client for the servers of `config`.
    ///
    /// # Errors
    /// When there are `https` URLs and their servers could not be verified: no trusted roots, or
    /// unreadable extra ones.
    pub fn new(config: ClientConfig) -> Result<Self, TlsError> {
        Ok(Self {
            attempts: Attempts::new(&config)?,
            deadline: config.deadline,
            again: config.again,
            urls: config.urls,
        })
    }

    /// Sends `request`, whose URI is the path below the base URLs, until a server answers it.
    ///
    /// # Errors
    /// When none answers before the deadline.
    pub async fn send(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, RequestError> {
        let deadline = after(self.deadline);
        let mut backoff = Backoff::new();
        for (tries, url) in (1..).zip(self.urls.iter().cycle()) {
            let last = match self.attempts.send(url, request, deadline).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            backoff.heed(last.retry_after());
            let was_last = tries % self.urls.len() == 0;
            let pause = if was_last {
                backoff.pause()
            } else {
                Duration::ZERO
            };
            if after(pause) >= deadline || (was_last && !self.again) {
                let url = url.clone();
                return Err(RequestError::NoAnswer { url, last });
            }
            sleep(pause).await;
        }
        Err(RequestError::NoServer)
    }
}

/// The instant after `duration`, at most a century away.
fn after(duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + duration.min(CENTURY)
}

#[cfg(test)]
mod tests;
