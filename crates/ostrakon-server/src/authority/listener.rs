use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use ostrakon_types::{ErrorChain, UnixMillis};
use rustls::{
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Authority, AuthorityError, DAY_MS};
use crate::Clock;

/// How long a certificate of the listener is valid, and how long before its end it gives way.
const DAYS: i64 = 30;
const RENEWED_DAYS_BEFORE: i64 = 10;

/// The certificate that the administration listener shows. Its key is in memory alone, and it gives way to
/// another in time, however long the server runs.
pub(crate) struct ListenerCertificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    clock: Clock,
    current: Mutex<(UnixMillis, Arc<CertifiedKey>)>,
}

impl ListenerCertificate {
    /// The first one, under these names.
    pub(crate) fn new(
        authority: Arc<Authority>,
        names: Vec<String>,
        clock: Clock,
    ) -> Result<Self, AuthorityError> {
        let first = make(&authority, &names, clock.now())?;
        Ok(Self {
            authority,
            names,
            clock,
            current: Mutex::new(first),
        })
    }
}

fn make(
    authority: &Authority,
    names: &[String],
    now: UnixMillis,
) -> Result<(UnixMillis, Arc<CertifiedKey>), AuthorityError> {
    let (key, certificate) = authority.for_listener(names, DAYS, now)?;
    let key = any_ecdsa_type(&PrivateKeyDer::from(key)).map_err(|_| AuthorityError::PublicKey)?;
    let renew_at = now.plus((DAYS - RENEWED_DAYS_BEFORE) * DAY_MS);
    let certified = CertifiedKey::new(vec![certificate], key);
    Ok((renew_at, Arc::new(certified)))
}

impl ResolvesServerCert for ListenerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= current.0 {
            match make(&self.authority, &self.names, now) {
                Ok(next) => *current = next,
                // The old one is good for a while.
                Err(error) => {
                    let error = ErrorChain(&error);
                    tracing::error!(%error, "no new certificate for the administration listener");
                }
            }
        }
        Some(Arc::clone(&current.1))
    }
}

impl fmt::Debug for ListenerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListenerCertificate")
    }
}
