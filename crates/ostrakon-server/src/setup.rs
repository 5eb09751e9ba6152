//! Making a server, and changing one that does not run.

mod status;

use std::{fs, io, io::Write as _, path::Path};

use jiff::Timestamp;
use ostrakon_custody::{AuditEvent, AuditRecord, Auditor, Change, Evidence, Identity};
use ostrakon_policy::{Policy, Registry, simulate::RecordedRequest};
use ostrakon_shards::{identity::VerifiedKeyserver, name::Name, words::first_words};
use ostrakon_storage::{DatabaseUri, Place, ProtectorKey, Store, StoreError};
use ostrakon_types::{
    ApprovalRequest, CounterKey, Decision, Denial, OpaqueId, ProfileId, ProfileRef, RequestId,
    RequestKind, UnixMillis,
};

use crate::{
    Config,
    audit::unless_archived,
    ceremony::{enables, end_all},
    clock::Clock,
    home::{HeldBy, Home, HomeError, HomeLock, remove},
    lineage::Lineage,
    offline::{Offline, Opened},
    policy::FILE,
    quota::{self, AtQuota, ClearQuotaError, ProfileName},
    server::BuildError,
};

pub(crate) use self::status::backup_status;
pub use self::status::stopped_status;

/// The policy that a new server gets when its operator has written none: it decrypts nothing.
pub const STARTER_POLICY: &str = include_str!("../keyserver.starter.yml");

/// Makes a new server in `home`: its keys, its database, and a starter policy where there is none. With a
/// `database` its state goes there, into an empty one that other instances will share.
///
/// Nothing that is there is overwritten. What was made is removed again when a later step fails.
///
/// # Errors
/// When there is a server already, or the home cannot be written.
pub async fn create(
    home: &Home,
    name: Name,
    database: Option<&DatabaseUri>,
    clock: &Clock,
) -> Result<VerifiedKeyserver, BuildError> {
    let _lock = check_new(home, HeldBy::Command)?;
    or_nothing(
        home,
        |error| error,
        async || make(home, name, database, clock).await,
    )
    .await
}

/// Takes a home in which there is no server, for one that is to be made.
pub(crate) fn check_new(home: &Home, held_by: HeldBy) -> Result<HomeLock, BuildError> {
    home.make()?;
    if home.folder().join("device.key").exists() {
        return Err(HomeError::Workstation(home.folder().to_owned()).into());
    }
    let lock = home.lock_for(held_by)?;
    if home.unfinished().exists() {
        // Whoever began it is gone, or had the lock.
        remove_made(home)?;
    }
    if home.has_database() || home.instance_key().exists() {
        return Err(StoreError::Exists.into());
    }
    Ok(lock)
}

/// Makes a server in a home that has none, and leaves nothing of it when that fails. When it is
/// interrupted, what it leaves is known to be nothing, and is removed when another is made.
pub(crate) async fn or_nothing<T, E>(
    home: &Home,
    failed: impl Fn(BuildError) -> E,
    make: impl AsyncFnOnce() -> Result<T, E>,
) -> Result<T, E> {
    mark(home).map_err(&failed)?;
    match make().await {
        Ok(made) => {
            unmark(home).map_err(&failed)?;
            Ok(made)
        }
        Err(error) => {
            // Where that fails, too, the mark stays.
            let _ = remove_made(home);
            Err(error)
        }
    }
}

fn mark(home: &Home) -> Result<(), BuildError> {
    let path = home.unfinished();
    let made = fs::File::create(&path).and_then(|file| file.sync_all());
    made.map_err(|source| HomeError::Io {
        folder: path,
        source,
    })?;
    Ok(home.sync()?)
}

fn unmark(home: &Home) -> Result<(), BuildError> {
    // What was made is there for good first.
    home.sync()?;
    remove(&home.unfinished())?;
    Ok(home.sync()?)
}

/// Removes what the making of a server made, the mark last.
fn remove_made(home: &Home) -> Result<(), BuildError> {
    let mut paths = vec![
        home.database(),
        home.database_uri(),
        home.database_password(),
        home.instance_key(),
        home.generation(),
        home.audit_head(),
        home.audit_state(),
    ];
    // What SQLite keeps beside a database that was not closed.
    paths.extend(["-wal", "-shm", "-journal"].map(|suffix| {
        let mut path = home.database().into_os_string();
        path.push(suffix);
        path.into()
    }));
    for path in paths {
        remove(&path)?;
    }
    unmark(home)
}

