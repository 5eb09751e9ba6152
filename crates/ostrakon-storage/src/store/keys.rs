use ostrakon_shards::{
    chain_key::ChainKey,
    record::{RecordKey, SealRecordError, open_record, seal_record, seal_records},
};
use zeroize::Zeroizing;

use crate::{InstanceId, ProtectorKey, StoreError, engine::Db};

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
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the database has keys already, and when it fails.
    pub(super) async fn create(db: &Db, protector: &ProtectorKey) -> Result<Self, StoreError> {
        let root = RecordKey::generate().map_err(SealRecordError::from)?;
        let data = RecordKey::generate().map_err(SealRecordError::from)?;
        let values = [
            ("canary".to_owned(), seal(&root, "canary", CANARY)?),
            (
                "data_key".to_owned(),
                seal(&root, "data_key", data.to_bytes().as_ref())?,
            ),
        ];
        let wrapped = wrapped(db, protector, &root)?;
        match write(db, values.into_iter().chain(wrapped)).await {
            Ok(()) => Ok(Self::of(data)),
            Err(StoreError::Taken(_)) => Err(StoreError::Exists),
            Err(error) => Err(error),
        }
    }

    /// Lets an instance that has the root key use the shared database from now on.
    ///
    /// # Errors
    /// [`StoreError::WrongRootKey`] when the root key is another database's, and when the database fails.
    pub(super) async fn join(
        db: &Db,
        protector: &ProtectorKey,
        root: &RecordKey,
    ) -> Result<Self, StoreError> {
        let keys = Self::under(db, root).await?;
        match write(db, wrapped(db, protector, root)?).await {
            // It was let in before.
            Ok(()) | Err(StoreError::Taken(_)) => Ok(keys),
            Err(error) => Err(error),
        }
    }

    /// Takes away what lets an instance use the shared database.
    pub(super) async fn part(db: &Db, instance: InstanceId) -> Result<(), StoreError> {
        let mut conn = db.writer().await?;
        for name in names(db, instance) {
            conn.query("DELETE FROM settings WHERE name = ?")
                .bind(name)
                .execute(&mut conn)
                .await?;
        }
        Ok(())
    }

    /// The root key, to go into a backup file.
    pub(super) async fn root(db: &Db, protector: &ProtectorKey) -> Result<RecordKey, StoreError> {
        let [fingerprint, wrapped] = names(db, protector.instance());
        match setting(db, &fingerprint).await? {
            Some(fingerprint) if fingerprint == protector.fingerprint() => {}
            None if db.is_shared() => return Err(StoreError::NotJoined),
            None => return Err(corrupt("protector")),
            Some(_) => return Err(StoreError::WrongRootKey),
        }
        let stored = setting(db, &wrapped).await?;
        let stored = stored.ok_or_else(|| corrupt("root_key"))?;
        let place = wrapped.as_bytes();
        let opened = open_record(protector.key(), TABLE, "value", place, &stored);
        as_key(&opened.map_err(|_| corrupt("root_key"))?, "root_key")
    }

    /// Unwraps the keys. The fingerprint and the canary tell a wrong key from damage.
    pub(super) async fn load(db: &Db, protector: &ProtectorKey) -> Result<Self, StoreError> {
        let root = Self::root(db, protector).await?;
        match Self::under(db, &root).await {
            Err(StoreError::WrongRootKey) => Err(corrupt("canary")),
            keys => keys,
        }
    }

    /// Unwraps what the root key wraps.
    async fn under(db: &Db, root: &RecordKey) -> Result<Self, StoreError> {
        let canary = setting(db, "canary").await?.ok_or(StoreError::Missing)?;
        let canary = open(root, "canary", &canary).map_err(|_| StoreError::WrongRootKey)?;
        if *canary != CANARY {
            return Err(corrupt("canary"));
        }
        let data = setting(db, "data_key").await?;
        let data = data.ok_or_else(|| corrupt("data_key"))?;
        let data = as_key(&open(root, "data_key", &data)?, "data_key")?;
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

fn as_key(bytes: &[u8], name: &'static str) -> Result<RecordKey, StoreError> {
    let bytes = bytes.try_into().map_err(|_| corrupt(name))?;
    Ok(RecordKey::from_bytes(bytes))
}

/// The settings in which an instance's wrapped root key is found: which key wraps it, and the wrapped key.
/// Where instances share a database, each has its own.
fn names(db: &Db, instance: InstanceId) -> [String; 2] {
    ["protector", "root_key"].map(|name| {
        if db.is_shared() {
            format!("{name} of {instance}")
        } else {
            name.to_owned()
        }
    })
}

/// What lets an instance open the database.
fn wrapped(
    db: &Db,
    protector: &ProtectorKey,
    root: &RecordKey,
) -> Result<[(String, Vec<u8>); 2], StoreError> {
    let [fingerprint, wrapped] = names(db, protector.instance());
    let place = wrapped.as_bytes();
    let root = root.to_bytes();
    let sealed = seal_record(protector.key(), TABLE, "value", place, root.as_ref())?;
    Ok([
        (fingerprint, protector.fingerprint().to_vec()),
        (wrapped, sealed),
    ])
}

async fn write(
    db: &Db,
    values: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<(), StoreError> {
    let mut conn = db.writer().await?;
    let written = async {
        conn.begin().await?;
        for (name, value) in values {
            conn.query("INSERT INTO settings (name, value) VALUES (?, ?)")
                .bind(name)
                .bind(value)
                .execute(&mut conn)
                .await?;
        }
        conn.commit().await
    };
    let written = written.await;
    if written.is_err() {
        conn.close_on_drop();
    }
    written
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: TABLE,
        column,
    }
}

async fn setting(db: &Db, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = db
        .query("SELECT value FROM settings WHERE name = ?")
        .bind(name)
        .fetch_optional(&mut db.writer().await?)
        .await?;
    Ok(row.map(|row| row.try_get("value")).transpose()?)
}
