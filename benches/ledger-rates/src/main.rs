//! How many decisions the durable ledger settles a second, and what becomes of that on a large database.

mod asking;
mod disk;
mod room;
mod scale;

use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::Parser;

use crate::{asking::Asking, room::Room};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Times the durable ledger.
#[derive(Parser)]
struct Options {
    /// How long each row is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many requests of one item wait at a time.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,256")]
    waiting: Vec<usize>,
    /// Over how many profiles, with a quota each, the requests are spread.
    #[arg(long, default_value_t = 1000)]
    profiles: u32,
    /// Where the databases are made, for the time of the run.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Percents of 10^6 profiles and 10^8 audit records; 100 takes 40 GB and an hour.
    #[arg(long, value_delimiter = ',')]
    scale: Vec<u32>,
    /// The program whose start is timed.
    #[arg(long, env = "OSTRAKON_BENCH_KEYSERVER")]
    keyserver: Option<PathBuf>,
}

fn main() -> Outcome {
    let options = Options::parse();
    let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    println!("{}", machine());
    println!(
        "fdatasync of an appended 4 KiB: {:.0} /s",
        disk::syncs_per_second(&dir)?
    );
    if options.scale.is_empty() {
        runtime.block_on(rates(&options, &dir))
    } else {
        let keyserver = options.keyserver.as_ref().ok_or("--keyserver is missing")?;
        scale::run(&runtime, &options.scale, keyserver, &dir, options.seconds())
    }
}

impl Options {
    fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds.max(1))
    }
}

async fn rates(options: &Options, dir: &std::path::Path) -> Outcome {
    let room = Room::create(dir).await?;
    let profiles = room.found(options.profiles).await?;
    println!(
        "{:>8} {:>14} {:>12} {:>12} {:>10}",
        "waiting", "decisions/s", "time each", "CPU each", "to first"
    );
    let mut first = None;
    for &waiting in &options.waiting {
        let measured = room.measure(&profiles, waiting, options.seconds()).await?;
        let first = *first.get_or_insert(measured.each());
        println!(
            "{:>8} {measured} {:>9.1}x",
            waiting,
            first / measured.each()
        );
    }
    let proposal = Asking::new()?.micros_per_proposal(&profiles);
    println!("of which the policy's proposal: {proposal:.2} µs");
    room.close().await;
    Ok(())
}

/// The machine and the day, for whoever reads the figures later.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let today = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    format!(
        "{cores} cores of {model}, load {load}, {}",
        today.strftime("%Y-%m-%d")
    )
}
