//! The server's own certificate authority.
//!
//! Each key shard server has one, made when it is first needed and kept, sealed, in its database. It issues
//! the certificate that the administration listener shows, and the certificates of those who may be heard
//! there. That a certificate is genuine, valid and for a client, TLS finds out; what it is for, and whether
//! it was revoked, `Authority::admit` looks up for every request, so that a revocation holds at once on
//! every instance of the database.
//!
//! Deliberately absent: private keys of clients, which whoever asks for a certificate makes and keeps; and
//! any authority but this one, so that no public one can name an administrator.

mod bundle;
mod identity;
mod listener;
mod record;

use std::time::Duration;

use minicbor::{Decode, Encode};
use ostrakon_shards::{
    name::Name,
    random::{self, RandomError},
};
use ostrakon_storage::{CertificateRow, Store, StoreError};
use ostrakon_types::{CertificateId, Digest, KssId, UnixMillis, canonical};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use self::{
    bundle::{certificate_p7b, certificate_pem},
    identity::{ClientKey, IdentityFile, IdentityFileError, ReadIdentityError, read_identity},
};
pub(crate) use self::{
    listener::ListenerCertificate,
    record::{CertificateRecord, NotAdmitted, Purpose},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How long the authority's own certificate is valid.
const AUTHORITY_DAYS: i64 = 30 * 365;

/// How much earlier than it was made a certificate is valid: clocks differ.
const SKEW_MS: i64 = 60 * 60 * 1000;

/// The longest name in a certificate (RFC 5280, upper bound of a common name).
const NAME_LEN: usize = 64;

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A certificate cannot be made.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// What is kept of the authority is not what was written.
    #[error("the certificate authority is damaged")]
    Damaged,
    /// The name does not fit into a certificate.
    #[error("a name in a certificate has at most {NAME_LEN} bytes")]
    LongName,
    /// The public key is none.
    #[error("not a public key of P-256")]
    PublicKey,
}

/// A server's certificate authority, unsealed.
pub(crate) struct Authority {
    params: CertificateParams,
    key: Zeroizing<KeyPair>,
    certificate: CertificateDer<'static>,
}

/// What is sealed in the database.
#[derive(Encode, Decode)]
struct Kept {
    #[cbor(n(0), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    certificate: Vec<u8>,
}

/// A public key of P-256, as a point: 65 bytes.
struct Point<'k>(&'k [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// The authority that the database has, or a new one where it has none.
    pub(crate) async fn of(
        store: &Store,
        kss_id: &KssId,
        now: UnixMillis,
    ) -> Result<Self, AuthorityError> {
        if let Some(kept) = store.authority().await? {
            return Self::open(&kept, kss_id);
        }
        let made = Self::make(kss_id, now)?;
        let mut tx = store.begin().await?;
        tx.insert_authority(&made).await?;
        tx.commit().await?;
        // Another process may have been faster: whatever is kept counts.
        let kept = store.authority().await?.ok_or(AuthorityError::Damaged)?;
        Self::open(&kept, kss_id)
    }

    fn make(kss_id: &KssId, now: UnixMillis) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        let key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        let mut params = params_of(kss_id);
        set_validity(&mut params, now, AUTHORITY_DAYS);
        params.serial_number = Some(serial(&new_id()?));
        let certificate = params.self_signed(&*key)?;
        let kept = Kept {
            key: key.serialize_der(),
            certificate: certificate.der().to_vec(),
        };
        let encoded = Zeroizing::new(canonical::encode(&kept));
        drop(Zeroizing::new(kept.key));
        Ok(encoded)
    }

    fn open(kept: &[u8], kss_id: &KssId) -> Result<Self, AuthorityError> {
        let kept: Kept = canonical::decode(kept).map_err(|_| AuthorityError::Damaged)?;
        let der = Zeroizing::new(kept.key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(der.as_slice()),
            &PKCS_ECDSA_P256_SHA256,
        )?;
        Ok(Self {
            params: params_of(kss_id),
            key: Zeroizing::new(key),
            certificate: kept.certificate.into(),
        })
    }

    /// An issuer is known by its name and its key: both are as when its certificate was made.
    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Issues a certificate for whoever has the private half of a public key, for `days` days.
    pub(crate) fn issue(
        &self,
        name: Name,
        purpose: Purpose,
        public_key: &[u8],
        days: u16,
        now: UnixMillis,
    ) -> Result<(CertificateRow, CertificateRecord, CertificateDer<'static>), AuthorityError> {
        if name.as_str().len() > NAME_LEN {
            return Err(AuthorityError::LongName);
        }
        // An uncompressed point. That it is on the curve shows when its owner signs.
        if public_key.len() != 65 || public_key.first() != Some(&4) {
            return Err(AuthorityError::PublicKey);
        }
        let id = new_id()?;
        let days = i64::from(days);
        let mut params = leaf(name.as_str(), ExtendedKeyUsagePurpose::ClientAuth);
        set_validity(&mut params, now, days);
        params.serial_number = Some(serial(&id));
        let certificate = params.signed_by(&Point(public_key), &self.issuer())?;
        let record = CertificateRecord {
            name,
            purpose,
            issued_at: now,
            expires_at: now.plus(days * DAY_MS),
            revoked_at: None,
        };
        let row = CertificateRow {
            id,
            fingerprint: fingerprint(certificate.der()),
            record: record.to_bytes(),
        };
        Ok((row, record, certificate.der().clone()))
    }

    /// Makes a key and a certificate for the administration listener, under these names.
    fn for_listener(
        &self,
        names: &[String],
        days: i64,
        now: UnixMillis,
    ) -> Result<(KeyPair, CertificateDer<'static>), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let first = names.first().map_or("keyserver", String::as_str);
        let mut params = leaf(first, ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names = CertificateParams::new(names.to_vec())?.subject_alt_names;
        set_validity(&mut params, now, days);
        params.serial_number = Some(serial(&new_id()?));
        let certificate = params.signed_by(&key, &self.issuer())?;
        Ok((key, certificate.der().clone()))
    }

    /// Looks up whether who shows this certificate is to be heard, for `purpose`, now.
    pub(crate) async fn admit(
        store: &Store,
        certificate: &[u8],
        purpose: Purpose,
        now: UnixMillis,
    ) -> Result<CertificateId, NotAdmitted> {
        let row = store.certificate(&fingerprint(certificate)).await?;
        let row = row.ok_or(NotAdmitted::Unknown)?;
        CertificateRecord::of(&row)?.check(purpose, now)?;
        Ok(row.id)
    }
}

fn fingerprint(certificate: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(certificate).into())
}

/// A serial number: positive, and never shorter than others.
fn new_id() -> Result<CertificateId, RandomError> {
    let mut bytes: [u8; CertificateId::LEN] = random::array()?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(CertificateId::from_bytes(bytes))
}

fn serial(id: &CertificateId) -> SerialNumber {
    SerialNumber::from_slice(id.as_bytes())
}

fn params_of(kss_id: &KssId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, kss_id.to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn set_validity(params: &mut CertificateParams, now: UnixMillis, days: i64) {
    let at = |instant: UnixMillis| {
        let millis = u64::try_from(instant.0).unwrap_or(0);
        date_time_ymd(1970, 1, 1) + Duration::from_millis(millis)
    };
    params.not_before = at(now.plus(-SKEW_MS));
    params.not_after = at(now.plus(days * DAY_MS));
}

#[cfg(test)]
mod tests;
