use std::{
    iter,
    sync::{Arc, OnceLock},
};

use sqlx::{AssertSqlSafe, Sqlite, query::Query, sqlite::SqliteArguments};

/// How many rows one statement takes at most, as a power of two.
const LARGEST: u32 = 7;

/// A statement with its values.
pub(super) type Bound = Query<'static, Sqlite, SqliteArguments>;

/// A statement over many rows, whose text repeats a part for each of them.
///
/// It is run for a power of two of rows at a time, so that few texts exist, each prepared once and kept.
pub(super) struct Rows {
    before: &'static str,
    row: &'static str,
    after: &'static str,
    texts: [OnceLock<Arc<str>>; LARGEST as usize + 1],
}

impl Rows {
    /// A statement of this text, with `row` as often as there are rows, between commas.
    pub(super) const fn new(before: &'static str, row: &'static str, after: &'static str) -> Self {
        Self {
            before,
            row,
            after,
            texts: [const { OnceLock::new() }; LARGEST as usize + 1],
        }
    }

    /// The statements that take all `rows`, each of which `bind` binds.
    pub(super) fn over<T>(
        &self,
        mut rows: impl ExactSizeIterator<Item = T>,
        bind: impl Fn(Bound, T) -> Bound,
    ) -> impl Iterator<Item = Bound> {
        iter::from_fn(move || {
            let size = rows.len().checked_ilog2()?.min(LARGEST);
            let query = sqlx::query(AssertSqlSafe(self.text(size)?));
            Some(rows.by_ref().take(1 << size).fold(query, &bind))
        })
    }

    /// The text for two to the power of `size` rows: three constants, repeated, and nothing that anybody
    /// handed in.
    pub(super) fn text(&self, size: u32) -> Option<Arc<str>> {
        let text = self.texts.get(size as usize)?.get_or_init(|| {
            let rows = vec![self.row; 1 << size].join(", ");
            [self.before, &rows, self.after].concat().into()
        });
        Some(Arc::clone(text))
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Execute as _;

    use super::*;

    #[test]
    fn rows_are_taken_by_powers_of_two_and_none_is_left() {
        static ROWS: Rows = Rows::new("a ", "(?)", " z");
        let taken = |rows: usize| {
            let bind = |query: Bound, row| query.bind(i64::try_from(row).unwrap());
            let texts = ROWS.over(0..rows, bind).map(|query| query.sql());
            let count = |text: sqlx::SqlStr| text.as_str().matches('?').count();
            texts.map(count).collect::<Vec<_>>()
        };
        assert_eq!(taken(0), []);
        assert_eq!(taken(1), [1]);
        assert_eq!(taken(7), [4, 2, 1]);
        assert_eq!(taken(300), [128, 128, 32, 8, 4]);
        assert_eq!(ROWS.text(1).as_deref(), Some("a (?), (?) z"));
    }
}
