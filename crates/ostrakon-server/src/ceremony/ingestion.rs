use ostrakon_custody::{AuditEvent, Change, Identity};
use ostrakon_shards::{
    backup::{BackupFile, Recovered},
    card::DeviceKind,
    ceremony::{Plan, Requester, Subject, Tally},
    device::DeviceKeys,
    identity::VerifiedKeyserver,
    name::Name,
    profile::SignedVersion,
    seal::Sealed,
};
use ostrakon_storage::{ProtectorKey, Store};

use super::{Asking, ConveneError, Convened, Progress, held::approved_by, profile::newest, take};
use crate::{
    Clock, Home,
    home::{HeldBy, HomeLock},
    offline::Offline,
    server::BuildError,
    setup::{check_new, or_nothing, write_policy},
};

/// A lost server's identity that is to come to this machine, once its administrators' devices give their
/// shares of its backup key.
pub struct Ingestion {
    home: Home,
    clock: Clock,
    file: BackupFile,
    tally: Tally,
    convened: Convened,
    _lock: HomeLock,
}

/// What came of it.
#[derive(Debug)]
pub struct Ingested {
    /// The server, as its clients know it.
    pub keyserver: VerifiedKeyserver,
}

impl Ingestion {
    /// Asks the devices of the profile that holds the backup key for their shares. `versions` are those
    /// of the profile as it is now, if it has changed since the file was made.
    ///
    /// # Errors
    /// When there is a server in the home already, or the devices cannot be asked.
    pub fn open(
        home: &Home,
        file: BackupFile,
        versions: &[SignedVersion],
        machine: Name,
        wait_ms: i64,
        clock: &Clock,
    ) -> Result<Self, ConveneError> {
        let lock = check_new(home, HeldBy::Ceremony)?;
        let (profile, versions) = newest(file.versions(), versions)?;
        let keys = DeviceKeys::generate()?;
        let card = keys.card(DeviceKind::Workstation, machine.clone());
        let plan = Plan {
            subject: Subject::Recover {
                kss_id: file.kss_id(),
                generation: file.generation(),
                machine,
            },
            threshold: file.threshold().needed(),
            requester: Requester::Machine(card),
            lifetime_ms: wait_ms,
        };
        let tally = Tally::open(&profile, plan, &keys.signing, clock.now())?;
        let enclosed = file.to_bytes();
        Ok(Self {
            convened: Convened::of(&tally, &profile, &versions, Some(&enclosed))?,
            home: home.clone(),
            clock: clock.clone(),
            file,
            tally,
            _lock: lock,
        })
    }

    /// Puts the identity together and stores it, for a server that answers nobody until it is enabled.
    ///
    /// # Errors
    /// When too few devices gave their shares, or the home cannot be written; then nothing is left.
    pub async fn finish(self) -> Result<Ingested, ConveneError> {
        let Self {
            home,
            clock,
            file,
            tally,
            ..
        } = self;
        let completed = tally.complete(clock.now());
        let completed = completed.map_err(|stand| ConveneError::NotApproved(stand.into()))?;
        let given = completed.shares().unwrap_or_default();
        let shares = given
            .iter()
            .map(|given| file.check_share(given.device, &given.share))
            .collect::<Result<Vec<_>, _>>()?;
        let recovered = file.recover(&shares)?;
        let approved = approved_by(&completed);
        let keyserver = or_nothing(&home, ConveneError::from, async || {
            let restored = restore(&home, &clock, &file, &recovered, approved).await;
            restored.map_err(ConveneError::from)
        });
        Ok(Ingested {
            keyserver: keyserver.await?,
        })
    }
}

async fn restore(
    home: &Home,
    clock: &Clock,
    file: &BackupFile,
    recovered: &Recovered,
    approved: String,
) -> Result<VerifiedKeyserver, BuildError> {
    let protector = ProtectorKey::create(&home.instance_key())?;
    let store = Store::create(home.place()?, &protector).await?;
    let restored = Identity::restore(&store, file, recovered, clock.now()).await;
    store.close().await;
    let keyserver = restored?;
    write_policy(home)?;
    let offline = Offline::unlocked(home, clock).await?;
    let event = AuditEvent::Administered {
        action: "recover".to_owned(),
        detail: format!("from backup key {}, {approved}", file.generation()),
    };
    let now = clock.now();
    let mut recorded = offline.ledger.note(event, now).await;
    if recorded.is_ok() {
        let staged = offline.ledger.administer(Change::Stage, now).await;
        recorded = staged.map(|_| ());
    }
    offline.finish().await;
    recorded?;
    Ok(keyserver)
}

impl Asking for Ingestion {
    fn convened(&self) -> &Convened {
        &self.convened
    }

    /// A share that is not the one that was made for its device does not count, and is told of.
    async fn take(&mut self, answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        let now = self.clock.now();
        let mut progress = take(&mut self.tally, &answers, now);
        for device in progress.answered.clone() {
            let why = match self.tally.share_of(&device) {
                Ok(Some(share)) => match self.file.check_share(device, &share) {
                    Ok(_) => continue,
                    Err(error) => error.to_string(),
                },
                // It denied.
                Ok(None) => continue,
                Err(error) => format!("the share of device {device}: {error}"),
            };
            self.tally.set_aside(&device);
            progress.refused.push(why);
        }
        progress.stand = self.tally.standing(now).into();
        Ok(progress)
    }
}
