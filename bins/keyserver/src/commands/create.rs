use std::path::PathBuf;

use ostrakon_client::people::SignedVersion;
use ostrakon_server::{
    Clock, DatabaseUri, Name,
    ceremony::{ConveneError, Creation, NewBackupFile, Stand, check_profile},
    setup,
};
use ostrakon_types::KssId;
use serde_json::json;

use super::{Context, administrators, ceremony, enable};
use crate::{
    cli::{BackupArgs, Format, RemoteArgs},
    error::Failure,
};

pub(crate) async fn run(
    context: &Context,
    name: &str,
    database: Option<&DatabaseUri>,
    backup: &BackupArgs,
) -> Result<(), Failure> {
    if setup::is_staged(&context.home).await? {
        return enable::enable(context, backup, &RemoteArgs::default()).await;
    }
    let name = Name::new(name).map_err(|error| Failure::new(format!("bad name: {error}")))?;
    let versions = administrators::profile(&backup.ask)?;
    if !backup.is_asked() {
        if versions.is_empty() && backup.ignore_security_checks {
            return Err(nothing_to_check());
        }
        let without = if versions.is_empty() {
            Some("no profile of administrators is known on this machine".to_owned())
        } else {
            unfit(&versions, backup)?
        };
        if let Some(why) = without {
            return without_backup(context, name, database, &why).await;
        }
    }
    with_backup(context, name, database, backup).await
}

/// Why the profile that is known here does not get the backup key that nobody asked for by name, if so.
fn unfit(versions: &[SignedVersion], backup: &BackupArgs) -> Result<Option<String>, Failure> {
    if backup.ignore_security_checks {
        return Ok(None);
    }
    match check_profile(versions) {
        Ok(()) => Ok(None),
        Err(ConveneError::Weak(weak)) => Ok(Some(weak.to_string())),
        Err(error) => Err(error.into()),
    }
}

async fn without_backup(
    context: &Context,
    name: Name,
    database: Option<&DatabaseUri>,
    why: &str,
) -> Result<(), Failure> {
    let made = setup::create(&context.home, name, database, &Clock::system()).await?;
    told(context, made.kss_id(), None);
    eprintln!("It has no backup key, since {why}.");
    eprintln!("Should this machine be lost, so is the server's key. To make a backup key:");
    eprintln!(
        "    keyserver --home {} save-backup-key --profile CARD PATH",
        context.home.folder().display()
    );
    Ok(())
}

/// Makes a server whose backup key is split among the devices of a profile.
pub(crate) async fn with_backup(
    context: &Context,
    name: Name,
    database: Option<&DatabaseUri>,
    backup: &BackupArgs,
) -> Result<(), Failure> {
    let versions = administrators::needed(&backup.ask)?;
    if let Some(database) = database {
        setup::check_vacant(database).await?;
    }
    let mut creation = Creation::open(
        &context.home,
        name,
        database,
        &versions,
        backup.ignore_security_checks,
        backup.ask.wait.wait_ms(),
        &Clock::system(),
    )?;
    let path = backup.path(context);
    let file = NewBackupFile::reserve(&path)?;
    match ceremony::hold(&mut creation, &backup.ask, context.format).await? {
        Stand::Approved => {}
        stand => return Err(ceremony::not_approved(stand)),
    }
    let keep = |made: &_| file.write(made).map_err(Failure::from);
    let keyserver = creation.finish(keep).await?;
    told(context, keyserver.kss_id(), Some(&path));
    Ok(())
}

/// Checks were to be left out, and there are none.
pub(crate) fn nothing_to_check() -> Failure {
    Failure::new("there is nothing to check: no backup key is asked for")
        .hint("add `--backup-path PATH`, and `--profile CARD` where it is not known here")
}

impl BackupArgs {
    /// Whether a backup key is asked for by name.
    pub(crate) fn is_asked(&self) -> bool {
        self.backup_path.is_some() || self.ask.profile.is_some()
    }

    /// Where the backup file goes.
    pub(crate) fn path(&self, context: &Context) -> PathBuf {
        let path = self.backup_path.clone();
        path.unwrap_or_else(|| context.home.folder().join("backup-key.txt"))
    }
}

fn told(context: &Context, kss_id: KssId, backup: Option<&PathBuf>) {
    match context.format {
        Format::Human => println!("{kss_id}"),
        Format::Json | Format::Cef => {
            println!("{}", json!({ "kss_id": kss_id, "backup_path": backup }));
        }
    }
    eprintln!(
        "A new key shard server was made in `{}`.",
        context.home.folder().display()
    );
    eprintln!("It is a new key: users of another server must be onboarded again to use this one.");
    if let Some(path) = backup {
        eprintln!(
            "Its backup key is in `{}`: copy that file elsewhere.",
            path.display()
        );
    }
    eprintln!(
        "Write its policy to `{}`, then run",
        context.home.policy().display()
    );
    eprintln!(
        "    keyserver --home {} serve",
        context.home.folder().display()
    );
}
