//! Who serves from a shared database, and which of them does what one does for all.
//!
//! All times here are the database's: instances need not agree on the time.

use ostrakon_types::UnixMillis;

use super::{InstanceId, Store, Transaction};
use crate::{
    StoreError,
    engine::{Conn, Text, or_nothing},
};

/// An instance that has used the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Which.
    pub instance: InstanceId,
    /// The name of its machine.
    pub name: String,
    /// The release that it runs.
    pub version: String,
    /// The number of the policy by which it decides.
    pub policy_version: i64,
    /// When it started, or was let in.
    pub started_at: UnixMillis,
    /// When it last said that it is there.
    pub last_seen: UnixMillis,
    /// How long ago that was, in milliseconds.
    pub silent: i64,
    /// Whether it said that it stops.
    pub stopped: bool,
}

impl InstanceRecord {
    /// Whether it is there: it has said so lately, and not that it stops.
    #[must_use]
    pub fn is_online(&self) -> bool {
        !self.stopped && self.silent < SILENCE
    }
}

/// What an instance says of itself.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Which.
    pub instance: InstanceId,
    /// The name of its machine.
    pub name: String,
    /// The release that it runs.
    pub version: String,
    /// The number of the policy by which it decides.
    pub policy_version: i64,
}

/// An instance that said nothing for so long is not there, in milliseconds.
pub const SILENCE: i64 = 10_000;

/// The database's clock, in Unix milliseconds.
macro_rules! now {
    (mysql) => {
        "CAST(ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000) AS SIGNED)"
    };
    (postgres) => {
        "(extract(epoch from clock_timestamp()) * 1000)::bigint"
    };
    (sqlite) => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

/// The same text for each kind of database, but for the words for its clock, which come between the parts.
macro_rules! at_its_time {
    ($first:literal $(, $next:literal)*) => {
        Text {
            sqlite: concat!($first $(, now!(sqlite), $next)*),
            mysql: concat!($first $(, now!(mysql), $next)*),
            postgres: concat!($first $(, now!(postgres), $next)*),
        }
    };
}

const TOUCH: Text = at_its_time!(
    "UPDATE instances SET name = ?, version = ?, policy_version = ?, stopped = ?, last_seen = ",
    " WHERE instance = ?"
);

const ENTER: Text = at_its_time!("UPDATE instances SET started_at = ", " WHERE instance = ?");

const LIST: Text = at_its_time!(
    "SELECT instance, name, version, policy_version, started_at, last_seen, stopped, ",
    " - last_seen AS silent FROM instances ORDER BY name, instance"
);

const TAKE: Text = at_its_time!(
    "UPDATE leases SET holder = ?, ends_at = ? + ",
    " WHERE name = ? AND (holder = ? OR ends_at <= ",
    ")"
);

impl Store {
    /// Says that an instance starts to serve.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enter(&self, presence: &Presence) -> Result<(), StoreError> {
        let mut tx = self.begin_passing().await?;
        tx.tx
            .query(or_nothing!(
                "INSERT INTO instances
                 (instance, name, version, policy_version, started_at, last_seen, stopped)
                 VALUES (?, '', '', 0, 0, 0, 0)"
            ))
            .bind(presence.instance.as_bytes().as_slice())
            .add(&mut tx.tx)
            .await?;
        tx.tx
            .query(ENTER)
            .bind(presence.instance.as_bytes().as_slice())
            .execute(&mut tx.tx)
            .await?;
        tx.commit().await?;
        self.touch(presence, false).await
    }

    /// Says that an instance is there, or that it stops.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch(&self, presence: &Presence, stops: bool) -> Result<(), StoreError> {
        let mut tx = self.begin_passing().await?;
        tx.tx
            .query(TOUCH)
            .bind(presence.name.as_str())
            .bind(presence.version.as_str())
            .bind(presence.policy_version)
            .bind(i64::from(stops))
            .bind(presence.instance.as_bytes().as_slice())
            .execute(&mut tx.tx)
            .await?;
        tx.commit().await
    }

    /// A transaction for what holds for a moment only: no replica needs to have it.
    async fn begin_passing(&self) -> Result<Transaction<'_>, StoreError> {
        let mut tx = self.begin().await?;
        tx.forgo_replica().await?;
        Ok(tx)
    }

    /// All instances that have used the database.
    ///
    /// # Errors
    /// When the database fails or an id is damaged.
    pub async fn instances(&self) -> Result<Vec<InstanceRecord>, StoreError> {
        if !self.is_shared() {
            return Ok(Vec::new());
        }
        instances_in(&mut self.db.reader().await?).await
    }

    /// Takes, or keeps, what one instance does for all, for `millis` from now. `false` while another has it.
    /// Where no others are, it is always had.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease(
        &self,
        name: &'static str,
        holder: InstanceId,
        millis: i64,
    ) -> Result<bool, StoreError> {
        if !self.is_shared() {
            return Ok(true);
        }
        let mut tx = self.begin_passing().await?;
        let conn = &mut tx.tx;
        let holder = holder.as_bytes().as_slice();
        let mut taken = 0;
        for first in [true, false] {
            taken = conn
                .query(TAKE)
                .bind(holder)
                .bind(millis)
                .bind(name)
                .bind(holder)
                .execute(conn)
                .await?;
            if taken > 0 || !first {
                break;
            }
            // Perhaps nobody has ever had it.
            let made = conn
                .query(or_nothing!(
                    "INSERT INTO leases (name, holder, ends_at) VALUES (?, ?, 0)"
                ))
                .bind(name)
                .bind(holder)
                .add(conn)
                .await?;
            if !made {
                break;
            }
        }
        tx.commit().await?;
        Ok(taken > 0)
    }

    /// The database's time. `None` where it has no clock of its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn database_time(&self) -> Result<Option<UnixMillis>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let mut reader = self.db.reader().await?;
        let row = self.db.query(NOW).fetch_one(&mut reader).await?;
        Ok(Some(UnixMillis(row.try_get("now")?)))
    }
}

/// All instances that have used a shared database.
pub(super) async fn instances_in(conn: &mut Conn) -> Result<Vec<InstanceRecord>, StoreError> {
    let rows = conn.query(LIST).fetch_all(conn).await?;
    let corrupt = |_| StoreError::Corrupt {
        table: "instances",
        column: "instance",
    };
    rows.iter()
        .map(|row| {
            let instance: &[u8] = row.try_get("instance")?;
            Ok(InstanceRecord {
                instance: InstanceId::from_bytes(instance.try_into().map_err(corrupt)?),
                name: row.try_get("name")?,
                version: row.try_get("version")?,
                policy_version: row.try_get("policy_version")?,
                started_at: UnixMillis(row.try_get("started_at")?),
                last_seen: UnixMillis(row.try_get("last_seen")?),
                silent: row.try_get("silent")?,
                stopped: row.try_get::<i64>("stopped")? != 0,
            })
        })
        .collect()
}

const NOW: Text = at_its_time!("SELECT ", " AS now");
