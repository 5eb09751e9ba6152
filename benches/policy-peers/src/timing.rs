use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::shape::Case;

/// How often each engine is timed.
pub const ROUNDS: usize = 9;
/// How long it is timed each time, at least; and how long it goes on all in all where it is slow.
const ROUND: Duration = Duration::from_millis(10);
const ENOUGH: Duration = Duration::from_secs(10);

/// An engine that has loaded a policy. What is made of a request before the engine is asked is not timed.
pub trait Engine {
    /// Makes requests of the cases.
    fn prepare(&mut self, cases: &[Case]);

    /// Whether the request number `case` is approved.
    fn decide(&self, case: usize) -> bool;
}

/// The processor's time for one decision of each engine in nanoseconds, over the cases in turn.
///
/// The engines take turns, so that whatever else the machine does falls to all of them.
pub fn median(engines: &[&dyn Engine], cases: usize) -> Vec<f64> {
    let mut nanos = vec![Vec::new(); engines.len()];
    let mut spent = vec![Duration::ZERO; engines.len()];
    for _ in 0..ROUNDS {
        for ((engine, nanos), spent) in engines.iter().zip(&mut nanos).zip(&mut spent) {
            if *spent < ENOUGH {
                let (calls, time) = round(*engine, cases);
                nanos.push(time.as_secs_f64() * 1e9 / f64::from(calls));
                *spent += time;
            }
        }
    }
    let middle = |mut nanos: Vec<f64>| {
        nanos.sort_by(f64::total_cmp);
        nanos[nanos.len() / 2]
    };
    nanos.into_iter().map(middle).collect()
}

fn round(engine: &dyn Engine, cases: usize) -> (u32, Duration) {
    let start = processor_time();
    let mut calls = 0;
    loop {
        for case in 0..cases {
            black_box(engine.decide(black_box(case)));
            calls += 1;
        }
        let time = processor_time().saturating_sub(start);
        if time >= ROUND {
            return (calls, time);
        }
    }
}

/// How long this thread has had a processor. Waiting for one is not the engine's doing.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs().try_into().unwrap(),
    )
}

/// The machine, and the time.
pub fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%d %H:%M UTC")
        .to_string();
    format!("{now}, {cores} x {model}, load {load}")
}
