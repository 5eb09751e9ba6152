use std::{fmt, net::IpAddr, str::FromStr};

use hyper::{
    Uri,
    http::{self, uri::Scheme},
};

/// The address of a server: `http` or `https`, a host, perhaps a port and a path below which it answers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: String,
    /// Empty, or a path that begins with `/` and does not end with it.
    prefix: String,
}

/// Text that is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the address of a server: expected `http://HOST[:PORT]` or `https://HOST[:PORT]`"
)]
pub struct ParseBaseUrlError(String);

impl BaseUrl {
    /// Whether connections are encrypted and the server's certificate verified.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Host and port as they were given, and the path, of an `http` URL.
    pub(super) fn plain(&self) -> Option<(&str, &str)> {
        (!self.is_https()).then_some((&self.authority, &self.prefix))
    }

    /// Whether it is this machine by its name or number, whatever a resolver says.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = match self.authority.rsplit_once(':') {
            // The colons of an IPv6 address without a port are within brackets.
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.authority,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || bare
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Host and port as they were given.
    pub(in crate::http) fn authority(&self) -> &str {
        &self.authority
    }

    /// The host, an IPv6 address without its brackets, and the port.
    pub(in crate::http) fn host_and_port(&self) -> (&str, u16) {
        let standard = if self.is_https() { 443 } else { 80 };
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(standard)),
            _ => (self.authority.as_str(), standard),
        };
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    /// The address of `path`, which may have a query, at this server.
    pub(super) fn join(&self, path: &Uri) -> Result<Uri, http::Error> {
        let path = path.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.as_str())
            .path_and_query(format!("{}{path}", self.prefix))
            .build()
    }
}

impl FromStr for BaseUrl {
    type Err = ParseBaseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseBaseUrlError> {
        // A password in the address is not shown.
        let refuse = || ParseBaseUrlError(text.rsplit('@').next().unwrap_or_default().to_owned());
        let uri: Uri = text.parse().map_err(|_| refuse())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(refuse());
        };
        let known = *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
        let plain = !authority.as_str().contains('@') && !text.contains(['?', '#']);
        let bad_port = authority.as_str() != authority.host()
            && !matches!(authority.port_u16(), Some(port) if port > 0);
        if !known || !plain || bad_port || authority.host().is_empty() {
            return Err(refuse());
        }
        Ok(Self {
            scheme: scheme.clone(),
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_from_others() {
        for (text, loopback) in [
            ("http://127.0.0.1:7420", true),
            ("http://127.9.9.9", true),
            ("https://[::1]:7420/x", true),
            ("http://[::1]", true),
            ("http://LOCALHOST:1", true),
            ("http://localhost.example:1", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1:7420", false),
            ("http://[2001:db8::1]", false),
            ("https://kss.example", false),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!(url.is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn addresses_round_trip_and_are_joined() {
        for (text, shown, joined) in [
            (
                "http://kss.example:7443",
                "http://kss.example:7443",
                "http://kss.example:7443/v1/x?y=1",
            ),
            ("https://[::1]/", "https://[::1]", "https://[::1]/v1/x?y=1"),
            ("https://a/b/", "https://a/b", "https://a/b/v1/x?y=1"),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            let path = Uri::from_static("/v1/x?y=1");
            assert_eq!(url.join(&path).unwrap().to_string(), joined);
        }
    }

    #[test]
    fn other_text_is_refused_without_showing_a_password() {
        for text in [
            "",
            "kss",
            "kss:7443",
            "/v1",
            "ftp://kss",
            "http://",
            "http://kss?x",
            "http://kss#x",
            "http://kss:0",
            "http://kss:99999",
            "http://user:secret@kss",
            "http://k ss",
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
