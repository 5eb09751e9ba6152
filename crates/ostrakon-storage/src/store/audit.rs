use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray};
use zeroize::Zeroizing;

use super::{Store, Transaction, rows::Rows};
use crate::{
    StoreError,
    engine::{Bound, Conn, Row},
};

const RECORD: (&str, &str) = ("audit", "sealed");

static APPEND: Rows = Rows::new(
    "INSERT INTO audit (instance, sequence, sealed, mac) VALUES ",
    "(?, ?, ?, ?)",
    "",
);

/// Names one instance of a server; each has an audit chain of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId([u8; 16]);

impl InstanceId {
    pub(crate) const NONE: Self = Self([0; 16]);

    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl<C> Encode<C> for InstanceId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for InstanceId {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        ByteArray::<16>::decode(d, ctx).map(|bytes| Self(bytes.into()))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

/// The newest link of an instance's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number, from 1; 0 when the chain is empty.
    pub sequence: u64,
    /// Its authenticator; zeros when the chain is empty.
    pub mac: [u8; 32],
}

impl AuditHead {
    /// Before the first link.
    pub const EMPTY: Self = Self {
        sequence: 0,
        mac: [0; 32],
    };
}

/// One link of an instance's chain.
pub struct AuditRow {
    /// Its number, from 1.
    pub sequence: u64,
    /// The record as the database holds it: what the authenticator covers.
    pub sealed: Vec<u8>,
    /// Its authenticator.
    pub mac: Vec<u8>,
}

impl Store {
    /// Seals audit records for their places in the chain, of which `first` is the first one's.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn seal_audit(
        &self,
        instance: InstanceId,
        first: u64,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let rows = (first..).map(|sequence| audit_row(instance, sequence));
        let records: Vec<_> = rows.zip(records).collect();
        self.keys.seal_many(RECORD, &records)
    }

    /// Opens an audit record.
    ///
    /// # Errors
    /// When it was damaged, or moved from another place.
    pub fn open_audit(
        &self,
        instance: InstanceId,
        row: &AuditRow,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.keys
            .open(RECORD, &audit_row(instance, row.sequence), &row.sealed)
    }

    /// The newest link of the instance's chain.
    ///
    /// # Errors
    /// When the database fails or the row is damaged.
    pub async fn audit_head(&self, instance: InstanceId) -> Result<AuditHead, StoreError> {
        head_of(&mut self.db.writer().await?, instance).await
    }

    /// At most `count` links of the instance's chain from number `from` on, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_page(
        &self,
        instance: InstanceId,
        from: u64,
        count: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        audit_page(&mut self.db.reader().await?, instance, from, count).await
    }
}

/// The newest link of the instance's chain.
pub(super) async fn head_of(
    conn: &mut Conn,
    instance: InstanceId,
) -> Result<AuditHead, StoreError> {
    let row = conn
        .query("SELECT sequence, mac FROM audit WHERE instance = ? ORDER BY sequence DESC LIMIT 1")
        .bind(instance.as_bytes().as_slice())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else {
        return Ok(AuditHead::EMPTY);
    };
    let mac = row.try_get::<&[u8]>("mac")?;
    let mac = mac.try_into().map_err(|_| corrupt("mac"))?;
    Ok(AuditHead {
        sequence: sequence(row.try_get("sequence")?)?,
        mac,
    })
}

/// At most `count` links of the instance's chain from number `from` on, in order.
pub(super) async fn audit_page(
    conn: &mut Conn,
    instance: InstanceId,
    from: u64,
    count: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    let rows = conn
        .query(
            "SELECT sequence, sealed, mac FROM audit WHERE instance = ? AND sequence >= ?
         ORDER BY sequence LIMIT ?",
        )
        .bind(instance.as_bytes().as_slice())
        .bind(i64::try_from(from).unwrap_or(i64::MAX))
        .bind(i64::from(count))
        .fetch_all(conn)
        .await?;
    rows.iter().map(audit_row_of).collect()
}

pub(super) fn audit_row_of(row: &Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        sequence: sequence(row.try_get("sequence")?)?,
        sealed: row.try_get("sealed")?,
        mac: row.try_get("mac")?,
    })
}

impl Transaction<'_> {
    /// Appends links to the instance's chain.
    ///
    /// # Errors
    /// When a number is taken, or the database fails.
    pub async fn append_audit(
        &mut self,
        instance: InstanceId,
        rows: Vec<AuditRow>,
    ) -> Result<(), StoreError> {
        let bind = |query: Bound, row: AuditRow| {
            query
                .bind(instance.as_bytes().as_slice())
                .bind(i64::try_from(row.sequence).unwrap_or(i64::MAX))
                .bind(row.sealed)
                .bind(row.mac)
        };
        for query in APPEND.over(self.tx.kind(), rows.into_iter(), bind) {
            query.execute(&mut self.tx).await?;
        }
        Ok(())
    }
}

fn audit_row(instance: InstanceId, sequence: u64) -> [u8; 24] {
    let mut row = [0; 24];
    let (of, number) = row.split_at_mut(16);
    of.copy_from_slice(instance.as_bytes());
    number.copy_from_slice(&sequence.to_be_bytes());
    row
}

fn sequence(number: i64) -> Result<u64, StoreError> {
    number.try_into().map_err(|_| corrupt("sequence"))
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: "audit",
        column,
    }
}
