//! A server that is backed up, lost, and made again from the archive.

use std::{
    fs::{self, File},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use ostrakon_backup::{
    Restorer, SERVER_FILES,
    archive::{Author, Contents, FORMAT, Header, Writer, draw_id, read},
    staging::Staging,
};
use ostrakon_server::{
    Clock, Home,
    audit::{VerifyOptions, verify},
    backup::{Source, settle},
};
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{
    act, check,
    stage::{Stage, failed},
};
use crate::error::Failure;

/// Plays it on a server that does not run, whose log has so many records.
pub(super) async fn play(stage: &Stage, folder: &Path, records: u64) -> Result<(), Failure> {
    act("The server is backed up: its database as it is at one moment, its policy, its keys");
    let archive = folder.join("backup.tar");
    let parts = write(stage.home(), &archive).await?;
    println!("  one archive of {parts} parts, signed by the server");

    act("The machine is lost. The archive makes the server again, on another one");
    fs::remove_dir_all(stage.home().folder()).map_err(failed)?;
    restore(&archive, stage).await?;
    let options = VerifyOptions::default();
    let log = verify(stage.home(), &options, &Clock::system()).await?;
    check(log.fault_count == 0, "the audit log came back whole")?;
    check(
        log.records == records + 1,
        "every record is there, and one that says where it comes from",
    )?;
    println!("  every byte was read and checked before anything took its place");
    println!("  the log has its {records} records, and one about this");
    Ok(())
}

/// Writes an archive of the server in `home`, and says in how many parts its database is.
async fn write(home: &Home, archive: &Path) -> Result<u64, Failure> {
    let source = Source::open(home, None).await?;
    let header = Header {
        format: FORMAT,
        archive: draw_id().map_err(failed)?,
        contents: Contents::Keyserver,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        host: "demo".to_owned(),
        created_at: Clock::system().now(),
        author: Author::keyserver(&source.card().to_bytes()),
        database: Some(source.database().to_owned()),
        instance: Some(source.instance().to_string()),
    };
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(archive).map_err(Failure::file(archive))?;
    let mut writer = Writer::begin(file, &header).map_err(failed)?;
    for (name, path) in source.files(&SERVER_FILES) {
        let mut file = File::open(&path).map_err(Failure::file(&path))?;
        writer.file(name, 0o600, &mut file).map_err(failed)?;
    }
    let mut dump = source.dump().await?;
    while let Some(part) = dump.next().await.map_err(failed)? {
        let written = writer.part(part.table, part.rows, &part.bytes);
        written.map_err(failed)?;
    }
    drop(dump);
    let (_, manifest) = writer
        .finish(Some(&|manifest| source.sign(manifest)))
        .map_err(failed)?;
    source.close().await;
    Ok(manifest.database.map_or(0, |database| database.parts))
}

/// Makes the server again where it was.
async fn restore(archive: &Path, stage: &Stage) -> Result<(), Failure> {
    let staging = Staging::begin(stage.home().folder(), false).map_err(failed)?;
    let restorer = Restorer::new(staging.folder(), Handle::current());
    let mut restorer = restorer.expecting(Some(stage.kss_id()));
    let file = File::open(archive).map_err(Failure::file(archive))?;
    let restored = spawn_blocking(move || {
        let verified = read(file, &mut restorer).map_err(failed)?;
        restorer.finish(&verified).map_err(failed)
    });
    restored.await.map_err(failed)??;
    let home = Home::new(staging.folder());
    let detail = "the demonstration's archive".to_owned();
    settle(&home, &stage.kss_id(), None, detail, &Clock::system()).await?;
    staging.finish("replaced").map_err(failed)?;
    Ok(())
}
