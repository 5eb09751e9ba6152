use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
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
use rustls::pki_types::InvalidDnsNameError;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    BaseUrl,
    mutual_tls::{ClientIdentity, IdentityError, client_config},
};

/// Bytes of an answer's body.
const ANSWER_BYTES: usize = 64 << 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Nobody listens on the socket.
    #[error("nothing listens on the socket")]
    NotListening(#[source] io::Error),
    /// The socket may not be used.
    #[error("cannot use the socket")]
    Io(#[source] io::Error),
    /// No connection to the server's address came about.
    #[error("cannot connect to {0}")]
    Connect(BaseUrl, #[source] io::Error),
    /// The server at the address is not the one that the identity is for.
    #[error("cannot agree with {0} on a connection")]
    Handshake(BaseUrl, #[source] io::Error),
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

/// Asks questions in JSON, over one connection for each.
#[derive(Clone, Debug)]
pub struct JsonClient {
    way: Way,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Way {
    Unix(PathBuf),
    Tls(BaseUrl, Arc<rustls::ClientConfig>),
}

impl JsonClient {
    /// A client of whoever listens on the socket `path`: who may, the permissions of that file and its
    /// folder say. Each answer may take as long as `timeout`.
    #[must_use]
    pub fn unix(path: &Path, timeout: Duration) -> Self {
        Self {
            way: Way::Unix(path.to_owned()),
            timeout,
        }
    }

    /// A client of the server at an `https` URL, which both sides' certificates prove, by TLS 1.3. `None`
    /// where the URL is another.
    ///
    /// # Errors
    /// When the identity cannot be used.
    pub fn mutual_tls(
        url: &BaseUrl,
        identity: ClientIdentity,
        timeout: Duration,
    ) -> Result<Option<Self>, IdentityError> {
        if !url.is_https() {
            return Ok(None);
        }
        let way = Way::Tls(url.clone(), Arc::new(client_config(identity)?));
        Ok(Some(Self { way, timeout }))
    }

    /// Asks for `path`.
    ///
    /// # Errors
    /// When nobody answers, or not with success and an `A`.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, JsonError> {
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
    ) -> Result<A, JsonError> {
        let body = serde_json::to_vec(question).map_err(|e| JsonError::Question(e.into()))?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<A, JsonError> {
        let host = match &self.way {
            Way::Unix(_) => "localhost",
            Way::Tls(url, _) => url.authority(),
        };
        let request =
            request(method, host, path, body).map_err(|e| JsonError::Question(e.into()))?;
        let (status, body) = timeout(self.timeout, self.exchange(request))
            .await
            .unwrap_or(Err(JsonError::Timeout))?;
        if !status.is_success() {
            return Err(JsonError::Refused { status, body });
        }
        serde_json::from_slice(&body).map_err(JsonError::Malformed)
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), JsonError> {
        match &self.way {
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(not_connected)?;
                exchange(stream, request).await
            }
            Way::Tls(url, config) => {
                let connect = |error| JsonError::Connect(url.clone(), error);
                let (host, port) = url.host_and_port();
                let stream = TcpStream::connect((host, port)).await.map_err(connect)?;
                stream.set_nodelay(true).map_err(connect)?;
                let name = host.to_owned().try_into();
                let name =
                    name.map_err(|e| JsonError::Question(Box::<InvalidDnsNameError>::from(e)))?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream);
                let refused = |error| JsonError::Handshake(url.clone(), error);
                exchange(stream.await.map_err(refused)?, request).await
            }
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), JsonError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect();
        match body.await {
            Ok(whole) => Ok((status, whole.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(JsonError::TooLarge),
            Err(error) => Err(JsonError::Exchange(error)),
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

fn request(
    method: Method,
    host: &str,
    path: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(body))
}

fn not_connected(error: io::Error) -> JsonError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            JsonError::NotListening(error)
        }
        _ => JsonError::Io(error),
    }
}

fn broken(error: hyper::Error) -> JsonError {
    JsonError::Exchange(Box::new(error))
}

#[cfg(test)]
mod tests;
