//! The same on large databases, made through the ledger itself: real seals, a real chain.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use ostrakon_custody::LedgerLimits;
use tokio::runtime::Runtime;

use crate::{
    Outcome,
    asking::POLICY,
    room::{Member, Room},
};

const PROFILES: u64 = 1_000_000;
const RECORDS: u64 = 100_000_000;

/// Decisions a request while a database is filled.
const ITEMS: u32 = 16;
const WAITING: usize = 64;

/// While a database is filled, nobody waits for an answer.
const FILLING: LedgerLimits = LedgerLimits {
    queue: 65_536,
    batch: 8192,
};

pub fn run(
    runtime: &Runtime,
    percents: &[u32],
    keyserver: &Path,
    dir: &Path,
    duration: Duration,
) -> Outcome {
    println!(
        "{:>4} {:>9} {:>11} {:>9} {:>9} {:>14} {:>12} {:>12} {:>9}",
        "%",
        "profiles",
        "records",
        "GB",
        "filled in",
        "decisions/s",
        "time each",
        "CPU each",
        "ready in"
    );
    for &percent in percents {
        let home = tempfile::tempdir_in(dir)?;
        let home = home.path();
        create(keyserver, home)?;
        let profiles = u32::try_from(PROFILES * u64::from(percent) / 100)?.max(1000);
        let records = RECORDS * u64::from(percent) / 100;
        let start = Instant::now();
        let members = runtime.block_on(fill(home, profiles, records))?;
        let filled = start.elapsed().as_secs_f64();
        let measured = runtime.block_on(async {
            let room = Room::open(home, LedgerLimits::default()).await?;
            let measured = room.measure(&members, WAITING, duration).await;
            room.close().await;
            measured
        })?;
        let size = fs::metadata(home.join("keyserver.db"))?.len() as f64 / 1e9;
        // The second start finds the files in memory.
        start_to_ready(keyserver, home)?;
        let ready = start_to_ready(keyserver, home)?.as_millis();
        println!(
            "{percent:>4} {profiles:>9} {records:>11} {size:>9.2} {filled:>7.0} s {measured} {ready:>6} ms"
        );
    }
    Ok(())
}

async fn fill(home: &Path, profiles: u32, records: u64) -> Outcome<Arc<[Member]>> {
    let room = Room::open(home, FILLING).await?;
    let members: Arc<[Member]> = room.found(profiles).await?.into();
    room.fill(&members, records, ITEMS).await?;
    room.close().await;
    Ok(members)
}

fn create(keyserver: &Path, home: &Path) -> Outcome {
    let created = Command::new(keyserver)
        .arg("--home")
        .arg(home)
        .arg("create")
        .output()?;
    if !created.status.success() {
        return Err(String::from_utf8_lossy(&created.stderr).into());
    }
    fs::write(home.join("keyserver.yml"), POLICY)?;
    Ok(())
}

/// How long a server takes until it says that it serves.
fn start_to_ready(keyserver: &Path, home: &Path) -> Outcome<Duration> {
    let start = Instant::now();
    let mut server = Command::new(keyserver)
        .arg("--home")
        .arg(home)
        .arg("serve")
        .env("OSTRAKON_LISTEN", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()?;
    let log = BufReader::new(server.stderr.take().ok_or("no log")?);
    let serving = log
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("serving"));
    let ready = start.elapsed();
    let _ = server.kill();
    server.wait()?;
    if serving {
        Ok(ready)
    } else {
        Err("the server does not start".into())
    }
}
