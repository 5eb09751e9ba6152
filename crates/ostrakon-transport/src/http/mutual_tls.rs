//! TLS 1.3 by which both sides prove who they are.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use ostrakon_types::UnixMillis;
use rustls::{
    CertificateError, ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject as _},
    },
    server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    time_provider::TimeProvider,
    version::TLS13,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The certificate by which a client has proved who it is. Every request on its connection carries it as an
/// extension. That the authority issued it, and that it was valid when the connection began, is all that is
/// known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(pub Arc<[u8]>);

/// Why a client did not get as far as to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// It shows no certificate.
    NoCertificate,
    /// Its certificate is another authority's.
    Foreign,
    /// Its certificate is not valid any more, or not yet.
    Expired,
    /// Its certificate is for something else.
    Purpose,
    /// It does not speak TLS 1.3 as it should, or not in time.
    Other,
}

/// Where clients connect that have a certificate of one authority.
pub struct TlsListener {
    pub(super) tcp: TcpListener,
    pub(super) tls: Tls,
}

/// How their connections are secured.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    failed: Arc<dyn Fn(HandshakeFailure) + Send + Sync>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up")]
pub struct SetUpTlsError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl TlsListener {
    /// Clients on `tcp` must show a certificate that `authority` issued for clients, and that is valid by the
    /// clock `now`; they are shown one of `own`. `failed` is told of each that gets no connection.
    ///
    /// No session is resumed: each connection proves anew who is there.
    ///
    /// # Errors
    /// When the authority's certificate cannot be used.
    pub fn new(
        tcp: TcpListener,
        authority: &CertificateDer<'_>,
        own: Arc<dyn ResolvesServerCert>,
        now: impl Fn() -> UnixMillis + Send + Sync + 'static,
        failed: impl Fn(HandshakeFailure) + Send + Sync + 'static,
    ) -> Result<Self, SetUpTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(only(authority.clone().into_owned()).map_err(unusable)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let verifier = verifier.build().map_err(unusable)?;
        let config = ServerConfig::builder_with_details(provider, Arc::new(At(now)));
        let config = config.with_protocol_versions(&[&TLS13]).map_err(unusable)?;
        let mut config = config
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(own);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let tls = Tls {
            acceptor: Arc::new(config).into(),
            failed: Arc::new(failed),
        };
        Ok(Self { tcp, tls })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsListener").field(&self.tcp).finish()
    }
}

impl Tls {
    /// Has the client prove who it is.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Option<(TlsStream<TcpStream>, PeerCertificate)> {
        match self.acceptor.accept(stream).await {
            Ok(stream) => {
                let shown = stream.get_ref().1.peer_certificates();
                let Some(certificate) = shown.and_then(<[_]>::first) else {
                    self.fail(HandshakeFailure::NoCertificate);
                    return None;
                };
                let certificate = PeerCertificate(certificate.as_ref().into());
                Some((stream, certificate))
            }
            Err(error) => {
                self.fail(why(&error));
                None
            }
        }
    }

    pub(super) fn fail(&self, failure: HandshakeFailure) {
        (self.failed)(failure);
    }
}

fn why(error: &io::Error) -> HandshakeFailure {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    match error {
        Some(rustls::Error::NoCertificatesPresented) => HandshakeFailure::NoCertificate,
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => HandshakeFailure::Expired,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                HandshakeFailure::Purpose
            }
            _ => HandshakeFailure::Foreign,
        },
        _ => HandshakeFailure::Other,
    }
}

struct At<F>(F);

impl<F> fmt::Debug for At<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("At")
    }
}

impl<F: Fn() -> UnixMillis + Send + Sync> TimeProvider for At<F> {
    fn current_time(&self) -> Option<UnixTime> {
        unix_time((self.0)())
    }
}

fn unix_time(at: UnixMillis) -> Option<UnixTime> {
    let millis = u64::try_from(at.0).ok()?;
    Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> SetUpTlsError {
    SetUpTlsError(Box::new(error))
}

fn only(root: CertificateDer<'static>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    Ok(roots)
}

/// What a client proves itself by: a key, its certificate, and the authority that issued it, which the
/// server's must come from, too.
pub struct ClientIdentity {
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

/// Why a client's identity cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It is not a key and certificates.
    #[error("it is not a private key and certificates in PEM")]
    Pem(#[source] pem::Error),
    /// There is no certificate, or none of the authority.
    #[error("it must hold two certificates: its own, and the authority's behind it")]
    Certificates,
    /// Key and certificate do not fit, or are of a kind that is not known.
    #[error("its key and certificates cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The certificate is not valid any more.
    #[error("its certificate has expired")]
    Expired {
        /// Until when it was.
        not_after: UnixMillis,
    },
}

impl ClientIdentity {
    /// Reads a key, its certificate, and the authority's certificate, in PEM.
    ///
    /// # Errors
    /// When they are not there.
    pub fn from_pem(text: &[u8]) -> Result<Self, IdentityError> {
        let key = PrivateKeyDer::from_pem_slice(text).map_err(IdentityError::Pem)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let certificates = certificates.map_err(IdentityError::Pem)?;
        match <[_; 2]>::try_from(certificates) {
            Ok([certificate, authority]) => Ok(Self {
                key,
                certificate,
                authority,
            }),
            Err(_) => Err(IdentityError::Certificates),
        }
    }

    /// Checks that the certificate has not expired at the time `now`. Whoever is asked with it would end the
    /// connection without saying so.
    ///
    /// # Errors
    /// When it has. What else may be wrong with it, the other side says.
    pub fn check_time(&self, now: UnixMillis) -> Result<(), IdentityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = only(self.authority.clone()).map_err(IdentityError::Unusable)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let (Ok(verifier), Some(now)) = (verifier.build(), unix_time(now)) else {
            return Ok(());
        };
        let verified = verifier.verify_client_cert(&self.certificate, &[], now);
        match verified {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) => {
                let seconds = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
                let not_after = UnixMillis(seconds.saturating_mul(1000));
                Err(IdentityError::Expired { not_after })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

pub(super) fn client_config(identity: ClientIdentity) -> Result<ClientConfig, IdentityError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = only(identity.authority).map_err(IdentityError::Unusable)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(IdentityError::Unusable)?
        .with_root_certificates(roots);
    config
        .with_client_auth_cert(vec![identity.certificate], identity.key)
        .map_err(IdentityError::Unusable)
}

#[cfg(test)]
mod tests;
