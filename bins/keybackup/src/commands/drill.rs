use std::{fs::File, io::Read, os::unix::fs::DirBuilderExt as _, path::Path};

use ostrakon_backup::{
    Opening, Restored, Restorer,
    archive::{Contents, Verified, Voucher, read},
    catalogue::Catalogue,
};
use ostrakon_server::{
    Clock, Home,
    audit::{VerifyOptions, verify},
};
use ostrakon_types::UnixMillis;
use rustix::fs::{FlockOperation, flock};
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{canary, metrics};
use crate::{
    aside,
    cli::{DrillArgs, OpenArgs},
    context,
    error::{Failure, code},
    print,
};

/// Restores an archive into a throw-away server, and opens a shard with that.
pub(crate) async fn run(args: DrillArgs) -> Result<(), Failure> {
    let scratch = scratch(&std::env::temp_dir())?;
    let began = Clock::system().now();
    let (verified, restored) = unpack(&args.archive, &args.open, scratch.path(), false).await?;
    let done = prove(&verified, &restored, scratch.path()).await;
    let closed = scratch.close();
    let proof = done?;
    closed.map_err(Failure::file(&args.archive))?;
    let now = Clock::system().now();
    print(&format!("proven {}", verified.header.archive))?;
    aside(&format!("{proof}, in {} s", now.since(began) / 1000));
    if let Some(file) = &args.metrics_file {
        metrics::proven(file, now)?;
    }
    if !record(&args.archive, &verified, now)? {
        aside("It is not in the list of archives that were made here, so `list` does not show it.");
    }
    Ok(())
}

/// What the names of folders begin with in which archives are unpacked for a while.
const SCRATCH: &str = "keybackup-drill-";

/// A folder that only this user can read, and that goes with it. It is held, so that another command knows that it
/// is in use.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    _held: File,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it now, and says when that fails: keys may be in it.
    pub(crate) fn close(self) -> std::io::Result<()> {
        self.folder.close()
    }
}

/// Makes one in `parent`, where those that were left by commands that are gone are removed.
pub(crate) fn scratch(parent: &Path) -> Result<Scratch, Failure> {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_string_lossy().starts_with(SCRATCH);
        if is_one && hold(&entry.path()).is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let made = || {
        let folder = tempfile::Builder::new()
            .prefix(SCRATCH)
            .tempdir_in(parent)?;
        let _held = hold(folder.path())?;
        Ok(Scratch { folder, _held })
    };
    made().map_err(Failure::file(parent))
}

/// Takes a folder for this process, unless another has it.
fn hold(folder: &Path) -> std::io::Result<File> {
    let held = File::open(folder)?;
    flock(&held, FlockOperation::NonBlockingLockExclusive)?;
    Ok(held)
}

/// Reads an archive from its first byte to its last, into a new folder of the scratch folder.
pub(crate) async fn unpack(
    archive: &Path,
    open: &OpenArgs,
    scratch: &Path,
    lenient: bool,
) -> Result<(Verified, Restored), Failure> {
    let restorer = restorer(&scratch.join("home"))?
        .expecting(open.kss_id)
        .with_key(open.instance_key.clone());
    let restorer = if lenient {
        restorer.lenient()
    } else {
        restorer
    };
    let file = File::open(archive).map_err(Failure::file(archive))?;
    let identities = open.age_identity.clone();
    blocking(move || {
        let mut plain = Opening::new(identities).open(file)?;
        let taken = take(&mut plain, restorer);
        // Whether the archive is damaged decides: what is wrong with what it held may come from that.
        match taken {
            Ok((verified, restorer)) => {
                plain.finish()?;
                let restored = restorer.finish(&verified)?;
                Ok((verified, restored))
            }
            Err(failure) => {
                plain.finish()?;
                Err(failure)
            }
        }
    })
    .await
}

/// Takes a folder that is made for it.
pub(crate) fn restorer(folder: &Path) -> Result<Restorer, Failure> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.map_err(Failure::file(folder))?;
    Ok(Restorer::new(folder, Handle::current()))
}

/// Reads an archive into a restorer.
pub(crate) fn take(
    plain: &mut impl Read,
    mut restorer: Restorer,
) -> Result<(Verified, Restorer), Failure> {
    match read(plain, &mut restorer) {
        Ok(verified) => Ok((verified, restorer)),
        Err(error) => {
            restorer.give_up();
            Err(error.into())
        }
    }
}

/// Runs what blocks beside what does not.
pub(crate) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match spawn_blocking(act).await {
        Ok(done) => done,
        Err(error) => Err(Failure::of(code::FAILED, &error)),
    }
}

/// Uses what was restored to the scratch folder, and says what that proves.
pub(crate) async fn prove(
    verified: &Verified,
    restored: &Restored,
    scratch: &Path,
) -> Result<String, Failure> {
    let home = scratch.join("home");
    match restored.contents {
        Contents::Keyserver if !restored.has_database => Err(Failure::new(
            code::NOT_PROVEN,
            "the archive has no database",
        )),
        Contents::Keyserver => {
            let Voucher::Keyserver(kss_id) = verified.voucher else {
                return Err(Failure::new(code::DAMAGED, "the archive is by no server"));
            };
            let records = check_log(&home).await?;
            canary::sing(&home, scratch, kss_id).await?;
            Ok(format!(
                "The server was restored, its audit log of {records} records is whole, and it opened a shard"
            ))
        }
        Contents::Device => {
            ostrakon_client::backup::check(&home)
                .map_err(|error| Failure::of(code::NOT_PROVEN, &error))?;
            Ok("The device's home was restored, and its keys and profile fit".to_owned())
        }
        Contents::Folder => Ok("The folder was restored".to_owned()),
    }
}

/// Checks the whole audit log of a restored server.
pub(crate) async fn check_log(home: &Path) -> Result<u64, Failure> {
    let options = VerifyOptions::default();
    let summary = verify(&Home::new(home), &options, &Clock::system()).await?;
    match summary.faults.first() {
        None => Ok(summary.records),
        Some(first) => {
            let said = format!("the audit log in the archive is not what was written: {first}");
            Err(Failure::new(code::DAMAGED, said))
        }
    }
}

/// Notes in the list of archives beside an archive that it was proven to restore.
fn record(archive: &Path, verified: &Verified, now: UnixMillis) -> Result<bool, Failure> {
    let (digest, _) = context::digest(archive)?;
    let folder = archive
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let listed = Catalogue::read(folder, &verified.header.host)?;
    if !listed.entries().iter().any(|entry| entry.sha256 == digest) {
        return Ok(false);
    }
    let mut catalogue = Catalogue::open(folder, &verified.header.host)?;
    Ok(catalogue.prove(&digest, now)?)
}
