//! A server that is lost, and made again from its backup file and its administrators' devices.

use std::{fs, path::Path};

use ostrakon_server::{
    Clock, Home,
    ceremony::{Ask, Fulfilled, Ingestion, NewBackupFile, OfServer, Operation, parse_backup},
    read_text, setup,
};

use super::{
    act, check, count,
    files::Files,
    is_denied, is_done,
    people::{Administrator, WAIT_MS},
    show_denied,
    stage::{Stage, User, failed},
};
use crate::{commands::recovery::machine, error::Failure};

/// Plays it on a server that does not run, with a user whose `shared` folder the policy allows.
pub(super) async fn play(
    stage: &mut Stage,
    people: &mut Administrator,
    user: &mut User,
    (files, shared): (&Files, &Path),
    folder: &Path,
) -> Result<(), Failure> {
    act("The server's identity is split among the administrator's devices: three of five have it");
    let path = folder.join("backup-key.txt");
    back_up(stage.home(), people, &path).await?;
    println!("  the backup file is no secret: without three devices it opens to nobody");

    act("The machine is lost. Three devices give their shares to another one");
    fs::remove_dir_all(stage.home().folder()).map_err(failed)?;
    let file = parse_backup(&read_text(&path).map_err(failed)?)?;
    let home = Home::new(folder.join("recovered"));
    let clock = Clock::system();
    let mut asking = Ingestion::open(&home, file, &[], machine()?, WAIT_MS, &clock)?;
    people.approve_all(&mut asking).await?;
    let ingested = asking.finish().await?;
    check(
        ingested.keyserver.kss_id() == stage.kss_id(),
        "the recovered server has the id that was lost",
    )?;
    setup::set_enabled_stopped(&home, true, &clock).await?;
    stage.move_to(home).await?;
    println!("  id      {}, as before", stage.kss_id());

    act("What the lost server may have approved today counts as spent, until three say otherwise");
    let one = files.first_encrypted(shared);
    let reports = user.decrypt(&[&one], &folder.join("careful")).await?;
    check(count(&reports, is_denied) == 1, "the quota counts as spent")?;
    show_denied(&reports);
    let ask = Ask {
        operation: Operation::AcceptRollback,
        profile: Vec::new(),
        wait_ms: WAIT_MS,
    };
    let mut asking = OfServer::open(stage.home(), &clock, ask).await?;
    people.approve_all(&mut asking).await?;
    asking.finish(|_| Ok::<_, Failure>(())).await?;
    let reports = user
        .decrypt(&[&one], &folder.join("recovered-file"))
        .await?;
    check(
        count(&reports, is_done) == 1,
        "who was onboarded before decrypts without doing anything",
    )?;
    println!("  the user decrypts again, and has done nothing");
    stage.stop().await
}

pub(super) async fn back_up(
    home: &Home,
    people: &mut Administrator,
    path: &Path,
) -> Result<(), Failure> {
    let file = NewBackupFile::reserve(path)?;
    let ask = Ask {
        operation: Operation::SaveBackupKey {
            ignore_security_checks: false,
        },
        profile: people.profile(),
        wait_ms: WAIT_MS,
    };
    let mut asking = OfServer::open(home, &Clock::system(), ask).await?;
    people.approve_all(&mut asking).await?;
    let keep = |fulfilled: &Fulfilled| match fulfilled {
        Fulfilled::BackupKey { text } => Ok(file.write(&parse_backup(text)?)?),
        _ => Err(Failure::new("the server did something else")),
    };
    asking.finish(keep).await?;
    Ok(())
}
