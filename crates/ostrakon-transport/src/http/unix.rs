use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
    http,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

/// Bytes of an answer's body.
const ANSWER_BYTES: usize = 64 << 20;

/// Why a question over a Unix socket has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnixError {
    /// Nobody listens on the socket.
    #[error("nothing listens on the socket")]
    NotListening(#[source] io::Error),
    /// The socket may not be used, or the connection broke.
    #[error("cannot use the socket")]
    Io(#[source] io::Error),
    /// What answers does not speak HTTP, or broke off.
    #[error("the exchange failed")]
    Exchange(#[source] Box<dyn Error + Send + Sync>),
    /// The question cannot be put into a request.
    #[error("not a question that can be asked")]
    Question(#[source] Box<dyn Error + Send + Sync>),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The answer is larger than 64 MiB.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer is not what was asked for.
    #[error("the answer is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The answer is a refusal.
    #[error("refused with status {status}")]
    Refused {
        /// Its status: neither success nor anything like it.
        status: StatusCode,
        /// Its body: JSON, where the server wrote it.
        body: Bytes,
    },
}

/// Asks questions in JSON over a Unix socket, one connection for each.
///
/// Who may connect is decided by the permissions of the socket's file and its folder.
#[derive(Clone, Debug)]
pub struct UnixClient {
    path: PathBuf,
    timeout: Duration,
}

impl UnixClient {
    /// A client of whoever listens on the socket `path`. Each answer may take as long as `timeout`.
    #[must_use]
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self {
            path: path.to_owned(),
            timeout,
        }
    }

    /// Asks for `path`.
    ///
    /// # Errors
    /// When nobody answers, or not with success and an `A`.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, UnixError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Sends `question` to `path`.
    ///
    /// # Errors
    /// When nobody answers, or not with success and an `A`.
    pub async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Q,
    ) -> Result<A, UnixError> {
        let body = serde_json::to_vec(question).map_err(|e| UnixError::Question(e.into()))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<A, UnixError> {
        let request = request(method, path, body).map_err(|e| UnixError::Question(e.into()))?;
        let (status, body) = timeout(self.timeout, self.exchange(request))
            .await
            .unwrap_or(Err(UnixError::Timeout))?;
        if !status.is_success() {
            return Err(UnixError::Refused { status, body });
        }
        serde_json::from_slice(&body).map_err(UnixError::Malformed)
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), UnixError> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(not_connected)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect();
            match body.await {
                Ok(whole) => Ok((status, whole.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => Err(UnixError::TooLarge),
                Err(error) => Err(UnixError::Exchange(error)),
            }
        };
        tokio::pin!(exchange);
        // The connection is driven here, so that nothing is left running when the caller goes away.
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(broken(error)),
            },
        }
    }
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost");
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(body))
}

fn not_connected(error: io::Error) -> UnixError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            UnixError::NotListening(error)
        }
        _ => UnixError::Io(error),
    }
}

fn broken(error: hyper::Error) -> UnixError {
    UnixError::Exchange(Box::new(error))
}

#[cfg(test)]
mod tests;
