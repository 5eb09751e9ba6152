//! How long a decision takes, at 10 to 10,000 rule sets, here and in other engines, and how that compares.
//!
//! An argument is a part of the names of the tables to be made.

mod casbin;
mod cedar;
mod ours;
mod rego;
mod shape;
mod table;
mod timing;

use shape::{SHAPES, Shape};
use table::Table;
use timing::Engine;

/// The numbers of rule sets.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// An engine with the policy of that shape and size; none where it cannot express it.
type Load = fn(&Shape, usize) -> Option<Box<dyn Engine>>;

/// The engine that is measured, the peers that it is measured by, and one more for the record.
const ENGINES: [(&str, Load); 5] = [
    ("ostrakon", ours::indexed),
    ("cedar-policy", cedar::load),
    ("regorus", rego::as_rules),
    ("casbin", casbin::load),
    ("regorus, indexed by hand", rego::by_hand),
];
/// How many of them, from the first on, the goals speak of.
const COMPARED: usize = 4;

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    println!("{}", timing::machine());
    println!(
        "Processor time of one decision, median of {} rounds, by the number of rule sets.",
        timing::ROUNDS
    );
    for shape in SHAPES.iter().filter(|shape| shape.name.contains(&part)) {
        println!("\n{}", Table::compared(shape, &ENGINES, COMPARED));
    }
    if ours::ALONE.contains(&part) {
        println!("\n{}", Table::alone(ours::ALONE, ours::rows()));
    }
}
