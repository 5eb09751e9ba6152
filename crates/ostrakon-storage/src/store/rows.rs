use std::{
    iter,
    sync::{Arc, OnceLock},
};

use crate::engine::{Bound, Kind, numbered};

/// How many rows one statement takes at most, as a power of two.
const LARGEST: u32 = 7;

/// The texts of a statement for each number of rows.
type Texts = [OnceLock<Arc<str>>; LARGEST as usize + 1];

/// A statement over many rows, whose text repeats a part for each of them.
///
/// It is run for a power of two of rows at a time, so that few texts exist, each prepared once and kept.
pub(super) struct Rows {
    parts: [Parts; 3],
    texts: [Texts; 3],
}

/// What stands before the rows, each row, what stands between two, and what stands behind them.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub(super) before: &'static str,
    pub(super) row: &'static str,
    pub(super) between: &'static str,
    pub(super) after: &'static str,
}

impl Rows {
    /// A statement that all kinds of database understand, with commas between the rows.
    pub(super) const fn new(before: &'static str, row: &'static str, after: &'static str) -> Self {
        let parts = Parts {
            before,
            row,
            between: ", ",
            after,
        };
        Self::of(parts, parts, parts)
    }

    /// A statement in the words of each kind of database.
    pub(super) const fn of(sqlite: Parts, mysql: Parts, postgres: Parts) -> Self {
        Self {
            parts: [sqlite, mysql, postgres],
            texts: [const { [const { OnceLock::new() }; LARGEST as usize + 1] }; 3],
        }
    }

    /// The statements that take all `rows`, each of which `bind` binds.
    pub(super) fn over<T>(
        &self,
        kind: Kind,
        mut rows: impl ExactSizeIterator<Item = T>,
        bind: impl Fn(Bound, T) -> Bound,
    ) -> impl Iterator<Item = Bound> {
        iter::from_fn(move || {
            let size = rows.len().checked_ilog2()?.min(LARGEST);
            let query = Bound::made(kind, self.text(kind, size)?);
            Some(rows.by_ref().take(1 << size).fold(query, &bind))
        })
    }

    /// The text for two to the power of `size` rows: constants, repeated, and nothing that anybody handed
    /// in.
    pub(super) fn text(&self, kind: Kind, size: u32) -> Option<Arc<str>> {
        let parts = self.parts.get(kind as usize)?;
        let text = self.texts.get(kind as usize)?.get(size as usize)?;
        let text = text.get_or_init(|| {
            let rows = vec![parts.row; 1 << size].join(parts.between);
            let text = [parts.before, &rows, parts.after].concat();
            match kind {
                Kind::Sqlite | Kind::MySql => text.into(),
                Kind::Postgres => numbered(&text).into(),
            }
        });
        Some(Arc::clone(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROWS: Rows = Rows::new("a ", "(?)", " z");

    #[test]
    fn rows_are_taken_by_powers_of_two_and_none_is_left() {
        let taken = |rows: usize| {
            let sizes = std::cell::RefCell::new(Vec::new());
            let bind = |query: Bound, row: usize| {
                sizes.borrow_mut().push(row);
                query.bind(i64::try_from(row).unwrap())
            };
            let queries = ROWS.over(Kind::Sqlite, 0..rows, bind);
            let mut before = 0;
            let each = queries.map(|_| {
                let all = sizes.borrow().len();
                all - std::mem::replace(&mut before, all)
            });
            each.collect::<Vec<_>>()
        };
        assert_eq!(taken(0), []);
        assert_eq!(taken(1), [1]);
        assert_eq!(taken(7), [4, 2, 1]);
        assert_eq!(taken(300), [128, 128, 32, 8, 4]);
    }

    #[test]
    fn each_kind_of_database_gets_its_text() {
        let text = |kind| ROWS.text(kind, 1).unwrap();
        assert_eq!(&*text(Kind::Sqlite), "a (?), (?) z");
        assert_eq!(&*text(Kind::MySql), "a (?), (?) z");
        assert_eq!(&*text(Kind::Postgres), "a ($1), ($2) z");
    }
}
