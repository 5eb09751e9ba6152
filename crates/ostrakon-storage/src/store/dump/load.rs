use std::collections::BTreeMap;

use super::Rows;
use crate::{
    Place, ProtectorKey, StoreError,
    engine::{Conn, Db},
    store::{
        copy::{
            rows,
            tables::{SETTINGS, TABLES, Table},
        },
        instances::instances_in,
        keys::Keys,
    },
};

/// More settings than a cluster of any size has.
const MOST_SETTINGS: usize = 100_000;

/// A database that is being made from the parts of a dump. In a shared one nothing of it is there before
/// [`Load::finish`], and where that is not reached, what was there before stays. A file is worth nothing
/// before.
pub struct Load {
    db: Db,
    tx: Conn,
    /// What the settings are, to see that the keys open what they should.
    settings: BTreeMap<String, Vec<u8>>,
}

/// Why a dump did not become a database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something in it.
    #[error("the database is not empty")]
    NotEmpty,
    /// An instance uses it.
    #[error("an instance is online: `{0}`")]
    Online(String),
    /// It has more settings than any server.
    #[error("the dump has more settings than a server has")]
    Settings,
    /// The dump has no way for this instance to open what is in it.
    #[error("the dump is not one of this instance, which cannot open it")]
    NotOpened(#[source] StoreError),
}

impl Load {
    /// Begins to make the database at `place`: a new file, or a shared database that is empty, or, with
    /// `replace`, loses what it has.
    ///
    /// # Errors
    /// When it is not empty, an instance uses it, or it fails.
    pub async fn into(place: &Place, replace: bool) -> Result<Self, LoadError> {
        let db = match place {
            Place::File(path) => Db::create_file(path).await?,
            Place::Shared(uri) => Db::connect(uri).await?,
        };
        let begun = async {
            let mut tx = db.writer().await?;
            tx.begin().await?;
            let ready = ready(&db, &mut tx, replace).await;
            if ready.is_err() {
                tx.close_on_drop();
            }
            ready.map(|()| tx)
        };
        match begun.await {
            Ok(tx) => Ok(Self {
                db,
                tx,
                settings: BTreeMap::new(),
            }),
            Err(error) => {
                db.close().await;
                Err(error)
            }
        }
    }

    /// Takes the rows of a part, in the order of the dump.
    ///
    /// # Errors
    /// When they are not what a dump has, or the database fails.
    pub async fn add(&mut self, rows: Rows) -> Result<(), LoadError> {
        let Rows { table, mut records } = rows;
        if table.name == SETTINGS {
            self.note_settings(&table, &records)?;
            records.retain(|record| !record.setting(&table).is_some_and(Keys::is_of_an_instance));
        }
        if table.only_shared && !self.db.is_shared() {
            return Ok(());
        }
        rows::insert(&mut self.tx, &table, &records).await?;
        if !self.db.is_shared() {
            // Its log would grow to the size of all.
            self.tx.commit().await?;
            self.tx.begin().await?;
        }
        Ok(())
    }

    fn note_settings(&mut self, table: &Table, records: &[rows::Record]) -> Result<(), LoadError> {
        for record in records {
            if let (Some(name), Some(rows::Value::Bytes(Some(value)))) =
                (record.setting(table), record.0.get(1))
            {
                self.settings.insert(name.to_owned(), value.clone());
            }
        }
        if self.settings.len() > MOST_SETTINGS {
            return Err(LoadError::Settings);
        }
        Ok(())
    }

    /// Sees that the instance with this key can open what was loaded, lets it in, and makes the database what
    /// was loaded, at once.
    ///
    /// # Errors
    /// When it cannot, or the database fails.
    pub async fn finish(mut self, protector: &ProtectorKey) -> Result<(), LoadError> {
        let finished = self.settle(protector).await;
        if finished.is_err() {
            self.tx.close_on_drop();
        }
        drop(self.tx);
        self.db.close().await;
        finished
    }

    /// Gives it up: what a shared database had before stays.
    pub async fn give_up(mut self) {
        self.tx.close_on_drop();
        drop(self.tx);
        self.db.close().await;
    }

    async fn settle(&mut self, protector: &ProtectorKey) -> Result<(), LoadError> {
        let shared = self.db.is_shared();
        let let_in =
            Keys::carried(&self.settings, protector, shared).map_err(LoadError::NotOpened)?;
        for (name, value) in let_in {
            let query = self
                .tx
                .query("INSERT INTO settings (name, value) VALUES (?, ?)");
            query.bind(name).bind(value).execute(&mut self.tx).await?;
        }
        if shared && !self.settings_were_shared() {
            let query = self
                .tx
                .query("INSERT INTO changes (id, number) VALUES (1, 0)");
            query.execute(&mut self.tx).await?;
        }
        Ok(self.tx.commit().await?)
    }

    /// Whether the dump is of a database that instances share.
    fn settings_were_shared(&self) -> bool {
        !self.settings.contains_key("root_key")
    }
}

async fn ready(db: &Db, tx: &mut Conn, replace: bool) -> Result<(), LoadError> {
    if !db.is_shared() {
        return Ok(());
    }
    let mut instances = instances_in(tx).await?.into_iter();
    if let Some(online) = instances.find(|instance| instance.is_online()) {
        return Err(LoadError::Online(online.name));
    }
    for table in &TABLES {
        if !replace && !rows::is_empty(tx, table).await? {
            return Err(LoadError::NotEmpty);
        }
    }
    if replace {
        for table in TABLES.iter().rev() {
            rows::clear(tx, table, "").await?;
        }
        for table in ["instances", "leases"] {
            let text = format!("DELETE FROM {table}");
            rows::made(db.kind(), text).execute(tx).await?;
        }
    }
    Ok(())
}
