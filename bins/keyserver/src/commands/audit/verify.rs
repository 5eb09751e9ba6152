use std::path::PathBuf;

use ostrakon_server::{
    Clock,
    audit::{AuditSummary, VerifyOptions, verify},
};

use super::Context;
use crate::{
    cli::Format,
    error::{FAILED, Failure},
};

pub(super) async fn run(
    context: &Context,
    checkpoints: Option<PathBuf>,
    archives: Vec<PathBuf>,
    quotas: bool,
) -> Result<(), Failure> {
    let options = VerifyOptions {
        checkpoints,
        archives,
        quotas,
    };
    let summary = verify(&context.home, &options, &Clock::system()).await?;
    match context.format {
        Format::Human => print(&summary, &options),
        Format::Json | Format::Cef => {
            let text = serde_json::to_string(&summary);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    let Some(first) = summary.faults.first() else {
        return Ok(());
    };
    eprintln!("error: the audit log is not what was written: {first}");
    let more = summary.faults.iter().skip(1);
    more.for_each(|fault| eprintln!("       {fault}"));
    let told = summary.faults.len() as u64;
    if summary.fault_count > told {
        eprintln!("       and {} more", summary.fault_count - told);
    }
    eprintln!("hint: keep a copy of the home before anything else is done with it");
    Err(Failure::Printed { code: FAILED })
}

fn print(summary: &AuditSummary, options: &VerifyOptions) {
    if summary.fault_count == 0 {
        println!(
            "{} records, each linked to the one before: {} approvals, {} denials",
            summary.records, summary.approved, summary.denied
        );
    } else {
        println!(
            "{} records: {} approvals, {} denials; {} faults",
            summary.records, summary.approved, summary.denied, summary.fault_count
        );
    }
    for chain in summary.chains.iter().filter(|chain| chain.archived > 0) {
        println!(
            "records 1 to {} are archived (chain {})",
            chain.archived, chain.instance
        );
    }
    match (summary.newest_checkpoint, summary.uncovered) {
        (None, _) => println!("no checkpoint yet: records cut off the end do not all show"),
        (Some(newest), 0) => println!("checkpoint {newest} covers all of them"),
        (Some(newest), 1) => println!("checkpoint {newest} covers all of them but the newest"),
        (Some(newest), more) => {
            println!("checkpoint {newest} covers all of them but the newest {more}");
        }
    }
    if options.checkpoints.is_some() {
        println!("{} checkpoints from elsewhere compared", summary.compared);
    }
    for archive in &summary.archives {
        let number = archive
            .number
            .map_or_else(|| "?".to_owned(), |n| n.to_string());
        println!(
            "archive {number} ({}): {} records",
            archive.file.display(),
            archive.records
        );
    }
    if options.quotas && summary.fault_count == 0 {
        println!("counters and remembered requests are what the log says");
    }
}