async fn make(
    home: &Home,
    name: Name,
    database: Option<&DatabaseUri>,
    clock: &Clock,
) -> Result<VerifiedKeyserver, BuildError> {
    if let Some(uri) = database {
        home.set_database(uri)?;
    }
    let protector = ProtectorKey::create(&home.instance_key())?;
    let store = create_store(home, &protector).await?;
    let begun = begin(home, &store, &protector, name, clock).await;
    store.close().await;
    let keyserver = begun?;
    write_policy(home)?;
    Ok(keyserver)
}

/// Sees that a server can be made in a shared database, before anybody is asked to approve that.
///
/// # Errors
/// When there is one, or it cannot be used.
pub async fn check_vacant(database: &DatabaseUri) -> Result<(), BuildError> {
    match Store::check_vacant(database).await {
        Err(StoreError::Exists) => Err(BuildError::Occupied),
        checked => Ok(checked?),
    }
}

/// Makes the database of a new server, where the home says.
pub(crate) async fn create_store(
    home: &Home,
    protector: &ProtectorKey,
) -> Result<Store, BuildError> {
    let place = home.place()?;
    let is_shared = matches!(place, Place::Shared(_));
    match Store::create(place, protector).await {
        Err(StoreError::Exists) if is_shared => Err(BuildError::Occupied),
        made => Ok(made?),
    }
}

pub(crate) fn write_policy(home: &Home) -> Result<(), HomeError> {
    let policy = home.policy();
    write_new(&policy, STARTER_POLICY).map_err(|source| HomeError::Io {
        folder: policy,
        source,
    })
}

/// Makes the identity, and says for the first time how old its state is.
async fn begin(
    home: &Home,
    store: &Store,
    protector: &ProtectorKey,
    name: Name,
    clock: &Clock,
) -> Result<VerifiedKeyserver, BuildError> {
    let now = clock.now();
    let keyserver = Identity::create(store, name, now).await?;
    let identity = Identity::load(store, protector.instance()).await?;
    let root = *keyserver.root_key();
    Lineage::start(home, store, &identity.signer, root, now).await?;
    Ok(keyserver)
}

/// Makes a server that does not run answer requests, or none, once it runs.
///
/// # Errors
/// When there is none, or it runs.
pub async fn set_enabled_stopped(
    home: &Home,
    enabled: bool,
    clock: &Clock,
) -> Result<(), BuildError> {
    let offline = Offline::start(home, clock).await?;
    let change = Change::SetEnabled {
        enabled,
        by: None,
        spends: None,
    };
    let changed = async {
        if !enabled {
            // Of instances that run.
            let (store, ledger) = (&offline.store, &offline.ledger);
            let by = offline.keyserver.device_id();
            end_all(store, ledger, by, clock.now(), enables).await?;
        }
        offline.ledger.administer(change, clock.now()).await?;
        Ok(())
    };
    let changed = changed.await;
    offline.finish().await;
    changed
}

/// Whether there is a recovered server in `home` that waits to be enabled. It may run.
///
/// # Errors
/// When its database cannot be read.
pub async fn is_staged(home: &Home) -> Result<bool, BuildError> {
    if !home.has_database() || home.unfinished().exists() {
        return Ok(false);
    }
    let opened = Opened::open(home).await?;
    let staged = opened.store.is_staged().await;
    opened.store.close().await;
    Ok(staged?)
}

/// Lists the profiles that are at quota by the policy, which may name the rules of `registry`. For a server
/// that does not run.
///
/// # Errors
/// When there is none, or it has no policy.
pub async fn at_quota_stopped(
    home: &Home,
    config: &Config,
    clock: &Clock,
    registry: &Registry,
) -> Result<Vec<AtQuota>, BuildError> {
    let opened = Opened::open(home).await?;
    let listed = at_quota(&opened.store, config, clock, registry).await;
    opened.store.close().await;
    listed
}

async fn at_quota(
    store: &Store,
    config: &Config,
    clock: &Clock,
    registry: &Registry,
) -> Result<Vec<AtQuota>, BuildError> {
    let zone = config.zone()?;
    let stored = store.policy().await?.ok_or(BuildError::NoPolicy)?;
    let policy = Policy::load(FILE, &stored.source, &zone, registry)?.policy;
    let limit = config.limits.max_new_profiles_per_day;
    Ok(quota::at_quota(store, &policy, limit, clock.now()).await?)
}

