//! A second machine that stands by, and takes over; and the first, which comes back by mistake.

use std::path::Path;

use ostrakon_server::{
    Clock, Home,
    admin::Client,
    ceremony::{Ingestion, parse_backup},
    read_text, setup,
};

use super::{
    act, check, count,
    files::Files,
    is_denied,
    people::{Administrator, WAIT_MS},
    recovery::back_up,
    show_denied,
    stage::{Stage, User, failed},
};
use crate::{commands::recovery::machine, error::Failure};

/// Plays it on a server that does not run, with a user who has decrypted all that the quota allows.
pub(super) async fn play(
    stage: &mut Stage,
    people: &mut Administrator,
    user: &mut User,
    (files, shared): (&Files, &Path),
    folder: &Path,
) -> Result<(), Failure> {
    act("Another machine is prepared to stand by, from a new backup file and three devices");
    let path = folder.join("backup-key-2.txt");
    back_up(stage.home(), people, &path).await?;
    let standby = Home::new(folder.join("standby"));
    let file = parse_backup(&read_text(&path).map_err(failed)?)?;
    let clock = Clock::system();
    let mut asking = Ingestion::open(&standby, file, &[], machine()?, WAIT_MS, &clock)?;
    people.approve_all(&mut asking).await?;
    asking.finish().await?;
    setup::set_enabled_stopped(&standby, true, &clock).await?;
    println!("  it has the identity, and does not run");

    act("The first fails, and the other takes over at its address");
    let first = stage.home().clone();
    stage.move_to(standby.clone()).await?;
    let one = files.first_encrypted(shared);
    let reports = user.decrypt(&[&one], &folder.join("taken-over")).await?;
    check(
        count(&reports, is_denied) == 1,
        "the standby answers, and counts the quota as spent",
    )?;
    println!("  it answers, and counts as spent what the first may have approved");
    show_denied(&reports);

    act("The first is started again by mistake: the first user who has met both stops it");
    stage.stop().await?;
    stage.move_to(first).await?;
    let Err(refused) = user.decrypt(&[&one], &folder.join("refused")).await else {
        return Err(Failure::new(
            "the demonstration failed: two servers with one identity were not found out",
        ));
    };
    if let Failure::Said { message, .. } = &refused {
        println!("  {message}");
    }
    let status = Client::new(stage.home()).status().await?;
    let reason = status.not_ready.unwrap_or_default();
    check(
        reason == "state is out of date",
        "the server that was found out has stopped",
    )?;
    println!("  the server: {reason}; it answers nobody, also after a restart");
    stage.stop().await?;

    stage.move_to(standby).await?;
    let reports = user.decrypt(&[&one], &folder.join("goes-on")).await?;
    check(count(&reports, is_denied) == 1, "the standby goes on")?;
    println!("  the one that took over goes on");
    stage.stop().await
}
