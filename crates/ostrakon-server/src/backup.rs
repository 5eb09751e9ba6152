//! What a backup of a server takes, and what it becomes again.
//!
//! [`Source`] is an instance as it is, which may run meanwhile. [`settle`] is the last step of restoring one:
//! the home and the database are made, and it is seen that they are a server's. [`throw_away`] makes a
//! restored server one that answers anybody, on a port of this machine alone, to see that it can.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ostrakon_custody::{AuditEvent, Change, IdentityError, LedgerError};
use ostrakon_shards::{archive::SignedArchive, identity::PublicCard, profile::Profile};
pub use ostrakon_storage::{Dump, DumpPart, Rows};
use ostrakon_storage::{InstanceId, Place, StateDoubt, StoreError};
use ostrakon_types::{Digest, KssId, LocationId};

use crate::{
    Clock, Config, Home, Server,
    lineage::Lineage,
    offline::{Offline, Opened},
    quota::{self, ClearQuotaError, ProfileName},
    server::BuildError,
};

/// Approves what the throw-away server is asked.
const APPROVE: &str = "decrypt: [[{rule: approve-rule}]]\n";

/// A server's instance, opened to be backed up.
pub struct Source {
    opened: Opened,
    home: Home,
}

impl Source {
    /// Opens the instance in `home`, with its database where the home says, or at `place`.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub async fn open(home: &Home, place: Option<Place>) -> Result<Self, BuildError> {
        Ok(Self {
            opened: Opened::open_at(home, place).await?,
            home: home.clone(),
        })
    }

    /// The server's id.
    #[must_use]
    pub fn kss_id(&self) -> KssId {
        self.opened.identity.keyserver.kss_id()
    }

    /// What the world knows of the server.
    #[must_use]
    pub fn card(&self) -> &PublicCard {
        &self.opened.identity.public_card
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.opened.instance
    }

    /// The kind of its database.
    #[must_use]
    pub fn database(&self) -> &'static str {
        self.opened.store.kind()
    }

    /// Those of these files in the home that are there, by their names.
    #[must_use]
    pub fn files<'n>(&self, names: &[&'n str]) -> Vec<(&'n str, PathBuf)> {
        let path = |name: &&'n str| (*name, self.home.folder().join(name));
        let there = |(_, path): &(&str, PathBuf)| path.exists();
        names.iter().map(path).filter(there).collect()
    }

    /// Begins to read the database as it is at this moment.
    ///
    /// # Errors
    /// When it fails.
    pub async fn dump(&self) -> Result<Dump, BuildError> {
        Ok(self.opened.store.dump().await?)
    }

    /// Vouches for an archive with the server's root key.
    #[must_use]
    pub fn sign(&self, manifest: Digest) -> SignedArchive {
        self.opened.identity.signer.backup(manifest)
    }

    /// Closes the database.
    pub async fn close(self) {
        self.opened.store.close().await;
    }
}

/// Finishes a server that was restored into `home`: sees that it is the one with this id, and puts on record
/// where it comes from. `detail` says that. Where `replaced` was a home of the same server, what that knew of
/// newer states stays known.
///
/// # Errors
/// When it is not that server, or it cannot be opened.
pub async fn settle(
    home: &Home,
    expected: &KssId,
    replaced: Option<&Home>,
    detail: String,
    clock: &Clock,
) -> Result<(), BuildError> {
    let opened = Opened::open(home).await?;
    let found = opened.identity.keyserver.kss_id();
    let root = *opened.identity.keyserver.root_key();
    let statements = opened.store.generations().await;
    opened.store.close().await;
    if found != *expected {
        return Err(BuildError::OtherServer(found));
    }
    if let Some(replaced) = replaced {
        Lineage::inherit(replaced, home, &statements?, &root)?;
    }
    let offline = Offline::unlocked(home, clock).await?;
    let event = AuditEvent::Administered {
        action: "restore".to_owned(),
        detail,
    };
    let noted = offline.ledger.note(event, clock.now()).await;
    offline.finish().await;
    Ok(noted?)
}

/// Turns a restored server that nobody needs any more into one that answers on a loopback port: what it knows of
/// its age is put aside, and its policy approves. It must not be one that is to serve.
///
/// It has the keys of a server that others trust. So it answers nobody but who knows the path that is given beside
/// it, which is drawn: another user of the machine finds the port, and gets nothing by it.
///
/// # Errors
/// When it cannot run.
pub async fn throw_away(home: &Home, clock: &Clock) -> Result<(Server, String), BuildError> {
    let secret = ostrakon_shards::random::array::<16>();
    let secret = secret.map_err(IdentityError::from)?;
    let path = format!("/{}", hex::encode(secret));
    let opened = Opened::open(home).await?;
    let made_young = async {
        let store = &opened.store;
        let mut tx = store.begin().await?;
        tx.set_state_doubt(&StateDoubt::default()).await?;
        tx.commit().await?;
        Lineage::join(home, store, opened.identity.keyserver.root_key()).await?;
        Ok::<_, BuildError>(())
    };
    let made_young = made_young.await;
    opened.store.close().await;
    made_young?;
    write(&home.policy(), APPROVE)?;
    write(&home.config(), "")?;
    let offline = Offline::unlocked(home, clock).await?;
    let changed = async {
        let change = Change::LoadPolicy {
            time_zone: "UTC".to_owned(),
            source: APPROVE.to_owned(),
            number: None,
            by: None,
        };
        offline.ledger.administer(change, clock.now()).await?;
        let change = Change::SetEnabled {
            enabled: true,
            by: None,
            spends: None,
        };
        offline.ledger.administer(change, clock.now()).await
    };
    let changed = changed.await;
    offline.finish().await;
    changed?;
    let mut config = Config {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        ..Config::default()
    };
    config.limits.max_new_profiles_per_day = u64::MAX;
    let server = Server::build(home.clone(), &config, clock.clone()).await?;
    Ok((server.below(path.clone()), path))
}

