//! The whole state as a row of parts, to be kept somewhere else, and made a database of any kind again.
//!
//! A dump is of one moment, read while others write. Its parts are rows as they are: what is sealed stays
//! sealed, and what lets an instance use the database is wrapped under that instance's key, which is no
//! part of it.

mod encoding;
mod load;

use std::collections::VecDeque;

use self::encoding::Encoder;
pub use self::{
    encoding::{PartError, Rows},
    load::{Load, LoadError},
};
use super::{
    Store,
    copy::{
        rows::Pages,
        tables::{SETTINGS, TABLES, Table},
    },
    settings::Setting,
};
use crate::{StoreError, engine::Conn};

/// A part holds about so many bytes, and more only where one page of rows has more.
const PART_BYTES: usize = 1 << 20;

/// The state of one moment, as it is read. Drop it soon: while it is there, the database keeps that moment.
pub struct Dump {
    tx: Conn,
    tables: VecDeque<&'static Table>,
    pages: Option<(&'static Table, Pages<'static>)>,
}

/// Rows of one table.
pub struct DumpPart {
    /// Which.
    pub table: &'static str,
    /// How many.
    pub rows: u64,
    /// They themselves.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Begins to read the state of this moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dump(&self) -> Result<Dump, StoreError> {
        let mut tx = self.db.reader().await?;
        tx.begin_snapshot().await?;
        let shared = self.is_shared();
        let tables = TABLES.iter().filter(|table| shared || !table.only_shared);
        Ok(Dump {
            tx,
            tables: tables.collect(),
            pages: None,
        })
    }
}

impl Dump {
    /// The next part, in an order in which no row comes before one that it names; none at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next(&mut self) -> Result<Option<DumpPart>, StoreError> {
        loop {
            let (table, mut pages) = match self.pages.take() {
                Some(begun) => begun,
                None => match self.tables.pop_front() {
                    Some(table) => (table, Pages::of(table)),
                    None => return Ok(None),
                },
            };
            let mut encoder = Encoder::new(table);
            let mut ended = false;
            while encoder.len() < PART_BYTES {
                let page = pages.next(&mut self.tx).await?;
                ended = page.is_empty();
                if ended {
                    break;
                }
                let of_one_database = |name| table.name == SETTINGS && Setting::is_one(name);
                page.iter()
                    .filter(|record| !record.setting(table).is_some_and(of_one_database))
                    .for_each(|record| encoder.add(record));
            }
            if !ended {
                self.pages = Some((table, pages));
            }
            if encoder.rows() > 0 {
                return Ok(Some(DumpPart {
                    table: table.name,
                    rows: encoder.rows(),
                    bytes: encoder.finish(),
                }));
            }
        }
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        // The transaction ends with its connection.
        self.tx.close_on_drop();
    }
}

#[cfg(test)]
mod tests;
