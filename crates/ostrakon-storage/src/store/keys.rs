use ostrakon_shards::{
    chain_key::ChainKey,
    record::{RecordKey, SealRecordError, open_record, seal_record, seal_records},
};
use sqlx::Row as _;
use zeroize::Zeroizing;

use crate::{ProtectorKey, StoreError, sqlite::Sqlite};

const TABLE: &str = "settings";
const CANARY: &[u8] = b"ostrakon canary 1";

/// The unwrapped keys of a database.
pub(super) struct Keys {
    /// Seals columns.
    data: RecordKey,
    /// Authenticates columns that are not sealed.
    rows: ChainKey,
}

/// The length of an authenticator.
const MAC_LEN: usize = 32;

impl Keys {
    /// Draws the keys of a new database and stores them, each wrapped under the one above.
    pub(super) async fn create(db: &Sqlite, protector: &ProtectorKey) -> Result<Self, StoreError> {
        let root = RecordKey::generate().map_err(SealRecordError::from)?;
        let data = RecordKey::generate().map_err(SealRecordError::from)?;
        let values = [
            ("protector", protector.fingerprint().to_vec()),
            (
                "root_key",
                seal(protector.key(), "root_key", root.to_bytes().as_ref())?,
            ),
            ("canary", seal(&root, "canary", CANARY)?),
            (
                "data_key",
                seal(&root, "data_key", data.to_bytes().as_ref())?,
            ),
        ];
        let mut tx = db.writer.begin().await?;
        for (name, value) in values {
            sqlx::query("INSERT INTO settings (name, value) VALUES (?, ?)")
                .bind(name)
                .bind(value)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(Self::of(data))
    }

    /// The root key, to go into a backup file.
    pub(super) async fn root(
        db: &Sqlite,
        protector: &ProtectorKey,
    ) -> Result<RecordKey, StoreError> {
        if setting(db, "protector").await? != protector.fingerprint() {
            return Err(StoreError::WrongRootKey);
        }
        key(protector.key(), "root_key", &setting(db, "root_key").await?)
    }

    /// Unwraps the keys. The fingerprint and the canary tell a wrong key from damage.
    pub(super) async fn load(db: &Sqlite, protector: &ProtectorKey) -> Result<Self, StoreError> {
        let root = Self::root(db, protector).await?;
        let canary = open(&root, "canary", &setting(db, "canary").await?)?;
        if *canary != CANARY {
            return Err(corrupt("canary"));
        }
        let data = key(&root, "data_key", &setting(db, "data_key").await?)?;
        Ok(Self::of(data))
    }

    fn of(data: RecordKey) -> Self {
        let rows = data.derive_chain_key("rows");
        Self { data, rows }
    }

    /// Puts an authenticator behind a column's value, bound to its table, column and row.
    pub(super) fn authenticate(
        &self,
        (table, column): (&'static str, &'static str),
        row: &[&[u8]; 3],
        mut value: Vec<u8>,
    ) -> Vec<u8> {
        let [first, second, third] = *row;
        let parts = [
            table.as_bytes(),
            column.as_bytes(),
            first,
            second,
            third,
            &value,
        ];
        let mac = self.rows.mac(&parts);
        value.extend_from_slice(&mac);
        value
    }

    /// The value behind which [`Keys::authenticate`] put an authenticator for the same place.
    pub(super) fn authenticated<'v>(
        &self,
        (table, column): (&'static str, &'static str),
        row: &[&[u8]; 3],
        stored: &'v [u8],
    ) -> Result<&'v [u8], StoreError> {
        let corrupt = || StoreError::Corrupt { table, column };
        let (value, mac) = stored.split_last_chunk::<MAC_LEN>().ok_or_else(corrupt)?;
        let [first, second, third] = *row;
        let parts = [
            table.as_bytes(),
            column.as_bytes(),
            first,
            second,
            third,
            value,
        ];
        let genuine = self.rows.verify(&parts, mac);
        genuine.map_err(|_| corrupt()).map(|()| value)
    }

    /// Seals a column's value, bound to its table, column and row.
    pub(super) fn seal(
        &self,
        (table, column): (&'static str, &'static str),
        row: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        Ok(seal_record(&self.data, table, column, row, plaintext)?)
    }

    /// Seals the values of many rows of a column, as [`Keys::seal`] does one.
    pub(super) fn seal_many(
        &self,
        (table, column): (&'static str, &'static str),
        records: &[(impl AsRef<[u8]>, Vec<u8>)],
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(seal_records(&self.data, table, column, records)?)
    }

    /// Opens what [`Keys::seal`] made for the same place.
    pub(super) fn open(
        &self,
        (table, column): (&'static str, &'static str),
        row: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let corrupt = |_| StoreError::Corrupt { table, column };
        open_record(&self.data, table, column, row, sealed).map_err(corrupt)
    }
}

fn seal(key: &RecordKey, name: &'static str, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
    Ok(seal_record(
        key,
        TABLE,
        "value",
        name.as_bytes(),
        plaintext,
    )?)
}

fn open(
    key: &RecordKey,
    name: &'static str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    open_record(key, TABLE, "value", name.as_bytes(), sealed).map_err(|_| corrupt(name))
}

fn key(wrapping: &RecordKey, name: &'static str, sealed: &[u8]) -> Result<RecordKey, StoreError> {
    let bytes = open(wrapping, name, sealed)?;
    let bytes = bytes.as_slice().try_into().map_err(|_| corrupt(name))?;
    Ok(RecordKey::from_bytes(bytes))
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: TABLE,
        column,
    }
}

async fn setting(db: &Sqlite, name: &'static str) -> Result<Vec<u8>, StoreError> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = ?")
        .bind(name)
        .fetch_optional(&db.writer)
        .await?;
    match row {
        Some(row) => Ok(row.try_get("value")?),
        None => Err(corrupt(name)),
    }
}
