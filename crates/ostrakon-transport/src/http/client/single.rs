use std::{io, time::Duration};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{AttemptError, BaseUrl, RequestError};

/// More than the head of any answer of a key shard server.
const HEAD_BYTES: usize = 8 << 10;

/// Bytes of an answer's body.
const BODY_BYTES: usize = 4 << 20;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection to one `http` server, for one request after the other.
///
/// It is for who measures a server on the machine that both share: it takes a quarter of the processor
/// time that an [`HttpClient`](super::HttpClient) does, for it keeps no pool, tries nothing again, and
/// understands no more of HTTP than a key shard server says: answers with a `Content-Length`.
#[derive(Debug)]
pub struct SingleConnection {
    url: BaseUrl,
    /// The request's head, but for the length of its body.
    head: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl SingleConnection {
    /// Will connect to `url` and post to `path` below it, bodies of the type `content_type`. `None` when
    /// the URL is an `https` one.
    #[must_use]
    pub fn new(url: &BaseUrl, path: &str, content_type: &str) -> Option<Self> {
        let (authority, prefix) = url.plain()?;
        let head = format!(
            "POST {prefix}{path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {content_type}\r\ncontent-length: "
        );
        Some(Self {
            url: url.clone(),
            head,
            stream: None,
            buffer: Vec::new(),
        })
    }

    /// Posts a body, once, and gives status and body of the answer.
    ///
    /// # Errors
    /// When there is no whole answer in ten seconds. The next request then has a new connection.
    pub async fn post(&mut self, body: &[u8]) -> Result<(StatusCode, Bytes), RequestError> {
        let posted = timeout(PATIENCE, self.try_post(body)).await;
        posted
            .unwrap_or(Err(AttemptError::Timeout))
            .map_err(|last| {
                self.stream = None;
                let url = self.url.clone();
                RequestError::NoAnswer { url, last }
            })
    }

    async fn try_post(&mut self, body: &[u8]) -> Result<(StatusCode, Bytes), AttemptError> {
        let broken = |error: io::Error| AttemptError::Broken(error.into());
        // Taken, and put back only after a whole answer: whoever gives up in between leaves none.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        self.buffer.clear();
        self.buffer.extend_from_slice(self.head.as_bytes());
        self.buffer
            .extend_from_slice(body.len().to_string().as_bytes());
        self.buffer.extend_from_slice(b"\r\n\r\n");
        self.buffer.extend_from_slice(body);
        stream.write_all(&self.buffer).await.map_err(broken)?;

        self.buffer.clear();
        let head = loop {
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > HEAD_BYTES || read(&mut stream, &mut self.buffer).await? == 0 {
                return Err(AttemptError::Broken("no head of an answer".into()));
            }
        };
        if head.body_len > BODY_BYTES {
            return Err(AttemptError::TooLarge);
        }
        let end = head.len + head.body_len;
        while self.buffer.len() < end {
            if read(&mut stream, &mut self.buffer).await? == 0 {
                return Err(AttemptError::Cut("the body ends early".into()));
            }
        }
        let body = self.buffer.get(head.len..end).unwrap_or_default();
        let body = Bytes::copy_from_slice(body);
        // Nobody asked for more: such a connection cannot be trusted with the next request.
        if !head.closes && self.buffer.len() == end {
            self.stream = Some(stream);
        }
        Ok((head.status, body))
    }

    async fn connect(&self) -> Result<TcpStream, AttemptError> {
        let refused = |error: io::Error| AttemptError::Connect(error.into());
        let (authority, _) = self.url.plain().unwrap_or_default();
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let address = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let stream = TcpStream::connect(address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        Ok(stream)
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, AttemptError> {
    buffer.reserve(4 << 10);
    let read = stream.read_buf(buffer).await;
    read.map_err(|error| AttemptError::Broken(error.into()))
}

/// What is to be known of an answer's head.
struct Head {
    status: StatusCode,
    len: usize,
    body_len: usize,
    closes: bool,
}

impl Head {
    /// `None` when it is not all there yet.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, AttemptError> {
        let broken = || AttemptError::Broken("not the head of an answer".into());
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(head) = end.and_then(|end| bytes.get(..end)) else {
            return Ok(None);
        };
        let text = str::from_utf8(head).map_err(|_| broken())?;
        let mut lines = text.split("\r\n");
        let first = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = first.and_then(|rest| rest.split(' ').next());
        let status = status.and_then(|status| status.parse().ok());
        let (mut body_len, mut closes) = (None, false);
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(broken)?;
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("content-length") && body_len.is_none() {
                body_len = Some(value.trim().parse().map_err(|_| broken())?);
            } else if is("content-length") || is("transfer-encoding") {
                return Err(broken());
            } else if is("connection") {
                closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(Self {
            status: status.ok_or_else(broken)?,
            len: head.len() + 4,
            body_len: body_len.ok_or_else(broken)?,
            closes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each request on each of its connections with one of these, in pieces.
    async fn server(answers: Vec<Vec<&'static [u8]>>) -> SingleConnection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/below", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = Vec::new();
                while stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {
                    if !seen.ends_with(b"end") {
                        continue;
                    }
                    let request = String::from_utf8(std::mem::take(&mut seen)).unwrap();
                    assert!(request.starts_with("POST /below/path HTTP/1.1\r\nhost: 127.0.0.1:"));
                    assert!(request.ends_with("content-length: 7\r\n\r\nthe end"));
                    let Some(pieces) = answers.next() else { return };
                    for piece in pieces {
                        stream.set_nodelay(true).unwrap();
                        stream.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        SingleConnection::new(&url.parse().unwrap(), "/path", "text/plain").unwrap()
    }

    #[tokio::test]
    async fn answers_come_whole_however_they_are_cut() {
        let whole: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let mut connection = server(vec![
            vec![whole],
            whole.chunks(1).collect(),
            vec![b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"],
            vec![whole],
        ])
        .await;
        for (status, body) in [(200, "hello"), (200, "hello"), (400, ""), (200, "hello")] {
            let (got, answer) = connection.post(b"the end").await.unwrap();
            assert_eq!((got.as_u16(), &answer[..]), (status, body.as_bytes()));
            assert_eq!(connection.stream.is_some(), status == 200);
        }
    }

    #[tokio::test]
    async fn what_is_no_whole_answer_is_an_error_and_ends_the_connection() {
        for answer in [
            &b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 xyz\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 \xff\r\n\r\n",
            &[b'x'; 20 << 10],
        ] {
            let mut connection = server(vec![vec![answer]]).await;
            assert!(connection.post(b"the end").await.is_err());
            assert!(connection.stream.is_none());
        }
        // What was not asked for is not taken for the next answer.
        let two: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200";
        let mut connection = server(vec![vec![two]]).await;
        assert!(connection.post(b"the end").await.is_ok());
        assert!(connection.stream.is_none());
    }

    #[test]
    fn https_is_not_for_it() {
        let url = "https://kss.example".parse().unwrap();
        assert!(SingleConnection::new(&url, "/", "").is_none());
    }
}
