//! Whom `https` connections trust.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem, pem::PemObject},
};

/// Why `https` servers could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The extra roots are not PEM certificates.
    #[error("the extra certificate authorities are not certificates in PEM")]
    ExtraRoots(#[source] pem::Error),
    /// One of the extra roots is no certificate that could be trusted.
    #[error("an extra certificate authority cannot be used")]
    ExtraRoot(#[source] rustls::Error),
    /// Neither the platform nor the configuration names anyone to trust.
    #[error(
        "no trusted certificate authorities: the platform has none, and no extra ones are configured"
    )]
    NoRoots,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3, by one provider, trusting the platform's roots and those in `extra`.
pub(super) fn verified(extra: &[u8]) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // Some of a platform's roots may be unreadable or of a form that the verifier does not know.
    let platform = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(platform.certs);
    let before_extra = roots.len();
    for root in CertificateDer::pem_slice_iter(extra) {
        let root = root.map_err(TlsError::ExtraRoots)?;
        roots.add(root).map_err(TlsError::ExtraRoot)?;
    }
    if !extra.is_empty() && roots.len() == before_extra {
        return Err(TlsError::ExtraRoots(pem::Error::NoItemsFound));
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    trusting(roots)
}

/// TLS that trusts nobody, where no URL asks for it.
pub(super) fn unused() -> Result<ClientConfig, TlsError> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    Ok(
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}
