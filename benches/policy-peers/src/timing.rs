use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crate::SIZES;

/// How long each run goes on, and how many there are.
const RUN: Duration = Duration::from_millis(20);
const RUNS: usize = 40;

/// One line of the table: a decision's time at each number of rule sets.
pub struct Row {
    pub name: String,
    pub nanos: Vec<f64>,
}

impl Row {
    /// Measures, unless an argument is given that is no part of the name.
    pub fn new(name: &str, mut at: impl FnMut(usize) -> f64) -> Option<Self> {
        if std::env::args()
            .nth(1)
            .is_some_and(|part| !name.contains(&part))
        {
            return None;
        }
        let nanos = SIZES.iter().map(|size| at(*size)).collect();
        let row = Self {
            name: name.into(),
            nanos,
        };
        eprintln!("{}", row.line());
        Some(row)
    }

    fn line(&self) -> String {
        let cells = self
            .nanos
            .iter()
            .map(|nanos| format!(" {:>10.3} µs", nanos / 1000.0));
        format!("{:<44}{}", self.name, cells.collect::<String>())
    }
}

/// The time of one call in nanoseconds, over all requests in turn: the fastest of some short runs, for on
/// a machine that others use the slow ones measure the others.
pub fn time<R, T>(requests: &[R], mut decide: impl FnMut(&R) -> T) -> f64 {
    let start = Instant::now();
    black_box(decide(black_box(&requests[0])));
    let is_slow = start.elapsed() > Duration::from_micros(100);
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        let mut calls = 0_u32;
        'run: while start.elapsed() < RUN {
            // Reading the clock is kept out of what is timed by doing many between two readings.
            for request in requests {
                black_box(decide(black_box(request)));
                calls += 1;
                if is_slow && start.elapsed() >= RUN {
                    break 'run;
                }
            }
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    best
}

pub fn print(rows: &[Row]) {
    println!(
        "{:<44}{}",
        "a decision, by the number of rule sets",
        SIZES.map(|size| format!(" {size:>13}")).concat()
    );
    for row in rows {
        println!("{}", row.line());
    }
}
