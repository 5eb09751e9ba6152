use std::{fs, path::Path};

use ostrakon_client::people::SignedVersion;
use ostrakon_server::{
    Clock,
    admin::Client,
    ceremony::{BackupFile, HolderReport, Proved, Stand, Verification, parse_backup},
    read_text, setup,
};
use ostrakon_types::ErrorChain;
use serde_json::json;

use super::{Context, administrators, ceremony, encrypted, recovery::machine};
use crate::{
    cli::{AskArgs, Format},
    error::{FAILED, Failure},
};

/// Has every device prove its share.
pub(crate) async fn verify(context: &Context, path: &Path, args: &AskArgs) -> Result<(), Failure> {
    let file = read(path, args, context.format).await?;
    let versions = versions(&file, args)?;
    let newer = newer(context, &file).await;
    let behind = is_behind(&file, &versions);
    let clock = Clock::system();
    let wait_ms = args.wait.wait_ms();
    let mut verification = Verification::open(file, &versions, machine()?, wait_ms, &clock)?;
    verification.through(&context.home).await;
    // However it ends in time, there is something to report.
    let held = ceremony::hold(&mut verification, args, context.format).await;
    verification.end().await;
    if let Stand::Cancelled = held? {
        return Err(ceremony::not_approved(Stand::Cancelled));
    }
    let report = verification.report();
    let file = verification.file();
    let count = |proved| {
        report
            .iter()
            .filter(|holder| holder.proved == proved)
            .count()
    };
    let (good, bad) = (count(Proved::Good), count(Proved::Bad));
    let needed = file.threshold().needed();
    match context.format {
        Format::Human => {
            println!("server      {}", file.kss_id());
            println!("generation  {}", file.generation());
            for holder in &report {
                println!("{:<11} {}", proved(holder.proved), named(holder));
            }
            println!(
                "{good} of {} shares are good; it takes {needed}",
                report.len()
            );
        }
        Format::Json | Format::Cef => {
            let holders: Vec<_> = report
                .iter()
                .map(|holder| {
                    json!({
                        "device": holder.device,
                        "name": holder.card.as_ref().map(|card| card.name.as_str()),
                        "share": proved(holder.proved),
                    })
                })
                .collect();
            println!(
                "{}",
                json!({
                    "kss_id": file.kss_id(),
                    "generation": file.generation().to_string(),
                    "newer": newer,
                    "needed": needed,
                    "good": good,
                    "holders": holders,
                })
            );
        }
    }
    if let Some(newer) = &newer {
        eprintln!("warning: this file is out of date: the server's newest backup key is {newer}");
        eprintln!(
            "warning: with {needed} of its devices, this file opens the server's identity all the same, for ever"
        );
    } else if behind {
        eprintln!(
            "warning: the profile has changed since this file was made: `keyserver save-backup-key` makes a new one"
        );
    }
    if bad > 0 || good < usize::from(needed) {
        return Err(Failure::Printed { code: FAILED });
    }
    Ok(())
}

/// Reads a backup file. One that is encrypted is opened through its profile.
pub(crate) async fn read(
    path: &Path,
    args: &AskArgs,
    format: Format,
) -> Result<BackupFile, Failure> {
    let is_pipe = |about: fs::Metadata| !about.is_file() && !about.is_dir();
    if fs::metadata(path).is_ok_and(is_pipe) {
        // To read it might wait for ever.
        let said = format!("`{}` is no file, but a pipe or a device", path.display());
        return Err(Failure::new(said).hint("name the backup file itself"));
    }
    if encrypted::is_encrypted(path)? {
        return encrypted::read(path, args, format).await;
    }
    let text = read_text(path).map_err(Failure::file(path))?;
    if text.is_empty() {
        let said = format!(
            "`{}` is empty: the backup key that was to be in it was not made",
            path.display()
        );
        return Err(Failure::new(said).hint(
            "a command that waits for approvals writes it at the end, or was killed and left it: then remove it",
        ));
    }
    parse_backup(&text).map_err(|error| {
        Failure::new(format!("`{}`: {}", path.display(), ErrorChain(&error)))
            .hint("take another copy of the file: one changed byte is enough")
    })
}

/// The newest versions that are known of the profile that the file names. This user's workstation may have
/// another one, which is left out unless it was named on purpose.
pub(crate) fn versions(file: &BackupFile, args: &AskArgs) -> Result<Vec<SignedVersion>, Failure> {
    let versions = administrators::profile(args)?;
    let same = |first: &SignedVersion| {
        let known = file.versions().first();
        known.is_some_and(|known| known.version().hash() == first.version().hash())
    };
    match versions.first() {
        Some(first) if !same(first) && args.profile.is_none() => Ok(Vec::new()),
        _ => Ok(versions),
    }
}

/// Whether the profile has gone on since the file was made.
pub(crate) fn is_behind(file: &BackupFile, versions: &[SignedVersion]) -> bool {
    versions.len() > file.versions().len()
}

/// The generation of a newer backup key, where the home has the file's server.
async fn newer(context: &Context, file: &BackupFile) -> Option<String> {
    let status = match Client::new(&context.home).status().await {
        Ok(status) => status,
        Err(_) => setup::stopped_status(&context.home).await.ok()?,
    };
    let newest = status.backup.filter(|_| status.kss_id == file.kss_id())?;
    let newer = newest.is_newer_than(file.generation());
    newer.then(|| newest.generation())
}

fn proved(proved: Proved) -> &'static str {
    match proved {
        Proved::Good => "good",
        Proved::Bad => "BAD",
        Proved::NoAnswer => "no answer",
        Proved::Denied => "denied",
        _ => "not asked",
    }
}

fn named(holder: &HolderReport) -> String {
    match &holder.card {
        Some(card) => format!("{} {}", holder.device, card.name),
        None => format!("{} (not in the profile any more)", holder.device),
    }
}
