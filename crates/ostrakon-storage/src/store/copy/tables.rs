//! What a server's state is made of: every table that goes along when it is copied to another database, in
//! an order in which no row comes before one that it names.
//!
//! A test compares this list with the schema of each kind of database, so that no migration is forgotten.

use crate::engine::Kind;

/// A table.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// The columns of its primary key, in order, and then the others.
    pub(in crate::store) columns: &'static [Column],
    /// How many of them are its key.
    pub(in crate::store) key: usize,
    /// Their order in SQLite, where it is another.
    pub(in crate::store) sqlite_key: Option<&'static [usize]>,
    /// How many of its rows are held in memory at once, by how large one can be.
    pub(in crate::store) page: usize,
    /// Whether only databases that instances share have it.
    pub(in crate::store) only_shared: bool,
}

/// A column: its name, and what it holds.
pub(in crate::store) type Column = (&'static str, Holds);

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Holds {
    Int,
    Bytes,
    BytesOrNull,
    Text,
}

use Holds::{Bytes, BytesOrNull, Int, Text};

/// A table of small rows, in every kind of database.
const fn table(name: &'static str, key: usize, columns: &'static [Column]) -> Table {
    Table {
        name,
        columns,
        key,
        sqlite_key: None,
        page: 256,
        only_shared: false,
    }
}

impl Table {
    /// The same, with rows that can be large.
    const fn by(mut self, page: usize) -> Self {
        self.page = page;
        self
    }

    const fn only_shared(mut self) -> Self {
        self.only_shared = true;
        self
    }

    /// The same, with another order of the key in SQLite.
    const fn sqlite_key(mut self, order: &'static [usize]) -> Self {
        self.sqlite_key = Some(order);
        self
    }

    /// The places of the columns of its primary key, in the order of the key's index.
    pub(in crate::store) fn key(&self, kind: Kind) -> Vec<usize> {
        match self.sqlite_key {
            Some(order) if kind == Kind::Sqlite => order.to_vec(),
            _ => (0..self.key).collect(),
        }
    }
}

/// The settings, of which some are of their database alone.
pub(in crate::store) const SETTINGS: &str = "settings";

pub(in crate::store) const TABLES: [Table; 22] = [
    table(SETTINGS, 1, &[("name", Text), ("value", Bytes)]),
    table(
        "server",
        1,
        &[
            ("id", Int),
            ("kss_id", Bytes),
            ("public_card", Bytes),
            ("sealed", Bytes),
            ("enabled", Int),
            ("created_at", Int),
        ],
    ),
    table("changes", 1, &[("id", Int), ("number", Int)]).only_shared(),
    table(
        "profiles",
        1,
        &[
            ("profile", Bytes),
            ("number", Int),
            ("first_words", Text),
            ("created_at", Int),
            ("head", BytesOrNull),
        ],
    ),
    table(
        "profile_versions",
        2,
        &[("profile", Bytes), ("number", Int), ("sealed", Bytes)],
    )
    .by(64),
    table("devices", 2, &[("profile", Bytes), ("device", Bytes)]),
    table(
        "locations",
        2,
        &[
            ("profile", Bytes),
            ("location", Bytes),
            ("folder_key", Bytes),
            ("sealed", Bytes),
            ("created_at", Int),
        ],
    ),
    table(
        "policies",
        1,
        &[
            ("version", Int),
            ("time_zone", Text),
            ("source", Text),
            ("loaded_at", Int),
        ],
    )
    .by(4),
    table("approved_policies", 1, &[("version", Int)]),
    table("authority", 1, &[("id", Int), ("sealed", Bytes)]),
    table(
        "certificates",
        1,
        &[
            ("certificate", Bytes),
            ("fingerprint", Bytes),
            ("sealed", Bytes),
        ],
    ),
    table(
        "counters",
        4,
        &[
            ("profile", Bytes),
            ("rule", Text),
            ("period", Int),
            ("window", Int),
            ("count", Int),
        ],
    ),
    table(
        "requests",
        3,
        &[
            ("profile", Bytes),
            ("device", Bytes),
            ("request", Bytes),
            ("recorded", Bytes),
            ("decided_at", Int),
        ],
    )
    .sqlite_key(&[2, 0, 1]),
    table(
        "audit",
        2,
        &[
            ("instance", Bytes),
            ("sequence", Int),
            ("sealed", Bytes),
            ("mac", Bytes),
        ],
    )
    .by(128),
    table(
        "checkpoints",
        1,
        &[("number", Int), ("at", Int), ("signed", Bytes)],
    ),
    table("archives", 1, &[("number", Int), ("signed", Bytes)]),
    table(
        "generations",
        2,
        &[("epoch", Int), ("counter", Int), ("statement", Bytes)],
    ),
    table(
        "backups",
        2,
        &[
            ("epoch", Int),
            ("counter", Int),
            ("file", Text),
            ("made_at", Int),
        ],
    )
    .by(16),
    table(
        "ceremonies",
        2,
        &[
            ("profile", Bytes),
            ("ceremony", Bytes),
            ("requester", Bytes),
            ("opened_at", Int),
            ("expires_at", Int),
        ],
    ),
    table(
        "ceremony_notices",
        3,
        &[
            ("profile", Bytes),
            ("ceremony", Bytes),
            ("device", Bytes),
            ("notice", Bytes),
        ],
    )
    .by(64),
    table(
        "ceremony_answers",
        3,
        &[
            ("profile", Bytes),
            ("ceremony", Bytes),
            ("device", Bytes),
            ("answer", Bytes),
        ],
    )
    .by(64),
    table(
        "ceremony_openings",
        2,
        &[("profile", Bytes), ("ceremony", Bytes), ("opening", Bytes)],
    )
    .by(64),
];
