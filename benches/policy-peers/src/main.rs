//! How long a decision takes, at 10 to 10,000 rule sets, here and in other engines.
//!
//! An argument is a part of the names of the rows to be measured.

mod ours;
mod peers;
mod timing;

use timing::{Row, print};

/// The numbers of rule sets.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() {
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(ours::rows());
    rows.extend(peers::rows());
    print(&rows);
}
