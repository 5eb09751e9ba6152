//! What the disk allows.

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::Outcome;

/// How often a second a file in the folder takes 4 KiB more and makes them durable.
pub fn syncs_per_second(dir: &Path) -> Outcome<f64> {
    let mut file = tempfile::tempfile_in(dir)?;
    let start = Instant::now();
    let mut syncs = 0_u32;
    while start.elapsed() < Duration::from_secs(2) {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(f64::from(syncs) / start.elapsed().as_secs_f64())
}
