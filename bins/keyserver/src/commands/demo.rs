//! The main job on real files, in acts. Every act checks what it shows, and a check that fails ends
//! the demonstration with an error.

mod backup;
mod cluster;
mod failover;
mod files;
mod people;
mod recovery;
mod stage;
mod tampering;

use std::path::{Path, PathBuf};

use ostrakon_client::{Outcome, Report};
use ostrakon_server::{
    Clock,
    audit::{AuditSummary, FaultKind, Told, VerifyOptions, verify},
};

use self::{
    files::{Files, same},
    people::Administrator,
    stage::{Stage, User},
    tampering::Tampering,
};
use crate::error::Failure;

pub(crate) async fn run(path: Option<PathBuf>) -> Result<(), Failure> {
    let files = Files::find(path.as_deref())?;
    let folder = tempfile::Builder::new()
        .prefix("ostrakon-demo-")
        .tempdir()
        .map_err(|error| Failure::new(format!("cannot make a folder: {error}")))?;
    let played = play(&files, folder.path()).await;
    let cleaned = folder
        .close()
        .map_err(|error| Failure::new(error.to_string()));
    played.and(cleaned)?;
    println!();
    println!("Everything was as it should be, and nothing is left behind.");
    Ok(())
}

async fn play(files: &Files, folder: &Path) -> Result<(), Failure> {
    act("A key shard server is made, and runs on a loopback port");
    let mut stage = Stage::set(folder, &policy(files.count())).await?;
    println!("  id      {}", stage.kss_id());
    println!(
        "  policy  decrypt what is in Shared, {} files a day for each profile",
        files.count()
    );

    act("An administrator and a user are onboarded, by nothing but configuration");
    let administrator = User::onboard(&stage, "admin", true).await?;
    administrator.show();
    let mut user = User::onboard(&stage, "user", false).await?;
    user.show();
    check(
        administrator.folders() == 2,
        "an administrator gets two default folders",
    )?;
    check(user.folders() == 0, "a user gets none")?;

    act("The user's files are put into two secure folders and encrypted");
    let shared = user.add_folder("Shared", files).await?;
    let private = user.add_folder("Private", files).await?;
    let reports = user.encrypt(&[&shared, &private])?;
    check(
        count(&reports, is_done) == 2 * files.count(),
        "every file is encrypted",
    )?;
    check(
        files.none_in_clear(&[&shared, &private])?,
        "no file is left in clear",
    )?;
    println!(
        "  {} files, {} in each folder",
        reports.len(),
        files.count()
    );
    println!("  each key is split between the workstation and the server: neither has it alone");

    act("The batch job decrypts both folders; nobody taps a phone");
    let output = folder.join("output");
    let mut reports = user.decrypt(&[&shared], &output).await?;
    reports.extend(user.decrypt(&[&private], &folder.join("denied")).await?);
    check(
        count(&reports, is_done) == files.count(),
        "every shared file is decrypted",
    )?;
    check(
        count(&reports, is_denied) == files.count(),
        "every private file is denied",
    )?;
    check(
        same(&files.root, &output)?,
        "what was decrypted is what was encrypted",
    )?;
    println!(
        "  {} decrypted, byte for byte what they were",
        files.count()
    );
    show_denied(&reports);

    act("Many ask at once for what a quota allows a few times");
    let metered = user.add_folder("Metered", files).await?;
    user.encrypt(&[&metered])?;
    let one = files.first_encrypted(&metered);
    let outputs: Vec<PathBuf> = (0..AT_ONCE)
        .map(|number| folder.join(format!("at-once-{number}")))
        .collect();
    let reports = user.decrypt_at_once(&one, outputs).await?;
    check(
        count(&reports, is_done) == METERED,
        "as many are approved as the quota allows, and no more",
    )?;
    check(
        count(&reports, is_denied) == AT_ONCE - METERED,
        "all others are denied",
    )?;
    println!("  {AT_ONCE} requests at once, a quota of {METERED}: {METERED} approved");

    act("A private file is moved to the shared folder: its path is sealed in it");
    let moved = files.copy_one(&private, &shared)?;
    let reports = user.decrypt(&[&moved], &folder.join("moved")).await?;
    check(count(&reports, is_denied) == 1, "the moved file is denied")?;
    show_denied(&reports);

    act(
        "One shared file more: the quota is used up, also after the server was stopped and started",
    );
    stage.stop().await?;
    let older = Tampering::keep(stage.home())?;
    stage.start().await?;
    let one = files.first_encrypted(&shared);
    let reports = user.decrypt(&[&one], &folder.join("again")).await?;
    check(
        count(&reports, is_denied) == 1,
        "the quota holds over a restart",
    )?;
    show_denied(&reports);

    act("An administrator's profile gets five devices, three of which decide");
    let mut people = Administrator::assemble(folder).await?;
    check(people.threshold() == Some((3, 5)), "it takes three of five")?;
    println!("  a workstation, a phone, a tablet and twice 24 words on paper: threshold 3");
    people.set_threshold(2, true).await?;
    check(
        people.threshold() == Some((2, 5)),
        "three approved a change",
    )?;
    println!("  three of them changed that to 2, each by an approval that no relay can read");
    people.set_threshold(3, false).await?;

    act("The audit log is checked, record by record");
    stage.stop().await?;
    let options = VerifyOptions {
        quotas: true,
        ..VerifyOptions::default()
    };
    let audit = verify(stage.home(), &options, &Clock::system()).await?;
    check(audit.fault_count == 0, "the audit log is what was written")?;
    check(audit.uncovered == 0, "checkpoints cover every record")?;
    // Files, profiles, the two users' folders.
    let approved = files.count() + METERED + 2 + 2 + 3;
    check(
        audit.approved == approved,
        "every approval is on record, and no other",
    )?;
    check(
        audit.denied == files.count() + (AT_ONCE - METERED) + 2,
        "every denial is on record, and no other",
    )?;
    println!(
        "  {} records, each linked to the one before: {} approvals, {} denials",
        audit.records, audit.approved, audit.denied
    );
    println!(
        "  {} signed checkpoints cover all of it, and every counter is what the log says",
        audit.checkpoints
    );

    act("Somebody who has the database puts back an older copy, without the newest records");
    let newest = Tampering::keep(stage.home())?;
    older.put_back()?;
    let found = verify(stage.home(), &options, &Clock::system()).await?;
    newest.put_back()?;
    check(found.fault_count > 0, "what was taken away is found out")?;
    show_faults(&found);

    act("Somebody who has the database changes one bit of one record");
    let mut changed = newest.change_a_record(&audit)?;
    let mut found = AuditSummary::default();
    let is_named = |told: &Told| told.fault.kind == FaultKind::Changed;
    while !found.faults.iter().any(is_named) && changed.flip_next()? {
        // The instance's id stands elsewhere, too, where a changed bit may shut the whole database.
        if let Ok(summary) = verify(stage.home(), &options, &Clock::system()).await {
            found = summary;
        }
    }
    newest.put_back()?;
    check(
        found.faults.iter().any(is_named),
        "what was changed is found out",
    )?;
    show_faults(&found);
    let whole = verify(stage.home(), &options, &Clock::system()).await?;
    check(whole.fault_count == 0, "put right, the log is whole again")?;

    backup::play(&stage, folder, whole.records).await?;
    let shared = (files, shared.as_path());
    recovery::play(&mut stage, &mut people, &mut user, shared, folder).await?;
    failover::play(&mut stage, &mut people, &mut user, shared, folder).await?;
    cluster::play(&mut people, files, folder, &policy(files.count())).await
}

