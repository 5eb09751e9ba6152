//! The administrators who are heard from afar: those who have a certificate of the server's own authority.

use std::{fmt, str::FromStr};

use ostrakon_custody::{AuditEvent, Change, Ledger, LedgerError};
use ostrakon_shards::name::{Name, NameError};
use ostrakon_storage::{CertificateRow, Store, StoreError};
use ostrakon_types::{CertificateId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{
    Clock, Home,
    authority::{Authority, AuthorityError, CertificateRecord, Purpose},
    ceremony::{Asked, end_all},
    offline::{Offline, Opened},
    server::BuildError,
};

/// The certificate of an administrator, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Administrator {
    /// Names the certificate: its serial number.
    pub id: CertificateId,
    /// Whose it is.
    pub name: Name,
    /// When it was issued.
    pub issued_at: UnixMillis,
    /// Until when it is valid.
    pub expires_at: UnixMillis,
    /// Since when it is not, where it was revoked.
    pub revoked_at: Option<UnixMillis>,
}

/// Somebody who is to be heard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewAdministrator {
    /// Who.
    pub name: Name,
    /// For how many days.
    pub days: u16,
    /// The public half of the key that proves it.
    pub public_key: Vec<u8>,
}

/// A certificate that was issued.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Issued {
    /// What is kept of it.
    pub administrator: Administrator,
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// That of the authority, in DER.
    pub authority: Vec<u8>,
}

/// What an operator calls an administrator's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdministratorName {
    /// Its id.
    Id(CertificateId),
    /// The administrator's name: all that are in force under it.
    Name(Name),
}

/// Why something was not done about administrators.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdministratorError {
    /// The server cannot be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The certificate was not issued.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is none of that name.
    #[error("no certificate of an administrator `{0}` is in force")]
    Unknown(AdministratorName),
}

impl FromStr for AdministratorName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Name::new(text).map(Self::Name),
        }
    }
}

impl fmt::Display for AdministratorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name.as_str()),
        }
    }
}

impl AdministratorName {
    fn is(&self, administrator: &Administrator) -> bool {
        match self {
            Self::Id(id) => administrator.id == *id,
            Self::Name(name) => administrator.name == *name,
        }
    }
}

impl Administrator {
    fn of(id: CertificateId, record: &CertificateRecord) -> Self {
        Self {
            id,
            name: record.name.clone(),
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
        }
    }
}

/// Issues a certificate.
pub(crate) async fn create(
    authority: &Authority,
    ledger: &Ledger,
    new: NewAdministrator,
    now: UnixMillis,
) -> Result<Issued, AdministratorError> {
    let purpose = Purpose::Administrator;
    let issued = authority.issue(new.name, purpose, &new.public_key, new.days, now);
    let (row, record, certificate) = issued?;
    let administrator = Administrator::of(row.id, &record);
    let event = AuditEvent::Administered {
        action: "administrator create".to_owned(),
        detail: format!("certificate {}, for {} days", row.id, new.days),
    };
    let change = Change::Certificate { row, event };
    ledger.administer(change, now).await?;
    Ok(Issued {
        administrator,
        certificate: certificate.to_vec(),
        authority: authority.certificate().to_vec(),
    })
}

/// Lists the certificates of administrators, the newest last.
pub(crate) async fn list(store: &Store) -> Result<Vec<Administrator>, AdministratorError> {
    let rows = rows(store).await?;
    let shown = rows
        .iter()
        .map(|(row, record)| Administrator::of(row.id, record));
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by_key(|administrator| (administrator.issued_at, administrator.id));
    Ok(shown)
}

/// Revokes what is in force under a name, on whose word where it is not the operator's.
pub(crate) async fn revoke(
    store: &Store,
    ledger: &Ledger,
    named: &AdministratorName,
    by: Option<String>,
    now: UnixMillis,
) -> Result<Vec<Administrator>, AdministratorError> {
    let mut revoked = Vec::new();
    for (row, mut record) in rows(store).await? {
        let in_force = record.check(Purpose::Administrator, now).is_ok();
        if !in_force || !named.is(&Administrator::of(row.id, &record)) {
            continue;
        }
        record.revoked_at = Some(now);
        revoked.push(Administrator::of(row.id, &record));
        let by = by.as_ref().map_or_else(String::new, |by| format!(", {by}"));
        let event = AuditEvent::Administered {
            action: "administrator revoke".to_owned(),
            detail: format!("certificate {}{by}", row.id),
        };
        let row = CertificateRow {
            record: record.to_bytes(),
            ..row
        };
        let change = Change::Certificate { row, event };
        ledger.administer(change, now).await?;
    }
    if revoked.is_empty() {
        return Err(AdministratorError::Unknown(named.clone()));
    }
    Ok(revoked)
}

/// Whether a ceremony was asked for with one of these certificates.
pub(crate) fn asked_with(revoked: &[Administrator]) -> impl Fn(Asked<'_>) -> bool {
    |(_, by)| revoked.iter().any(|of| by == Some(of.id))
}

/// The certificates of administrators. What a newer release keeps of others is passed over.
async fn rows(store: &Store) -> Result<Vec<(CertificateRow, CertificateRecord)>, StoreError> {
    let rows = store.certificates().await?.into_iter();
    let read = rows.filter_map(|row| {
        let record = CertificateRecord::of(&row).ok()?;
        (record.purpose == Purpose::Administrator).then_some((row, record))
    });
    Ok(read.collect())
}

/// Issues a certificate at a server that does not run.
///
/// # Errors
/// When there is none, it runs, or nothing can be issued.
pub async fn create_stopped(
    home: &Home,
    new: NewAdministrator,
    clock: &Clock,
) -> Result<Issued, AdministratorError> {
    let offline = Offline::start(home, clock).await?;
    let now = clock.now();
    let created = async {
        let kss_id = offline.keyserver.kss_id();
        let authority = Authority::of(&offline.store, &kss_id, now).await?;
        create(&authority, &offline.ledger, new, now).await
    };
    let created = created.await;
    offline.finish().await;
    created
}

/// Revokes what is in force under a name, at a server that does not run.
///
/// # Errors
/// When there is no server, it runs, or nothing is in force under that name.
pub async fn revoke_stopped(
    home: &Home,
    named: &AdministratorName,
    clock: &Clock,
) -> Result<Vec<Administrator>, AdministratorError> {
    let offline = Offline::start(home, clock).await?;
    let (store, ledger, now) = (&offline.store, &offline.ledger, clock.now());
    let revoked = async {
        let revoked = revoke(store, ledger, named, None, now).await?;
        let by = offline.keyserver.device_id();
        // Of instances that run.
        end_all(store, ledger, by, now, asked_with(&revoked)).await?;
        Ok(revoked)
    };
    let revoked = revoked.await;
    offline.finish().await;
    revoked
}

/// Lists the certificates of a server that does not run.
///
/// # Errors
/// When there is none, or its database cannot be read.
pub async fn list_stopped(home: &Home) -> Result<Vec<Administrator>, AdministratorError> {
    let opened = Opened::open(home).await?;
    let listed = list(&opened.store).await;
    opened.store.close().await;
    listed
}

/// The certificate of a server's authority, in DER. The server may be running.
///
/// # Errors
/// When there is no server, or its database cannot be used.
pub async fn authority_of(home: &Home, clock: &Clock) -> Result<Vec<u8>, AdministratorError> {
    let opened = Opened::open(home).await?;
    let kss_id = opened.identity.keyserver.kss_id();
    let authority = Authority::of(&opened.store, &kss_id, clock.now()).await;
    opened.store.close().await;
    Ok(authority?.certificate().to_vec())
}
