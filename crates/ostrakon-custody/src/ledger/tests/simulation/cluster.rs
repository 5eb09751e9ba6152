//! Instances behind a load balancer, the clients who ask them, and what befalls all of them.

use std::sync::Mutex;

use ostrakon_shards::sign::SigningKey;
use ostrakon_storage::InstanceId;
use ostrakon_types::LocationId;
use tokio::{sync::mpsc, time};

use super::{
    asks::{Ask, Kind},
    database::SimDatabase,
    world::{Away, World, chains_hold},
    *,
};

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) instances: usize,
    pub(super) clients: usize,
    /// Requests of each client, one after the other.
    pub(super) requests: usize,
    /// How much befalls them.
    pub(super) mishaps: usize,
}

/// A key shard server's process.
struct Instance {
    ledger: Option<Ledger>,
    writer: Option<JoinHandle<()>>,
    /// How far its clock is ahead, in milliseconds.
    skew: i64,
    /// The policy that it knows.
    policy: i64,
}

pub(super) struct Cluster {
    pub(super) world: Arc<World>,
    key: SigningKey,
    instances: Mutex<Vec<Instance>>,
}

/// How often a client asks before it is said to have been left alone.
const TRIES: usize = 300;

/// The profiles of which most is asked.
const HOT: u64 = 3;

impl Cluster {
    /// Runs a whole life of the cluster.
    pub(super) async fn live(world: &Arc<World>, size: Size) {
        let cluster = Arc::new(Self {
            world: Arc::clone(world),
            key: SigningKey::generate().unwrap(),
            instances: Mutex::new(Vec::new()),
        });
        for number in 0..size.instances {
            let skew = world.with(|state| i64::try_from(state.chance.below(20_000)).unwrap());
            let instance = Instance {
                ledger: None,
                writer: None,
                skew: skew - 10_000,
                policy: 0,
            };
            cluster.instances.lock().unwrap().push(instance);
            cluster.start(number);
        }
        let mishaps = tokio::spawn(Arc::clone(&cluster).mishaps(size.mishaps));
        let clients: Vec<_> = (0..size.clients)
            .map(|number| tokio::spawn(Arc::clone(&cluster).client(number, size.requests)))
            .collect();
        mishaps.await.unwrap();
        for client in clients {
            client.await.unwrap();
        }
        let database = SimDatabase(Arc::clone(world));
        let held = world
            .with(|state| chains_hold(&database, &state.tables, |instance| cluster.log(instance)));
        if let Err(broken) = held {
            world.broken(broken);
        }
    }

    fn log(&self, instance: InstanceId) -> AuditLog {
        AuditLog::new(instance, self.key.derive_chain_key("audit"))
    }

    fn start(&self, number: usize) {
        let log = self.log(id(number));
        let database = Arc::new(SimDatabase(Arc::clone(&self.world)));
        let (ledger, writer) = Ledger::start_on(database, log, LedgerLimits::default());
        let mut instances = self.instances.lock().unwrap();
        instances[number].ledger = Some(ledger);
        instances[number].writer = Some(writer);
    }

    /// Ends an instance wherever it is.
    fn kill(&self, number: usize) {
        let mut instances = self.instances.lock().unwrap();
        instances[number].ledger = None;
        if let Some(writer) = instances[number].writer.take() {
            writer.abort();
        }
    }

    /// A client, with one request after the other.
    async fn client(self: Arc<Self>, number: usize, requests: usize) {
        for count in 0..requests {
            let ask = self.world.with(|state| {
                let chance = &mut state.chance;
                let kinds = 1 + chance.index(2);
                let profile = match chance.below(10) {
                    0..6 => chance.below(HOT),
                    _ => HOT + number as u64,
                };
                Ask {
                    key: RequestKey {
                        profile: ProfileId::from_bytes(bytes(1, profile)),
                        device: DeviceId::from_bytes(bytes(2, number as u64)),
                        request: RequestId::from_bytes(bytes(
                            3,
                            (number * requests + count) as u64,
                        )),
                    },
                    kinds: (0..kinds).map(|_| Kind::any(chance)).collect(),
                    folder: LocationId::from_bytes(bytes(4, chance.below(40))),
                }
            });
            let instances = self.instances.lock().unwrap().len();
            let clear = self.world.with(|state| {
                let number = state.chance.index(instances);
                state.chance.permille(15).then_some(number)
            });
            if let Some(number) = clear {
                self.administer(
                    number,
                    Change::ClearQuota {
                        profile: Some(ask.key.profile),
                        by: None,
                    },
                );
            }
            self.insist(&Arc::new(ask)).await;
            let pause = self.world.with(|state| state.chance.millis(400));
            time::sleep(pause).await;
        }
    }

