use std::fmt;

use crate::{
    Load, SIZES,
    shape::{self, Shape},
    timing::{Engine, median},
};

/// The goals: nanoseconds, times the best peer at the first and the last size, times our own at the first.
const MOST_NANOS: f64 = 1_000.0;
const LEAST_FIRST: f64 = 20.0;
const LEAST_LAST: f64 = 1_000.0;
const MOST_GROWTH: f64 = 4.0;

/// The times of one engine in nanoseconds, by the number of rule sets.
pub struct Row {
    name: String,
    nanos: [Option<f64>; SIZES.len()],
}

pub struct Table {
    name: &'static str,
    rows: Vec<Row>,
    /// How many rows are compared with the first.
    compared: usize,
}

impl Row {
    pub fn new(name: &str, nanos: [Option<f64>; SIZES.len()]) -> Self {
        Self {
            name: name.to_owned(),
            nanos,
        }
    }
}

impl Table {
    /// Measures all engines, having made sure that they agree on every case.
    pub fn compared(shape: &Shape, engines: &[(&str, Load)], compared: usize) -> Self {
        let mut rows: Vec<Row> = engines
            .iter()
            .map(|(name, _)| Row::new(name, [None; SIZES.len()]))
            .collect();
        for (column, size) in SIZES.into_iter().enumerate() {
            eprintln!("{}, {size} rule sets", shape.name);
            let mut loaded: Vec<(usize, Box<dyn Engine>)> = engines
                .iter()
                .enumerate()
                .filter_map(|(row, (_, load))| Some((row, load(shape, size)?)))
                .collect();
            for (row, engine) in &mut loaded {
                agree(shape, size, engines[*row].0, engine.as_mut());
                engine.prepare(&shape::timed(size));
            }
            let timed: Vec<&dyn Engine> =
                loaded.iter().map(|(_, engine)| engine.as_ref()).collect();
            let nanos = median(&timed, shape::timed(size).len());
            for ((row, _), nanos) in loaded.iter().zip(nanos) {
                rows[*row].nanos[column] = Some(nanos);
            }
        }
        rows.retain(|row| row.nanos.iter().any(Option::is_some));
        let compared = engines[..compared]
            .iter()
            .filter(|(name, _)| rows.iter().any(|row| row.name == *name))
            .count();
        Self {
            name: shape.name,
            rows,
            compared,
        }
    }

    /// A table without a comparison.
    pub fn alone(name: &'static str, rows: Vec<Row>) -> Self {
        Self {
            name,
            rows,
            compared: 0,
        }
    }
}

/// Panics unless the engine decides all cases as the shape says.
fn agree(shape: &Shape, size: usize, name: &str, engine: &mut dyn Engine) {
    let cases = shape::compared(size);
    engine.prepare(&cases);
    for (number, case) in cases.iter().enumerate() {
        let approves = engine.decide(number);
        assert_eq!(
            approves,
            shape.approves(size, case),
            "{name}, {}: {case:?} of {size}",
            shape.name
        );
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, self.name, SIZES.map(|size| size.to_string()))?;
        for row in &self.rows {
            line(f, &row.name, row.nanos.map(micros))?;
        }
        let Some((ours, peers)) = self.rows[..self.compared].split_first() else {
            return Ok(());
        };
        let ours = ours.nanos.map(Option::unwrap_or_default);
        let best = |column: usize| {
            peers
                .iter()
                .filter_map(|row| row.nanos[column])
                .fold(f64::INFINITY, f64::min)
        };
        let ratios: [f64; SIZES.len()] = std::array::from_fn(|column| best(column) / ours[column]);
        let growth = ours.map(|nanos| nanos / ours[0]);
        line(f, "best of the peers / ostrakon", ratios.map(times))?;
        line(
            f,
            "ostrakon / ostrakon at the first size",
            growth.map(times),
        )?;
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let last = SIZES.len() - 1;
        for (goal, is_met) in [
            ("under 1 µs", most(&ours) < MOST_NANOS),
            ("20 x the best peer at 10", ratios[0] >= LEAST_FIRST),
            ("1,000 x at 10,000", ratios[last] >= LEAST_LAST),
            (
                "at most 4 x its own time at 10",
                most(&growth) <= MOST_GROWTH,
            ),
        ] {
            writeln!(
                f,
                "goal, {goal}: {}",
                if is_met { "met" } else { "NOT MET" }
            )?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, cells: [String; SIZES.len()]) -> fmt::Result {
    write!(f, "{name:<40}")?;
    for cell in cells {
        write!(f, " {cell:>14}")?;
    }
    writeln!(f)
}

fn micros(nanos: Option<f64>) -> String {
    nanos.map_or_else(
        || "-".to_owned(),
        |nanos| format!("{:.3} µs", nanos / 1_000.0),
    )
}

fn times(ratio: f64) -> String {
    format!("{ratio:.1} x")
}
