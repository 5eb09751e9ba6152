//! Settings that are of one database, and do not go along when its state is copied to another.

use crate::{
    StoreError,
    engine::{Conn, Text},
};

/// A setting of one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// In one to which a state is copied, until that is finished: which copy it is, and of which server.
    Copying,
    /// In one that began as a copy: which copy it was.
    Copied,
    /// In one from which a state is copied: the copy that was begun last.
    Moving,
    /// In one from which the state was moved: where it is.
    Moved,
}

impl Setting {
    const ALL: [Self; 4] = [Self::Copying, Self::Copied, Self::Moving, Self::Moved];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Copied => "copied",
            Self::Moving => "moving",
            Self::Moved => "moved",
        }
    }

    /// Whether a setting of this name is one of these.
    pub(super) fn is_one(name: &str) -> bool {
        Self::ALL.iter().any(|setting| setting.name() == name)
    }

    pub(super) async fn read(self, conn: &mut Conn) -> Result<Option<Vec<u8>>, StoreError> {
        let row = conn
            .query("SELECT value FROM settings WHERE name = ?")
            .bind(self.name())
            .fetch_optional(conn)
            .await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    pub(super) async fn write(self, conn: &mut Conn, value: &[u8]) -> Result<(), StoreError> {
        set(conn, self.name(), value).await
    }

    pub(super) async fn remove(self, conn: &mut Conn) -> Result<(), StoreError> {
        unset(conn, self.name()).await
    }
}

/// Stores a setting in place of what it was.
pub(super) async fn set(conn: &mut Conn, name: &str, value: &[u8]) -> Result<(), StoreError> {
    let query = conn.query(SET).bind(name).bind(value);
    query.execute(conn).await.map(drop)
}

/// Takes a setting away.
pub(super) async fn unset(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    let query = conn.query("DELETE FROM settings WHERE name = ?").bind(name);
    query.execute(conn).await.map(drop)
}

const SET: Text = Text {
    sqlite: "INSERT INTO settings (name, value) VALUES (?, ?)
             ON CONFLICT DO UPDATE SET value = excluded.value",
    mysql: "REPLACE INTO settings (name, value) VALUES (?, ?)",
    postgres: "INSERT INTO settings (name, value) VALUES (?, ?)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value",
};