/// How many requests are made at once, and how many of them the quota allows.
const AT_ONCE: u64 = 24;
const METERED: u64 = 5;

/// What is wrong with the log: the first faults.
fn show_faults(summary: &AuditSummary) {
    for fault in summary.faults.iter().take(2) {
        println!("  found: {fault}");
    }
}

/// Everything in Shared, as often a day as there are files; what is in Metered, a few times.
fn policy(quota: u64) -> String {
    format!(
        "decrypt:
  - - rule: meta-rule
      paths: [/Shared]
      require_complete: true
    - rule: per-profile-throttle-rule
      rule_id: shared-files-per-day
      per_day: {quota}
  - - rule: meta-rule
      paths: [/Metered]
      require_complete: true
    - rule: per-profile-throttle-rule
      rule_id: metered-files-per-day
      per_day: {METERED}
"
    )
}

fn act(title: &str) {
    println!();
    println!("== {title}");
}

fn check(holds: bool, what: &str) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "the demonstration failed: not so: {what}"
        )))
    }
}

fn count(reports: &[Report], kind: impl Fn(&Outcome) -> bool) -> u64 {
    reports
        .iter()
        .filter(|report| kind(&report.outcome))
        .count() as u64
}

fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done { .. })
}

fn is_denied(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Denied(_))
}

/// A few of the denied files, with the reason.
fn show_denied(reports: &[Report]) {
    const SHOWN: usize = 3;
    let denied: Vec<_> = reports
        .iter()
        .filter_map(|report| match &report.outcome {
            Outcome::Denied(denial) => Some((report.path.file_name(), denial)),
            _ => None,
        })
        .collect();
    for (name, denial) in denied.iter().take(SHOWN) {
        let name = name.unwrap_or_default().to_string_lossy();
        println!("  {name}: denied, {}", stage::reason(denial));
    }
    if let Some(more) = denied.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        println!("  and {more} more");
    }
}