/// Sets the counters of profiles back to zero, or everybody's where none is named. For a server that does
/// not run.
///
/// # Errors
/// When there is no such profile, or the server runs.
pub async fn clear_quota_stopped(
    home: &Home,
    profiles: &[ProfileName],
    clock: &Clock,
) -> Result<u64, StoppedError> {
    let offline = Offline::start(home, clock).await?;
    let cleared = quota::clear(&offline.store, &offline.ledger, profiles, clock.now()).await;
    offline.finish().await;
    Ok(cleared?)
}

/// Why quotas of a server that does not run were not cleared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoppedError {
    /// It cannot be used, or runs.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The quotas.
    #[error(transparent)]
    Clear(#[from] ClearQuotaError),
}

/// What the audit log of this instance tells of the requests that its policy decided, in order, once
/// every link of its chain was checked. The server may be running.
///
/// Items that were denied for another reason than the policy are left out. Profiles are known by as many
/// of their words as their ids tell: eleven.
///
/// # Errors
/// [`BuildError::Audit`] names the first record that is not what was written.
pub async fn recorded_requests(
    home: &Home,
    from: UnixMillis,
) -> Result<Vec<AuditedRequest>, BuildError> {
    let opened = Opened::open(home).await?;
    let auditor = Auditor::new(&opened.identity, &opened.store);
    let read = unless_archived(async || {
        let mut requests = Vec::new();
        let each = |_, _, record: &AuditRecord| {
            if record.at >= from {
                requests.extend(AuditedRequest::of(record));
            }
        };
        let verified = auditor.verify(Evidence::default(), std::iter::empty(), each);
        Ok((verified.await?, requests))
    });
    let read = read.await;
    opened.store.close().await;
    let (report, requests) = read?;
    match report.faults.into_iter().next() {
        Some(first) => Err(BuildError::AuditFaults {
            count: report.fault_count,
            first,
        }),
        None => Ok(requests),
    }
}

/// How many approvals the counters of a profile hold. The server may be running.
///
/// # Errors
/// When there is no server in `home`, or its database cannot be read.
pub async fn quota_counts(
    home: &Home,
    profile: &ProfileId,
) -> Result<Vec<(CounterKey, u64)>, BuildError> {
    let protector = ProtectorKey::load(&home.instance_key())?;
    let store = Store::open(home.place()?, &protector).await?;
    let counters = store.counters(profile).await;
    store.close().await;
    let counters = counters?.into_iter();
    Ok(counters.map(|of| (of.key, of.count)).collect())
}

/// An item of a request that the policy decided, as the audit log tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditedRequest {
    /// The request that it was an item of.
    pub id: RequestId,
    /// The item, and what was decided.
    pub recorded: RecordedRequest,
    /// Why, if it was recorded.
    pub explanation: Option<String>,
}

impl AuditedRequest {
    fn of(record: &AuditRecord) -> Option<Self> {
        let AuditEvent::Decided {
            profile,
            device,
            request,
            kind,
            cryptographic_id,
            meta,
            decision,
            explanation,
            ..
        } = &record.event
        else {
            return None;
        };
        let approved = match decision {
            Decision::Approve { .. } => true,
            // The server's own limit of new profiles, which no policy lifts.
            Decision::Deny {
                denial: Denial::Quota { .. },
            } if *kind == RequestKind::CreateProfile => return None,
            Decision::Deny {
                denial: Denial::Policy | Denial::Quota { .. },
            } => false,
            Decision::Deny { .. } => return None,
        };
        let file = cryptographic_id.as_ref().map(|id| id.as_bytes().as_slice());
        let request_of = ApprovalRequest {
            kind: *kind,
            device_id: OpaqueId::new(device.as_bytes()),
            profile: ProfileRef {
                id: *profile,
                words: first_words(profile),
            },
            meta: meta.clone(),
            cryptographic_id: OpaqueId::new(file.unwrap_or_default()),
        };
        Some(Self {
            id: *request,
            recorded: RecordedRequest::new(
                Timestamp::from_millisecond(record.at.0).ok()?,
                request_of,
                approved,
            ),
            explanation: explanation.clone(),
        })
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    match file {
        Ok(mut file) => {
            let written = file
                .write_all(text.as_bytes())
                .and_then(|()| file.sync_all());
            if written.is_err() {
                // Half a policy would be taken for the operator's own.
                let _ = fs::remove_file(path);
            }
            written
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
