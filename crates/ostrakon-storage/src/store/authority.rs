use ostrakon_types::{CertificateId, Digest};
use zeroize::Zeroizing;

use super::{Store, Transaction};
use crate::{
    StoreError,
    engine::{Row, or_nothing},
};

const AUTHORITY: (&str, &str) = ("authority", "sealed");
const CERTIFICATES: (&str, &str) = ("certificates", "sealed");

/// A certificate that was issued, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// Its serial number.
    pub id: CertificateId,
    /// The SHA-256 of it.
    pub fingerprint: Digest,
    /// What is known of it. It is sealed, and bound to both.
    pub record: Vec<u8>,
}

impl CertificateRow {
    fn place(id: &CertificateId, fingerprint: &Digest) -> Vec<u8> {
        [id.as_bytes().as_slice(), fingerprint.as_bytes()].concat()
    }

    fn from_row(store: &Store, row: &Row) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt {
            table: CERTIFICATES.0,
            column: CERTIFICATES.1,
        };
        let id = row.try_get::<&[u8]>("certificate")?;
        let id = CertificateId::try_from(id).map_err(corrupt)?;
        let fingerprint = row.try_get::<&[u8]>("fingerprint")?;
        let fingerprint = Digest::try_from(fingerprint).map_err(corrupt)?;
        let place = Self::place(&id, &fingerprint);
        let opened = store
            .keys
            .open(CERTIFICATES, &place, row.try_get("sealed")?)?;
        Ok(Self {
            id,
            fingerprint,
            record: opened.to_vec(),
        })
    }
}

impl Store {
    /// The certificate authority's secrets, if there is one.
    ///
    /// # Errors
    /// When the database fails, or they do not open.
    pub async fn authority(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let row = self
            .db
            .query("SELECT sealed FROM authority")
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
        self.keys
            .open(AUTHORITY, &[1], row.try_get("sealed")?)
            .map(Some)
    }

    /// The certificate with this fingerprint, if it was issued here.
    ///
    /// # Errors
    /// When the database fails, or the row is not what the server wrote.
    pub async fn certificate(
        &self,
        fingerprint: &Digest,
    ) -> Result<Option<CertificateRow>, StoreError> {
        let row = self
            .db
            .query(
                "SELECT certificate, fingerprint, sealed FROM certificates WHERE fingerprint = ?",
            )
            .bind(fingerprint.as_bytes().as_slice())
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        row.map(|row| CertificateRow::from_row(self, &row))
            .transpose()
    }

    /// All certificates that were issued.
    ///
    /// # Errors
    /// When the database fails, or a row is not what the server wrote.
    pub async fn certificates(&self) -> Result<Vec<CertificateRow>, StoreError> {
        let rows = self
            .db
            .query("SELECT certificate, fingerprint, sealed FROM certificates")
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter()
            .map(|row| CertificateRow::from_row(self, row))
            .collect()
    }
}

impl Transaction<'_> {
    /// Keeps the secrets of a certificate authority, unless there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_authority(&mut self, secrets: &[u8]) -> Result<(), StoreError> {
        let sealed = self.store.keys.seal(AUTHORITY, &[1], secrets)?;
        let text = or_nothing!("INSERT INTO authority (id, sealed) VALUES (1, ?)");
        self.tx
            .query(text)
            .bind(sealed.as_slice())
            .add(&mut self.tx)
            .await?;
        Ok(())
    }

    /// Keeps what is known of a certificate now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_certificate(&mut self, row: &CertificateRow) -> Result<(), StoreError> {
        let (id, fingerprint) = (row.id.as_bytes(), row.fingerprint.as_bytes());
        let place = CertificateRow::place(&row.id, &row.fingerprint);
        let sealed = self.store.keys.seal(CERTIFICATES, &place, &row.record)?;
        let updated = self
            .tx
            .query("UPDATE certificates SET sealed = ? WHERE certificate = ?")
            .bind(sealed.as_slice())
            .bind(id.as_slice())
            .execute(&mut self.tx)
            .await?;
        if updated == 0 {
            self.tx
                .query(
                    "INSERT INTO certificates (certificate, fingerprint, sealed) VALUES (?, ?, ?)",
                )
                .bind(id.as_slice())
                .bind(fingerprint.as_slice())
                .bind(sealed.as_slice())
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }
}
