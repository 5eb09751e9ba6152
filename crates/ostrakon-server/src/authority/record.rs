use minicbor::{Decode, Encode};
use ostrakon_shards::name::Name;
use ostrakon_storage::{CertificateRow, StoreError};
use ostrakon_types::{UnixMillis, canonical};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Purpose {
    /// Administering the server from afar.
    #[n(0)]
    Administrator,
}

/// What is kept of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CertificateRecord {
    /// Whose it is.
    #[n(0)]
    pub(crate) name: Name,
    /// What it is for.
    #[n(1)]
    pub(crate) purpose: Purpose,
    /// When it was issued.
    #[n(2)]
    pub(crate) issued_at: UnixMillis,
    /// Until when it is valid.
    #[n(3)]
    pub(crate) expires_at: UnixMillis,
    /// Since when it is not, whatever it says itself.
    #[n(4)]
    pub(crate) revoked_at: Option<UnixMillis>,
}

/// Why who shows a genuine certificate is not heard.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// It is not one of those that are on record.
    #[error("the certificate is not on record")]
    Unknown,
    /// It is for something else.
    #[error("the certificate is for something else")]
    Purpose,
    /// It was revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// It cannot be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CertificateRecord {
    /// What is known of the certificate in this row. What cannot be read is for nothing.
    pub(crate) fn of(row: &CertificateRow) -> Result<Self, NotAdmitted> {
        canonical::decode(&row.record).map_err(|_| NotAdmitted::Purpose)
    }

    /// What is sealed in its row.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Checks that it is good for `purpose` now.
    pub(crate) fn check(&self, purpose: Purpose, now: UnixMillis) -> Result<(), NotAdmitted> {
        if self.purpose != purpose {
            Err(NotAdmitted::Purpose)
        } else if self.revoked_at.is_some() {
            Err(NotAdmitted::Revoked)
        } else if now >= self.expires_at {
            Err(NotAdmitted::Expired)
        } else {
            Ok(())
        }
    }
}
