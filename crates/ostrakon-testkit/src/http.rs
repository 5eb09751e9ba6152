//! HTTP down to the byte.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use ostrakon_transport::binding::{ENVELOPE_TYPE, REQUESTS_PATH};

/// How long an answer may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The value of a header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The answer but for its date.
    #[must_use]
    pub fn undated(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "date");
        self
    }
}

/// Opens a connection whose reads and writes take no longer than [`LIMIT`].
///
/// # Errors
/// When nobody listens.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends bytes on a connection of their own and reads one answer.
///
/// A server may answer before it has read everything, so that writing may fail and reading succeed.
///
/// # Errors
/// When no whole answer comes.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<HttpAnswer> {
    let mut stream = connect(address)?;
    let _ = stream.write_all(bytes);
    read_answer(&mut stream)
}

/// Reads one answer: its head, and as much as that says.
///
/// # Errors
/// When the connection ends before the answer does.
pub fn read_answer(stream: &mut impl Read) -> io::Result<HttpAnswer> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not an answer");
    let head = String::from_utf8(head).map_err(|_| malformed())?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status
        .and_then(|code| code.parse().ok())
        .ok_or_else(malformed)?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut answer = HttpAnswer {
        status,
        headers,
        body: Vec::new(),
    };
    let length = answer.header("content-length").unwrap_or("0");
    let length: usize = length.parse().map_err(|_| malformed())?;
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body)?;
    Ok(answer)
}

/// A whole request with an envelope as its body.
#[must_use]
pub fn envelope_request(envelope: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {REQUESTS_PATH} HTTP/1.1\r\nhost: test\r\ncontent-type: {ENVELOPE_TYPE}\r\n\
         content-length: {}\r\n\r\n",
        envelope.len()
    );
    [head.as_bytes(), envelope].concat()
}

/// Posts an envelope.
///
/// # Errors
/// When no whole answer comes.
pub fn post(address: SocketAddr, envelope: &[u8]) -> io::Result<HttpAnswer> {
    exchange(address, &envelope_request(envelope))
}

/// Asks for a path.
///
/// # Errors
/// When no whole answer comes.
pub fn get(address: SocketAddr, path: &str) -> io::Result<HttpAnswer> {
    exchange(
        address,
        format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes(),
    )
}
