//! Copies the whole state to another database of any kind, compares the two, and moves the server there.
//!
//! Rows go along as they are: what is sealed or authenticated is bound to its table, column and row, whose
//! names are the same everywhere, under keys that go along, too. Each instance's own way to these keys goes
//! from one shared database to the next; between a shared one and a file it is made anew for the instance
//! that copies.
//!
//! What instances say of being there, and of who does what for all, stays: it is of the moment, by the clock of
//! one database, and each says it anew when it serves.
//!
//! What an instance writes to the old database must not be lost, even by one that nobody knows to run. So
//! the transaction that moves the state checks that nothing was written since the copy was begun, and takes
//! the next number of every audit chain: who has begun to record something there fails, or has it fail.

pub(super) mod rows;
pub(super) mod tables;

use self::{
    rows::{Pages, Record, Summary},
    tables::{SETTINGS, TABLES, Table},
};
use super::{
    CopyId, InstanceId, Moved, Store, checkpoints::audit_heads, instances::instances_in,
    keys::Keys, settings::Setting,
};
use crate::{
    Place, ProtectorKey, StoreError,
    engine::{Conn, Db, Kind},
};

/// Why a state was not copied, or not moved. The old database is the server's still, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The old database failed.
    #[error(transparent)]
    Source(#[from] StoreError),
    /// The new one failed.
    #[error("cannot write the new database")]
    Target(#[source] StoreError),
    /// There is something in the new one.
    #[error("the new database is not empty")]
    NotEmpty,
    /// Another instance serves.
    #[error("another instance is online: `{0}`")]
    Online(String),
    /// Somebody wrote to the old database meanwhile, or copies it, too.
    #[error("the state changed while it was copied")]
    Changed,
    /// What was written is not what is read back.
    #[error("table `{0}` of the copy is not what was copied")]
    Differs(&'static str),
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows are copied.
    Copy,
    /// Both databases are read and compared.
    Compare,
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// With what.
    pub step: Step,
    /// Rows that are done.
    pub rows: u64,
    /// About how many there are.
    pub of: u64,
}

/// A copy that is what was copied, and waits to be moved to.
#[derive(Debug)]
pub struct Copied {
    copy: CopyId,
    basis: Basis,
    instance: InstanceId,
    /// Rows that went along.
    pub rows: u64,
}

/// What grows with everything that matters: while it is the same, so is the state.
#[derive(Debug, PartialEq, Eq)]
struct Basis {
    heads: Vec<(InstanceId, u64)>,
    changes: i64,
    numbers: [i64; 3],
}

impl Basis {
    async fn read(conn: &mut Conn) -> Result<Self, StoreError> {
        let heads = audit_heads(conn).await?.into_iter();
        let changes = if conn.kind() == Kind::Sqlite {
            0
        } else {
            let query = conn.query("SELECT number FROM changes WHERE id = 1");
            query.fetch_one(conn).await?.try_get("number")?
        };
        let query = conn.query(
            "SELECT (SELECT count(*) FROM generations) AS generations,
                    (SELECT coalesce(max(number), 0) FROM checkpoints) AS checkpoints,
                    (SELECT coalesce(max(number), 0) FROM archives) AS archives",
        );
        let row = query.fetch_one(conn).await?;
        Ok(Self {
            heads: heads.map(|(of, head)| (of, head.sequence)).collect(),
            changes,
            numbers: [
                row.try_get("generations")?,
                row.try_get("checkpoints")?,
                row.try_get("archives")?,
            ],
        })
    }
}

impl Store {
    /// Copies the state to the database at `place`, which must be empty or hold an unfinished copy of the
    /// same server, and compares the two. Nothing of it counts before [`Store::move_to`].
    ///
    /// # Errors
    /// When the new database is not empty, another instance is online, or either database fails.
    pub async fn copy_to(
        &self,
        place: &Place,
        protector: &ProtectorKey,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Copied, CopyError> {
        let kss_id = self.server().await?.ok_or(StoreError::Missing)?.kss_id;
        let target = match place {
            Place::File(path) if !path.exists() => Db::create_file(path).await,
            place => Self::connect(place.clone()).await,
        };
        let target = target.map_err(CopyError::Target)?;
        let copy = CopyId::draw()?;
        let copying = Copying {
            store: self,
            target: &target,
            mark: [copy.as_bytes().as_slice(), kss_id.digest().as_bytes()].concat(),
            copy,
            tables: TABLES
                .iter()
                .filter(|table| !table.only_shared || (self.is_shared() && target.is_shared()))
                .collect(),
        };
        let copied = copying.run(protector, tell).await;
        target.close().await;
        copied
    }

    /// Moves the server to a copy, which `to` names: from here on this database is an old one.
    ///
    /// # Errors
    /// When somebody wrote to it since the copy was begun, another instance is online, or it fails. Where the
    /// outcome of the commit is unknown, [`Store::moved`] tells it.
    pub async fn move_to(&self, copied: &Copied, to: &str) -> Result<Moved, CopyError> {
        let mut tx = self.begin().await?;
        tx.stay().await?;
        self.check_alone(&mut tx.tx, copied.instance).await?;
        let begun = Setting::Moving.read(&mut tx.tx).await?;
        if begun.as_deref() != Some(copied.copy.as_bytes().as_slice())
            || Basis::read(&mut tx.tx).await? != copied.basis
        {
            return Err(CopyError::Changed);
        }
        let mut chains = copied.basis.heads.clone();
        let instances = Keys::instances(&mut tx.tx).await?;
        for instance in instances.into_iter().chain([copied.instance]) {
            if chains.iter().all(|(of, _)| *of != instance) {
                chains.push((instance, 0));
            }
        }
        for (instance, last) in chains {
            end_chain(&mut tx.tx, instance, last).await?;
        }
        let moved = Moved {
            copy: copied.copy,
            to: to.to_owned(),
        };
        tx.say_moved(&moved).await?;
        tx.count_change().await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Fails when an instance but this one is online.
    async fn check_alone(&self, conn: &mut Conn, instance: InstanceId) -> Result<(), CopyError> {
        if !self.is_shared() {
            return Ok(());
        }
        let mut others = instances_in(conn).await?.into_iter();
        match others.find(|other| other.instance != instance && other.is_online()) {
            Some(other) => Err(CopyError::Online(other.name)),
            None => Ok(()),
        }
    }
}

/// Takes the next number of a chain, so that nothing can be recorded there any more: what stands there is no
/// link, not even for a release that knows nothing of moved databases.
async fn end_chain(conn: &mut Conn, instance: InstanceId, last: u64) -> Result<(), CopyError> {
    let query = conn
        .query("INSERT INTO audit (instance, sequence, sealed, mac) VALUES (?, ?, ?, ?)")
        .bind(instance.as_bytes().as_slice())
        .bind(i64::try_from(last).unwrap_or(i64::MAX).saturating_add(1))
        .bind(Vec::<u8>::new())
        .bind(Vec::<u8>::new());
    match query.execute(conn).await {
        Ok(_) => Ok(()),
        Err(StoreError::Taken(_)) => Err(CopyError::Changed),
        Err(error) => Err(error.into()),
    }
}

/// A copy that is being made.
struct Copying<'s> {
    store: &'s Store,
    target: &'s Db,
    copy: CopyId,
    /// What the new database says of itself until it is told that it is the server's.
    mark: Vec<u8>,
    tables: Vec<&'static Table>,
}

impl Copying<'_> {
    async fn run(
        &self,
        protector: &ProtectorKey,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Copied, CopyError> {
        self.check_target().await.map_err(in_target)?;
        let instance = protector.instance();
        let basis = {
            let mut tx = self.store.begin().await?;
            // From here on another copy that was begun cannot be moved to.
            tx.stay().await?;
            self.store.check_alone(&mut tx.tx, instance).await?;
            Setting::Moving
                .write(&mut tx.tx, self.copy.as_bytes())
                .await?;
            let basis = Basis::read(&mut tx.tx).await?;
            tx.commit().await?;
            basis
        };
        self.clear_target().await.map_err(CopyError::Target)?;
        let rows = self.copy_rows(tell).await?;
        if !self.both_shared() {
            Keys::rewrap(&self.store.db, self.target, protector)
                .await
                .map_err(CopyError::Target)?;
        }
        self.compare(rows, tell).await?;
        // Whether this instance can open it is found out before anything depends on it.
        let opened = Keys::load(self.target, protector).await;
        opened.map_err(CopyError::Target)?;
        Ok(Copied {
            copy: self.copy,
            basis,
            instance,
            rows,
        })
    }

    fn both_shared(&self) -> bool {
        self.store.is_shared() && self.target.is_shared()
    }

    /// Sees that nothing is lost in the new database.
    async fn check_target(&self) -> Result<(), CheckError> {
        let mut conn = self.target.writer().await?;
        let marked = Setting::Copying.read(&mut conn).await?;
        if let Some(marked) = marked {
            let of = |mark: &[u8]| mark.get(self.copy.as_bytes().len()..).map(<[u8]>::to_vec);
            return if of(&marked) == of(&self.mark) {
                Ok(())
            } else {
                Err(CheckError::NotEmpty)
            };
        }
        for table in &TABLES {
            let shared = self.target.is_shared();
            if (shared || !table.only_shared) && !rows::is_empty(&mut conn, table).await? {
                return Err(CheckError::NotEmpty);
            }
        }
        Ok(())
    }

    /// Marks the new database as unfinished, and takes out what an earlier try has left.
    async fn clear_target(&self) -> Result<(), StoreError> {
        let mut conn = self.target.writer().await?;
        Setting::Copying.write(&mut conn, &self.mark).await?;
        for table in TABLES.iter().rev() {
            if self.target.is_shared() || !table.only_shared {
                rows::clear(&mut conn, table, Setting::Copying.name()).await?;
            }
        }
        Ok(())
    }

    async fn copy_rows(&self, tell: &mut (dyn FnMut(Progress) + Send)) -> Result<u64, CopyError> {
        let mut of = 0;
        for table in &self.tables {
            of += rows::count(&mut self.store.db.reader().await?, table).await;
        }
        let mut rows = 0;
        for table in &self.tables {
            let mut pages = Pages::of(table);
            loop {
                let mut page = pages.next(&mut self.store.db.reader().await?).await?;
                if page.is_empty() {
                    break;
                }
                page.retain(|record| self.goes_along(table, record));
                self.write(table, &page).await.map_err(CopyError::Target)?;
                rows += page.len() as u64;
                let step = Step::Copy;
                tell(Progress { step, rows, of });
            }
        }
        if self.target.is_shared() && !self.store.is_shared() {
            let mut conn = self.target.writer().await.map_err(CopyError::Target)?;
            let query = conn.query("INSERT INTO changes (id, number) VALUES (1, 0)");
            let begun = query.execute(&mut conn).await;
            begun.map_err(CopyError::Target)?;
        }
        Ok(rows)
    }

    /// Writes rows in a transaction of their own.
    async fn write(&self, table: &Table, page: &[Record]) -> Result<(), StoreError> {
        let mut conn = self.target.writer().await?;
        let written = async {
            conn.begin().await?;
            rows::insert(&mut conn, table, page).await?;
            conn.commit().await
        };
        let written = written.await;
        if written.is_err() {
            conn.close_on_drop();
        }
        written
    }

    /// Reads both databases, and sees that they say the same.
    async fn compare(
        &self,
        of: u64,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), CopyError> {
        let mut rows = 0;
        for table in &self.tables {
            let source = self.summary(&self.store.db, table).await?;
            let target = self.summary(self.target, table).await;
            if target.map_err(CopyError::Target)? != source {
                return Err(CopyError::Differs(table.name));
            }
            rows += source.rows;
            let step = Step::Compare;
            tell(Progress { step, rows, of });
        }
        Ok(())
    }

    async fn summary(&self, db: &Db, table: &Table) -> Result<Summary, StoreError> {
        let mut summary = Summary::default();
        let mut pages = Pages::of(table);
        loop {
            let page = pages.next(&mut db.reader().await?).await?;
            if page.is_empty() {
                return Ok(summary);
            }
            let along = page.iter().filter(|record| self.goes_along(table, record));
            along.for_each(|record| summary.add(record));
        }
    }

    /// Whether a row is of the state, and not of the one database alone.
    fn goes_along(&self, table: &Table, record: &Record) -> bool {
        debug_assert_eq!(record.setting(table).is_some(), table.name == SETTINGS);
        record.setting(table).is_none_or(|name| {
            !Setting::is_one(name) && (self.both_shared() || !Keys::is_of_an_instance(name))
        })
    }
}

/// What is wrong with the new database.
enum CheckError {
    NotEmpty,
    Store(StoreError),
}

impl From<StoreError> for CheckError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn in_target(error: CheckError) -> CopyError {
    match error {
        CheckError::NotEmpty => CopyError::NotEmpty,
        CheckError::Store(error) => CopyError::Target(error),
    }
}

#[cfg(test)]
pub(super) mod tests;
