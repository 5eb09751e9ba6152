//! A database with its ledger.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ostrakon_custody::{Act, Identity, Ledger, LedgerLimits, RequestItem, SettleRequest, Verdict};
use ostrakon_shards::{
    card::DeviceKind,
    device::DeviceKeys,
    name::Name,
    profile::{Profile, ProfileVersion, SignedVersion},
    random,
};
use ostrakon_storage::{ChangeNumber, ProtectorKey, RequestKey, Store};
use ostrakon_types::{Candidate, DeviceId, Digest, ProfileId, ProfileWords, Proposal, RequestKind};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    Outcome,
    asking::{Asking, now},
};

/// How long a measurement goes on before it counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// Requests that wait at a time while a database is filled.
const FILLING: u32 = 64;

/// A device and its profile.
#[derive(Clone)]
pub struct Member {
    pub profile: ProfileId,
    pub device: DeviceId,
    pub words: ProfileWords,
}

pub struct Room {
    store: Arc<Store>,
    ledger: Ledger,
    writer: JoinHandle<()>,
    asking: Arc<Asking>,
    _folder: Option<TempDir>,
}

impl Room {
    /// A new database in a folder of its own under `dir`.
    pub async fn create(dir: &Path) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(dir)?;
        let protector = ProtectorKey::create(&folder.path().join("instance.key"))?;
        let store = Store::create(&folder.path().join("keyserver.db"), &protector).await?;
        Identity::create(&store, Name::new("bench")?, now()).await?;
        let mut room = Self::on(store, &protector, LedgerLimits::default()).await?;
        room._folder = Some(folder);
        Ok(room)
    }

    /// The database of a server's home.
    pub async fn open(home: &Path, limits: LedgerLimits) -> Outcome<Self> {
        let protector = ProtectorKey::load(&home.join("instance.key"))?;
        let store = Store::open(&home.join("keyserver.db"), &protector).await?;
        Self::on(store, &protector, limits).await
    }

    async fn on(store: Store, protector: &ProtectorKey, limits: LedgerLimits) -> Outcome<Self> {
        let store = Arc::new(store);
        let identity = Identity::load(&store, protector.instance()).await?;
        let (ledger, writer) = Ledger::start(Arc::clone(&store), identity.audit, limits);
        Ok(Self {
            store,
            ledger,
            writer,
            asking: Arc::new(Asking::new()?),
            _folder: None,
        })
    }

    pub async fn close(self) {
        drop(self.ledger);
        let _ = self.writer.await;
        self.store.close().await;
    }

    /// Makes profiles of one device each, as users do.
    pub async fn found(&self, profiles: u32) -> Outcome<Vec<Member>> {
        let mut tasks = JoinSet::new();
        for task in 0..FILLING {
            let ledger = self.ledger.clone();
            let share = profiles / FILLING + u32::from(task < profiles % FILLING);
            tasks.spawn(async move {
                let mut members = Vec::new();
                for _ in 0..share {
                    members.push(found(&ledger).await?);
                }
                Outcome::Ok(members)
            });
        }
        let mut members = Vec::new();
        while let Some(founded) = tasks.join_next().await {
            members.extend(founded??);
        }
        Ok(members)
    }

    /// Has `records` decisions settled, `items` a request, spread over the members.
    pub async fn fill(&self, members: &Arc<[Member]>, records: u64, items: u32) -> Outcome {
        let left = Arc::new(AtomicU64::new(records / u64::from(items)));
        let mut tasks = JoinSet::new();
        for task in 0..FILLING {
            let (ledger, asking) = (self.ledger.clone(), Arc::clone(&self.asking));
            let (members, left) = (Arc::clone(members), Arc::clone(&left));
            tasks.spawn(async move {
                let mut pick = Pick::new(task);
                while take_one(&left) {
                    let request = asking.request(pick.of(&members), items)?;
                    check(&ledger.settle(request).await?, items)?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(filled) = tasks.join_next().await {
            filled??;
        }
        Ok(())
    }

    /// Settles requests of one item, so many waiting at a time, for so long.
    pub async fn measure(
        &self,
        members: &[Member],
        waiting: usize,
        duration: Duration,
    ) -> Outcome<Measured> {
        let members: Arc<[Member]> = members.into();
        let settled = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for task in 0..waiting {
            let (ledger, asking) = (self.ledger.clone(), Arc::clone(&self.asking));
            let (members, settled) = (Arc::clone(&members), Arc::clone(&settled));
            let stop = Arc::clone(&stop);
            let mut pick = Pick::new(u32::try_from(task)?);
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let request = asking.request(pick.of(&members), 1)?;
                    check(&ledger.settle(request).await?, 1)?;
                    settled.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Ok(())
            });
        }
        tokio::time::sleep(WARM_UP).await;
        let (start, cpu, before) = (
            Instant::now(),
            cpu_seconds(),
            settled.load(Ordering::Relaxed),
        );
        tokio::time::sleep(duration).await;
        let measured = Measured {
            decisions: (settled.load(Ordering::Relaxed) - before) as f64,
            seconds: start.elapsed().as_secs_f64(),
            cpu: cpu_seconds() - cpu,
        };
        stop.store(true, Ordering::Relaxed);
        while let Some(asked) = tasks.join_next().await {
            asked??;
        }
        Ok(measured)
    }
}

/// What was settled, in what time.
pub struct Measured {
    decisions: f64,
    seconds: f64,
    cpu: f64,
}

impl Measured {
    /// Microseconds from one decision to the next.
    pub fn each(&self) -> f64 {
        self.seconds * 1e6 / self.decisions
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = self.cpu * 1e6 / self.decisions;
        let rate = self.decisions / self.seconds;
        write!(f, "{rate:>14.0} {:>9.1} µs {cpu:>9.1} µs", self.each())
    }
}

async fn found(ledger: &Ledger) -> Outcome<Member> {
    let keys = DeviceKeys::generate()?;
    let name = Name::new("bench@example")?;
    let card = keys.card(DeviceKind::Workstation, name.clone());
    let device = card.id();
    let version = ProfileVersion::first(name, 1, vec![card])?;
    let signature = version.sign(&keys.signing);
    let signed = SignedVersion::new(version, vec![(device, signature)]);
    let profile = Profile::found(signed.clone())?;
    let member = Member {
        profile: profile.id(),
        device,
        words: profile.words().clone(),
    };
    let at = now();
    let key = RequestKey {
        profile: member.profile,
        device,
        request: random::request_id(at)?,
    };
    let item = RequestItem {
        kind: RequestKind::CreateProfile,
        cryptographic_id: None,
        meta: Vec::new(),
        proposal: Proposal::new(vec![Candidate::new(None, Vec::new())]),
        explanation: None,
        act: Act::CreateProfile(Box::new((profile, signed))),
    };
    let body = Digest::from_bytes(random::array()?);
    let items = vec![item];
    let asked = SettleRequest {
        key,
        body,
        at,
        basis: ChangeNumber::default(),
        items,
    };
    check(&ledger.settle(asked).await?, 1)?;
    Ok(member)
}

/// A figure of answers that were not given would be worth nothing.
fn check(verdicts: &[Verdict], items: u32) -> Outcome {
    let approved = verdicts
        .iter()
        .filter(|verdict| matches!(verdict, Verdict::Approved(_)));
    if approved.count() == items as usize {
        Ok(())
    } else {
        Err("a request was not approved".into())
    }
}

fn take_one(left: &AtomicU64) -> bool {
    let less = |left: u64| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .is_ok()
}

/// Picks members evenly and without order, the same ones each time (a linear congruential generator).
struct Pick(u64);

impl Pick {
    fn new(seed: u32) -> Self {
        Self(u64::from(seed) << 32)
    }

    fn of<'m>(&mut self, members: &'m [Member]) -> &'m Member {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        &members[(self.0 >> 33) as usize % members.len()]
    }
}

/// Processor time of this process so far.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_SECOND
}
