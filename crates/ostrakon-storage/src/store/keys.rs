use std::collections::BTreeMap;

use ostrakon_shards::{
    chain_key::ChainKey,
    record::{RecordKey, SealRecordError, open_record, seal_record, seal_records},
};
use zeroize::Zeroizing;

use super::{changes::lock_changes, settings::Setting};
use crate::{
    InstanceId, ProtectorKey, StoreError,
    engine::{Conn, Db},
};

const TABLE: &str = "settings";
const CANARY: &[u8] = b"ostrakon canary 1";

/// The unwrapped keys of a database.
pub(super) struct Keys {
    /// Seals columns.
    data: RecordKey,
    /// Authenticates columns that are not sealed.
    rows: ChainKey,
    /// The data key as the database has it: tells these keys from others.
    wrapped: Vec<u8>,
}

/// The length of an authenticator.
const MAC_LEN: usize = 32;

impl Keys {
    /// Draws the keys of a new database and stores them, each wrapped under the one above. Keys without a
    /// server are what an interrupted making has left, and give way.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the database has a server already, and when it fails.
    pub(super) async fn create(db: &Db, protector: &ProtectorKey) -> Result<Self, StoreError> {
        let root = RecordKey::generate().map_err(SealRecordError::from)?;
        let data = RecordKey::generate().map_err(SealRecordError::from)?;
        let sealed = seal(&root, "data_key", data.to_bytes().as_ref())?;
        let values = [
            ("canary".to_owned(), seal(&root, "canary", CANARY)?),
            ("data_key".to_owned(), sealed.clone()),
        ];
        let wrapped = wrapped(db.is_shared(), protector, &root)?;
        let values = values.into_iter().chain(wrapped);
        match in_transaction(db, async |conn| begin(conn, values).await).await {
            Ok(()) => Ok(Self::of(data, sealed)),
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
        let wrapped = wrapped(db.is_shared(), protector, root)?;
        let joined = in_transaction(db, async |conn| {
            // Who is let in after the state was moved would serve an old one.
            lock_changes(conn, &keys).await?;
            write(conn, wrapped).await
        });
        match joined.await {
            // It was let in before.
            Ok(()) | Err(StoreError::Taken(_)) => Ok(keys),
            Err(error) => Err(error),
        }
    }

    /// Takes away what lets an instance use the shared database.
    pub(super) async fn part(db: &Db, instance: InstanceId) -> Result<(), StoreError> {
        let mut conn = db.writer().await?;
        for name in names(db.is_shared(), instance) {
            conn.query("DELETE FROM settings WHERE name = ?")
                .bind(name)
                .execute(&mut conn)
                .await?;
        }
        Ok(())
    }

    /// The root key, to go into a backup file.
    pub(super) async fn root(db: &Db, protector: &ProtectorKey) -> Result<RecordKey, StoreError> {
        let [fingerprint, name] = names(db.is_shared(), protector.instance());
        let fingerprint = setting(db, &fingerprint).await?;
        let wrapped = setting(db, &name).await?;
        root_of(fingerprint, wrapped, &name, db.is_shared(), protector)
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
        let key = as_key(&open(root, "data_key", &data)?, "data_key")?;
        Ok(Self::of(key, data))
    }

    /// Stores the root key for this instance in a copy, under the names that its kind of database has.
    pub(super) async fn rewrap(
        from: &Db,
        to: &Db,
        protector: &ProtectorKey,
    ) -> Result<(), StoreError> {
        let root = Self::root(from, protector).await?;
        let wrapped = wrapped(to.is_shared(), protector, &root)?;
        in_transaction(to, async |conn| write(conn, wrapped).await).await
    }

    /// What lets the instances that a dump names use a database that is made of it: all of them, where it is
    /// shared as theirs was, or else the instance with this key alone. The keys are seen to open.
    pub(super) fn carried(
        settings: &BTreeMap<String, Vec<u8>>,
        protector: &ProtectorKey,
        shared: bool,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let was_shared = !settings.contains_key("root_key");
        let of = |name: &str| settings.get(name).cloned();
        let [fingerprint, wrapped_name] = names(was_shared, protector.instance());
        let (fingerprint, wrapped_key) = (of(&fingerprint), of(&wrapped_name));
        let root = root_of(
            fingerprint,
            wrapped_key,
            &wrapped_name,
            was_shared,
            protector,
        )?;
        let canary = of("canary").ok_or(StoreError::Missing)?;
        let opened = open(&root, "canary", &canary)?;
        if *opened != CANARY {
            return Err(corrupt("canary"));
        }
        if !(shared && was_shared) {
            return Ok(wrapped(shared, protector, &root)?.to_vec());
        }
        let all = settings
            .iter()
            .filter(|(name, _)| Self::is_of_an_instance(name));
        Ok(all
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect())
    }

    /// Whether a setting of this name lets one instance open the database.
    pub(super) fn is_of_an_instance(name: &str) -> bool {
        ["protector", "root_key"].iter().any(|of| {
            name.strip_prefix(of)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" of "))
        })
    }

    /// The instances that were let into a database, where each has a setting of its own.
    pub(super) async fn instances(conn: &mut Conn) -> Result<Vec<InstanceId>, StoreError> {
        let query = conn.query("SELECT name FROM settings WHERE name LIKE 'root_key of %'");
        let rows = query.fetch_all(conn).await?;
        let mut instances = Vec::with_capacity(rows.len());
        for row in rows {
            let name: &str = row.try_get("name")?;
            let mut id = [0; 16];
            let hex = name.strip_prefix("root_key of ").unwrap_or_default();
            hex::decode_to_slice(hex, &mut id).map_err(|_| corrupt("name"))?;
            instances.push(InstanceId::from_bytes(id));
        }
        Ok(instances)
    }

    /// Fails where these keys are not the database's any more, since another server is being made in it. They
    /// stay until the transaction ends.
    pub(super) async fn hold(&self, conn: &mut Conn) -> Result<(), StoreError> {
        let query = conn.query("UPDATE settings SET value = value WHERE name = 'data_key'");
        query.execute(conn).await?;
        let query = conn.query("SELECT value FROM settings WHERE name = 'data_key'");
        let row = query.fetch_optional(conn).await?;
        let stored: Option<Vec<u8>> = row.map(|row| row.try_get("value")).transpose()?;
        match stored {
            Some(stored) if stored == self.wrapped => Ok(()),
            _ => Err(StoreError::Exists),
        }
    }

    fn of(data: RecordKey, wrapped: Vec<u8>) -> Self {
        let rows = data.derive_chain_key("rows");
        Self {
            data,
            rows,
            wrapped,
        }
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
fn names(shared: bool, instance: InstanceId) -> [String; 2] {
    ["protector", "root_key"].map(|name| {
        if shared {
            format!("{name} of {instance}")
        } else {
            name.to_owned()
        }
    })
}

/// Unwraps the root key, which an instance has in the setting `name`, where `fingerprint` says that it is for
/// this key.
fn root_of(
    fingerprint: Option<Vec<u8>>,
    wrapped: Option<Vec<u8>>,
    name: &str,
    shared: bool,
    protector: &ProtectorKey,
) -> Result<RecordKey, StoreError> {
    match fingerprint {
        Some(fingerprint) if fingerprint == protector.fingerprint() => {}
        None if shared => return Err(StoreError::NotJoined),
        None => return Err(corrupt("protector")),
        Some(_) => return Err(StoreError::WrongRootKey),
    }
    let wrapped = wrapped.ok_or_else(|| corrupt("root_key"))?;
    let opened = open_record(protector.key(), TABLE, "value", name.as_bytes(), &wrapped);
    as_key(&opened.map_err(|_| corrupt("root_key"))?, "root_key")
}

/// What lets an instance open the database.
fn wrapped(
    shared: bool,
    protector: &ProtectorKey,
    root: &RecordKey,
) -> Result<[(String, Vec<u8>); 2], StoreError> {
    let [fingerprint, wrapped] = names(shared, protector.instance());
    let place = wrapped.as_bytes();
    let root = root.to_bytes();
    let sealed = seal_record(protector.key(), TABLE, "value", place, root.as_ref())?;
    Ok([
        (fingerprint, protector.fingerprint().to_vec()),
        (wrapped, sealed),
    ])
}

/// Runs an act in a transaction of its own.
async fn in_transaction(
    db: &Db,
    act: impl AsyncFnOnce(&mut Conn) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut conn = db.writer().await?;
    let done = async {
        conn.begin().await?;
        act(&mut conn).await?;
        conn.commit().await
    };
    let done = done.await;
    if done.is_err() {
        conn.close_on_drop();
    }
    done
}

/// Stores the keys of a server that is to be made, in place of those of one that never was.
async fn begin(
    conn: &mut Conn,
    values: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<(), StoreError> {
    if Setting::Copying.read(conn).await?.is_some() {
        return Err(StoreError::Unfinished);
    }
    if has_server(conn).await? {
        return Err(StoreError::Exists);
    }
    // Who finishes such a making holds these rows: it is waited for, and then looked at again.
    let query = conn.query("DELETE FROM settings");
    query.execute(conn).await?;
    if has_server(conn).await? {
        return Err(StoreError::Exists);
    }
    write(conn, values).await
}

async fn has_server(conn: &mut Conn) -> Result<bool, StoreError> {
    let query = conn.query("SELECT 1 AS one FROM server");
    Ok(query.fetch_optional(conn).await?.is_some())
}

async fn write(
    conn: &mut Conn,
    values: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<(), StoreError> {
    for (name, value) in values {
        conn.query("INSERT INTO settings (name, value) VALUES (?, ?)")
            .bind(name)
            .bind(value)
            .execute(conn)
            .await?;
    }
    Ok(())
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