fn write(path: &Path, text: &str) -> Result<(), BuildError> {
    let written: io::Result<()> = fs::write(path, text);
    Ok(written.map_err(|source| crate::HomeError::Io {
        folder: path.to_owned(),
        source,
    })?)
}

/// What of a restored server goes to another one.
#[derive(Clone, Debug)]
pub struct Single {
    /// A profile.
    pub profile: ProfileName,
    /// One secure folder of it; all that it has, where none is named.
    pub folder: Option<LocationId>,
}

/// What has come to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Versions of the profile that were not there.
    pub versions: u64,
    /// Secure folders that were not there.
    pub folders: u64,
}

/// Why one profile or folder does not come from a backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// A server.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The two are not one server.
    #[error("the backup is of the server {0}")]
    OtherServer(KssId),
    /// The backup has no such profile.
    #[error("the backup has no profile `{0}`")]
    NoProfile(ProfileName),
    /// The profile has no such folder there.
    #[error("the profile has no folder {0} in the backup")]
    NoFolder(LocationId),
    /// The profile has gone another way since.
    #[error("the server has the profile in other versions than the backup")]
    Differs,
    /// Another profile has the same first words.
    #[error("the server does not take the profile: another one has its first words")]
    Refused,
}

macro_rules! through_build {
    ($($error:ty),+) => {$(
        impl From<$error> for TakeError {
            fn from(error: $error) -> Self {
                Self::Build(error.into())
            }
        }
    )+};
}
through_build!(StoreError, LedgerError);

/// Takes one profile, or one of its secure folders, from the server that was restored to `from` to the server in
/// `home`, which must not run. What that has, stays: a profile never goes back to an earlier version.
///
/// # Errors
/// When the backup does not have it, or the server has another.
pub async fn take_single(
    from: &Home,
    home: &Home,
    single: &Single,
    clock: &Clock,
) -> Result<Taken, TakeError> {
    let backup = Opened::open(from).await?;
    let taken = async {
        let server = Offline::start(home, clock).await?;
        let taken = take(&backup, &server, single, clock).await;
        server.finish().await;
        taken
    };
    let taken = taken.await;
    backup.store.close().await;
    taken
}

async fn take(
    backup: &Opened,
    server: &Offline,
    single: &Single,
    clock: &Clock,
) -> Result<Taken, TakeError> {
    let of = backup.identity.keyserver.kss_id();
    if of != server.keyserver.kss_id() {
        return Err(TakeError::OtherServer(of));
    }
    let unknown = || TakeError::NoProfile(single.profile.clone());
    let id = match quota::find(&backup.store, &single.profile).await {
        Err(ClearQuotaError::Unknown(_)) => return Err(unknown()),
        Err(ClearQuotaError::Store(error)) => return Err(error.into()),
        Err(ClearQuotaError::Ledger(error)) => return Err(error.into()),
        Ok(id) => id,
    };
    let versions = backup.store.profile(&id).await?;
    let known = server.store.profile(&id).await?;
    let mut both = known.iter().zip(&versions);
    if versions.is_empty() {
        return Err(unknown());
    }
    if both.any(|(known, kept)| known.version().hash() != kept.version().hash()) {
        return Err(TakeError::Differs);
    }
    let folders = match single.folder {
        Some(folder) => vec![folder],
        None => {
            let all = backup.store.locations(&id).await?.into_iter();
            all.map(|record| record.location).collect()
        }
    };
    let mut carried = Vec::with_capacity(folders.len());
    for folder in folders {
        let found = backup.store.carried_location(&id, &folder).await?;
        carried.push(found.ok_or(TakeError::NoFolder(folder))?);
    }
    let missing = versions.len().saturating_sub(known.len()) as u64;
    if missing > 0 {
        let profile = Profile::from_chain(versions.iter().cloned());
        let change = Change::TakeProfile {
            profile: Box::new(profile.map_err(|_| TakeError::Differs)?),
            versions,
            known: known.len() as u64,
        };
        if server.ledger.administer(change, clock.now()).await? == 0 {
            return Err(TakeError::Refused);
        }
    }
    let mut taken = Taken {
        versions: missing,
        folders: 0,
    };
    for carried in carried {
        let change = Change::TakeLocation {
            profile: id,
            carried: Box::new(carried),
        };
        let added = server.ledger.administer(change, clock.now()).await?;
        taken.folders += u64::from(added != 0);
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use ostrakon_shards::name::Name;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;
    use crate::setup;

    /// Seen to fail: with a server that answers below any path.
    #[tokio::test]
    async fn a_throw_away_server_answers_nobody_but_who_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let (name, clock) = (Name::new("kss").unwrap(), Clock::system());
        setup::create(&home, name, None, &clock).await.unwrap();
        let (server, path) = throw_away(&home, &clock).await.unwrap();
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let status = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(asked.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer)
                .split(' ')
                .nth(1)
                .unwrap()
                .to_owned()
        };
        assert_eq!(status(&format!("{path}/v1/keyserver")).await, "200");
        for elsewhere in [
            "/v1/keyserver",
            "/v1/requests",
            "/healthz",
            "/00/v1/keyserver",
        ] {
            assert_eq!(status(elsewhere).await, "404", "{elsewhere}");
        }
        drop(stop);
        running.await.unwrap();
    }
}