    /// Asks any instance, and again until there is an answer; now and then even after that.
    async fn insist(self: &Arc<Self>, ask: &Arc<Ask>) {
        let (answer, mut answers) = mpsc::unbounded_channel();
        for _ in 0..TRIES {
            if self.world.is_broken() {
                return;
            }
            // Twice at once, now and then.
            let copies = self
                .world
                .with(|state| 1 + usize::from(state.chance.permille(100)));
            for _ in 0..copies {
                tokio::spawn(Arc::clone(self).deliver(Arc::clone(ask), answer.clone()));
            }
            let patience = self
                .world
                .with(|state| Duration::from_millis(500) + state.chance.millis(2500));
            if time::timeout(patience, answers.recv()).await.is_ok()
                && self
                    .world
                    .with(|state| state.calm || !state.chance.permille(100))
            {
                return;
            }
        }
        self.world
            .broken(format!("{:?} was never answered", ask.key));
    }

    /// Takes a request to an instance, and its answer back, if nothing is lost on the way.
    async fn deliver(self: Arc<Self>, ask: Arc<Ask>, answer: mpsc::UnboundedSender<()>) {
        let lost = || {
            self.world.with(|state| {
                let way = match state.chance.below(50) {
                    0 => state.chance.millis(3000),
                    _ => state.chance.millis(20),
                };
                (way, !state.calm && state.chance.permille(50))
            })
        };
        let (way, is_lost) = lost();
        time::sleep(way).await;
        if is_lost {
            return;
        }
        let count = self.instances.lock().unwrap().len();
        let number = self.world.with(|state| state.chance.index(count));
        let Some(verdicts) = self.settle(number, &ask).await else {
            return;
        };
        let verdicts = verdicts.iter().map(|verdict| match verdict {
            Verdict::Approved(_) => None,
            Verdict::Denied(denial) => Some(*denial),
        });
        self.world.answered(ask.key, verdicts.collect());
        let (way, is_lost) = lost();
        time::sleep(way).await;
        if !is_lost {
            let _ = answer.send(());
        }
    }

    /// What an instance does with a request: it judges by the policy that it knows, and anew when that is
    /// not in force any more.
    async fn settle(&self, number: usize, ask: &Ask) -> Option<Vec<Verdict>> {
        let database = SimDatabase(Arc::clone(&self.world));
        loop {
            let (ledger, request) = {
                let instances = self.instances.lock().unwrap();
                let instance = &instances[number];
                let at = self.world.now().plus(instance.skew);
                (instance.ledger.clone()?, ask.request(instance.policy, at))
            };
            match ledger.settle(request).await {
                Ok(verdicts) => return Some(verdicts),
                Err(LedgerError::Outdated) => {
                    self.world.with(|state| state.tally.outdated += 1);
                    let policy = database.change_number().await.ok()?;
                    let mut instances = self.instances.lock().unwrap();
                    let known = &mut instances[number].policy;
                    *known = policy.max(*known);
                }
                Err(LedgerError::Refused(refusal)) => {
                    self.world
                        .broken(format!("{:?} was refused: {refusal}", ask.key));
                    return None;
                }
                Err(error) => {
                    self.world.event(&format!("instance {number}: {error}"));
                    return None;
                }
            }
        }
    }

    async fn mishaps(self: Arc<Self>, count: usize) {
        let world = &self.world;
        let instances = self.instances.lock().unwrap().len();
        for _ in 0..count {
            let (pause, kind, number, lasts) = world.with(|state| {
                let chance = &mut state.chance;
                let pause = chance.millis(300);
                let (kind, number) = (chance.below(10), chance.index(instances));
                (pause, kind, number, chance.millis(2000))
            });
            time::sleep(pause).await;
            match kind {
                0..4 => {
                    world.event(&format!("instance {number} ends"));
                    world.with(|state| state.tally.crashes += 1);
                    self.kill(number);
                    let cluster = Arc::clone(&self);
                    tokio::spawn(async move {
                        time::sleep(lasts).await;
                        cluster.world.event(&format!("instance {number} is back"));
                        // Another mishap may have started it already.
                        cluster.kill(number);
                        cluster.start(number);
                    });
                }
                4..7 => {
                    let away = [Away::Gone, Away::ReadOnly, Away::NoReplica][number % 3];
                    world.event(&format!("the database is away: {away:?}"));
                    world.with(|state| state.away = Some(away));
                    time::sleep(lasts).await;
                    world.event("the database is back");
                    world.with(|state| state.away = None);
                }
                _ => {
                    let change = Change::LoadPolicy {
                        time_zone: "UTC".to_owned(),
                        source: String::new(),
                        number: None,
                        by: None,
                    };
                    self.administer(number, change);
                }
            }
        }
        world.event("calm");
        world.with(|state| state.calm = true);
    }

    fn administer(&self, number: usize, change: Change) {
        self.world
            .event(&format!("instance {number} is to {change:?}"));
        let instances = self.instances.lock().unwrap();
        let Some(ledger) = instances[number].ledger.clone() else {
            return;
        };
        let now = self.world.now();
        tokio::spawn(async move { ledger.administer(change, now).await });
    }
}

/// The instance's id; what tells its pauses from others' is in its bytes.
fn id(number: usize) -> InstanceId {
    let mut chance = chance::Chance::of(number as u64);
    InstanceId::from_bytes(std::array::from_fn(|_| {
        u8::try_from(chance.below(256)).unwrap()
    }))
}

fn bytes(kind: u8, number: u64) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}
