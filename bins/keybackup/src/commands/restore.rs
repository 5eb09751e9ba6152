use std::{fs::File, path::Path};

use ostrakon_backup::{
    Opening, Restored, Restorer,
    archive::{Contents, Verified, Voucher},
    staging::Staging,
};
use ostrakon_server::{
    BuildError, Clock, DatabaseUri, Home, Place,
    backup::{self, Single},
    with_password,
};
use tokio::runtime::Handle;

use super::drill::{blocking, scratch, take, unpack};
use crate::{
    aside,
    cli::RestoreArgs,
    context,
    error::{Failure, code},
    print,
};

/// Makes an archive what it was made of.
pub(crate) async fn run(args: RestoreArgs) -> Result<(), Failure> {
    let target = context::confdir(args.confdir.clone())?;
    if let Some(profile) = &args.profile {
        let single = Single {
            profile: profile.clone(),
            folder: args.folder,
        };
        return one(&args, &target, &single).await;
    }
    let place = match args.db_uri.as_deref() {
        None => None,
        Some("sqlite:") => Some(None),
        Some(uri) if uri.starts_with("sqlite:") => {
            return Err(Failure::new(
                code::USAGE,
                "a server's own file is `keyserver.db` in its home",
            )
            .hint("name it as `sqlite:`"));
        }
        Some(uri) => Some(Some(named(uri)?)),
    };
    // What is there must not run.
    let old = Home::new(&target);
    let _held = match old.instance_key().exists() {
        true => Some(old.lock().map_err(BuildError::from)?),
        false => None,
    };
    let staging = Staging::begin(&target, args.force)?;
    let restorer = Restorer::new(staging.folder(), Handle::current())
        .expecting(args.open.kss_id)
        .with_key(args.open.instance_key.clone());
    let chosen = place.is_some();
    let place = place.flatten();
    let restorer = restorer.at(place.clone(), args.force).choosing(chosen);
    let restored = restore(&args, restorer, place.as_ref(), staging.folder(), &old).await;
    let (verified, restored) = match restored {
        Ok(restored) => restored,
        Err(failure) => {
            staging.give_up();
            return Err(failure);
        }
    };
    let kept = staging.finish(&format!(
        "replaced-{}",
        context::stamp(Clock::system().now())
    ))?;
    tell(&target, &verified, &restored, kept.as_deref())
}

fn named(uri: &str) -> Result<Place, Failure> {
    let usage = |error: &(dyn std::error::Error + 'static)| Failure::of(code::USAGE, error);
    let uri: DatabaseUri = uri.parse().map_err(|error| usage(&error))?;
    if uri.has_password() {
        // Everybody on the machine reads the arguments of a process.
        return Err(Failure::new(
            code::USAGE,
            "the password of a database does not belong on a command line",
        )
        .hint("put it into a file of mode 0600, and name that: `password_file=FILE`"));
    }
    let here = std::env::current_dir().map_err(|error| usage(&error))?;
    let uri = with_password(uri.within(&here)).map_err(|error| usage(&error))?;
    Ok(Place::from(&uri))
}

async fn restore(
    args: &RestoreArgs,
    restorer: Restorer,
    place: Option<&Place>,
    staging: &Path,
    old: &Home,
) -> Result<(Verified, Restored), Failure> {
    let file = File::open(&args.archive).map_err(Failure::file(&args.archive))?;
    let identities = args.open.age_identity.clone();
    let (verified, restored) = blocking(move || {
        let mut plain = Opening::new(identities).open(file)?;
        match take(&mut plain, restorer) {
            Ok((verified, restorer)) => {
                if let Err(error) = plain.finish() {
                    restorer.give_up();
                    return Err(error.into());
                }
                let restored = restorer.finish(&verified)?;
                Ok((verified, restored))
            }
            Err(failure) => {
                plain.finish()?;
                Err(failure)
            }
        }
    })
    .await?;
    match (restored.contents, verified.voucher) {
        (Contents::Keyserver, Voucher::Keyserver(kss_id)) => {
            let header = &verified.header;
            let detail = format!(
                "archive {} of {}",
                header.archive,
                context::shown(header.created_at)
            );
            let replaced = old.instance_key().exists().then_some(old);
            let home = Home::new(staging);
            if let Some(Place::Shared(uri)) = place {
                home.set_database(uri).map_err(BuildError::from)?;
            }
            let clock = Clock::system();
            backup::settle(&home, &kss_id, replaced, detail, &clock).await?;
        }
        (Contents::Device, _) => {
            let checked = ostrakon_client::backup::check(staging);
            checked.map_err(|error| Failure::of(code::DAMAGED, &error))?;
        }
        _ => {}
    }
    Ok((verified, restored))
}

fn tell(
    target: &Path,
    verified: &Verified,
    restored: &Restored,
    kept: Option<&Path>,
) -> Result<(), Failure> {
    let header = &verified.header;
    print(&target.display().to_string())?;
    aside(&format!(
        "as it was on {} at {}, by {}",
        header.host,
        context::shown(header.created_at),
        verified.voucher
    ));
    if let Some(kept) = kept {
        aside(&format!("what was there is in {}", kept.display()));
    }
    if restored.contents == Contents::Keyserver {
        aside(
            "What was decided since is not known to it: quotas that began before count as spent, until",
        );
        aside(
            "`keyserver accept-rollback` says otherwise. Make sure that the old server does not run any more.",
        );
    }
    Ok(())
}

/// Takes one profile or folder to a server that is there.
async fn one(args: &RestoreArgs, target: &Path, single: &Single) -> Result<(), Failure> {
    let scratch = scratch(&std::env::temp_dir())?;
    let (_, restored) = unpack(&args.archive, &args.open, scratch.path(), false).await?;
    if !restored.has_database {
        return Err(Failure::new(code::FOREIGN, "the archive is of no server"));
    }
    let from = Home::new(scratch.path().join("home"));
    let home = Home::new(target);
    let taken = backup::take_single(&from, &home, single, &Clock::system()).await?;
    let closed = scratch.close();
    closed.map_err(Failure::file(target))?;
    print(&format!(
        "{} versions, {} folders",
        taken.versions, taken.folders
    ))?;
    if taken.versions + taken.folders == 0 {
        aside("The server had all of it.");
    }
    Ok(())
}
