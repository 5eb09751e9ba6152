//! HTTP plumbing, for the server and for its clients.
//!
//! A server's side is [`serve`], which runs a [`Site`], an axum `Router`, on a listener within
//! [`ListenerLimits`], and [`InFlightLimit`], which refuses requests at once where there are too many; a [`Desk`] is a small
//! server in a command that waits for other devices. A client's side is
//! [`HttpClient`], which tries several servers, [`SingleConnection`], which measures one, and
//! [`JsonClient`] for administration, by the socket or, with a [`ClientIdentity`], by mutual TLS on a
//! [`TlsListener`].
//!
//! What is deliberately absent: HTTP/2 (one more parser before authentication, and nothing here
//! streams), `Transfer-Encoding` in requests (so that no two readers of one stream can disagree about
//! where a request ends), upgrades, redirects and proxies.

mod body;
mod client;
mod connection;
mod desk;
mod json;
mod limit;
mod listener;
mod mutual_tls;
mod pace;
#[cfg(test)]
pub(crate) mod testing;

pub use client::{
    AttemptError, BaseUrl, ClientConfig, HttpClient, ParseBaseUrlError, RequestError,
    SingleConnection, TlsError,
};
pub use desk::{Desk, serve_desk};
pub use json::{JsonClient, JsonError};
pub use limit::{InFlight, InFlightLimit};
pub use listener::{Drained, Listener, ListenerLimits, Peer, Site, serve};
pub use mutual_tls::{
    ClientIdentity, HandshakeFailure, IdentityError, PeerCertificate, SetUpTlsError, TlsListener,
};
