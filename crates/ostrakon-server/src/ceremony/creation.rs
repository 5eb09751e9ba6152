use ostrakon_custody::{AuditEvent, Change, Identity, NewIdentity};
use ostrakon_shards::{
    backup::BackupFile,
    ceremony::{Subject, Tally},
    generation::Generation,
    identity::VerifiedKeyserver,
    name::Name,
    profile::SignedVersion,
    seal::Sealed,
};
use ostrakon_storage::{DatabaseUri, ProtectorKey, Store};

use super::{
    Asking, ConveneError, Convened, Progress, checks,
    held::{approved_by, make_backup},
    profile::newest,
    take,
};
use crate::{
    Clock, Home,
    home::{HeldBy, HomeLock},
    lineage::Lineage,
    offline::Offline,
    server::BuildError,
    setup::{check_new, create_store, or_nothing, write_policy},
};

/// The first generation of a server that was never recovered: that of its first backup key.
const FIRST: Generation = Generation {
    epoch: 0,
    counter: 1,
};

/// A server that is to be made once its administrators approve. Until then its keys are in memory alone.
pub struct Creation {
    home: Home,
    database: Option<DatabaseUri>,
    clock: Clock,
    identity: NewIdentity,
    versions: Vec<SignedVersion>,
    tally: Tally,
    convened: Convened,
    _lock: HomeLock,
}

impl Creation {
    /// Draws the server's keys and asks the devices of the profile with these versions, among which its
    /// backup key is to be split.
    ///
    /// # Errors
    /// When there is a server already, or the profile is not fit for that.
    pub fn open(
        home: &Home,
        name: Name,
        database: Option<&DatabaseUri>,
        versions: &[SignedVersion],
        ignore_security_checks: bool,
        wait_ms: i64,
        clock: &Clock,
    ) -> Result<Self, ConveneError> {
        let lock = check_new(home, HeldBy::Ceremony)?;
        let (profile, versions) = newest(&[], versions)?;
        if !ignore_security_checks {
            checks::check(&profile)?;
        }
        let identity = NewIdentity::draw(name.clone()).map_err(BuildError::from)?;
        let subject = Subject::CreateServer {
            kss_id: identity.keyserver().kss_id(),
            name,
            generation: FIRST,
        };
        let needed = profile.threshold().needed();
        let signer = identity.signer();
        let tally = signer.open_ceremony(&profile, subject, needed, wait_ms, clock.now())?;
        Ok(Self {
            convened: Convened::of(&tally, &profile, &versions, None)?,
            home: home.clone(),
            database: database.cloned(),
            clock: clock.clone(),
            identity,
            versions,
            tally,
            _lock: lock,
        })
    }

    /// Makes the server, and its backup file, which is read back. Nothing is left when that fails, or
    /// when `keep`, which is given the file, does.
    ///
    /// # Errors
    /// When it was not approved, or cannot be made.
    pub async fn finish<E: From<ConveneError>>(
        self,
        keep: impl FnOnce(&BackupFile) -> Result<(), E>,
    ) -> Result<VerifiedKeyserver, E> {
        let Self {
            home,
            database,
            clock,
            identity,
            versions,
            tally,
            ..
        } = self;
        let completed = tally.complete(clock.now());
        let completed = completed
            .map_err(|stand| ConveneError::NotApproved(stand.into()))
            .map_err(E::from)?;
        let approved = approved_by(&completed);
        let failed = |error: BuildError| ConveneError::from(error).into();
        or_nothing(&home, failed, async || {
            if let Some(uri) = &database {
                let set = home.set_database(uri);
                set.map_err(|error| failed(BuildError::from(error)))?;
            }
            let made = make(&home, &clock, &identity, &versions, approved).await;
            keep(&made.map_err(ConveneError::from)?)?;
            Ok(identity.keyserver().clone())
        })
        .await
    }
}

async fn make(
    home: &Home,
    clock: &Clock,
    identity: &NewIdentity,
    versions: &[SignedVersion],
    approved: String,
) -> Result<BackupFile, BuildError> {
    let protector = ProtectorKey::create(&home.instance_key())?;
    let store = create_store(home, &protector).await?;
    let begun = begin(home, clock, identity, &store, &protector).await;
    store.close().await;
    begun?;
    write_policy(home)?;
    let offline = Offline::unlocked(home, clock).await?;
    let made = back_up(home, clock, &offline, versions, approved).await;
    offline.finish().await;
    made
}

async fn begin(
    home: &Home,
    clock: &Clock,
    identity: &NewIdentity,
    store: &Store,
    protector: &ProtectorKey,
) -> Result<(), BuildError> {
    identity.store(store, clock.now()).await?;
    let identity = Identity::load(store, protector.instance()).await?;
    let root = *identity.keyserver.root_key();
    let lineage = Lineage::start(home, store, &identity.signer, root, clock.now()).await?;
    debug_assert_eq!(lineage.newest().generation(), FIRST);
    Ok(())
}

async fn back_up(
    home: &Home,
    clock: &Clock,
    offline: &Offline,
    versions: &[SignedVersion],
    approved: String,
) -> Result<BackupFile, BuildError> {
    let now = clock.now();
    let file = make_backup(home, &offline.store, versions, FIRST, now).await?;
    let created = AuditEvent::Administered {
        action: "create".to_owned(),
        detail: approved.clone(),
    };
    offline.ledger.note(created, now).await?;
    let change = Change::SaveBackup {
        generation: FIRST,
        file: file.to_text(),
        detail: format!("generation {FIRST}, {approved}"),
    };
    offline.ledger.administer(change, now).await?;
    Ok(file)
}

impl Asking for Creation {
    fn convened(&self) -> &Convened {
        &self.convened
    }

    async fn take(&mut self, answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        Ok(take(&mut self.tally, &answers, self.clock.now()))
    }
}
