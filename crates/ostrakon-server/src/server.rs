mod error;

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ostrakon_custody::{AuditEvent, Change, Identity, Ledger, LedgerLimits};
use ostrakon_policy::{Policy, Registry};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_storage::{PolicyVersion, ProtectorKey, Store, StoreError};
use ostrakon_transport::{
    envelope::EnvelopeKey,
    http::{Drained, ListenerLimits, TlsListener, serve},
};
use ostrakon_types::ErrorChain;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinHandle,
    time::interval,
};

pub use self::error::BuildError;
use crate::{
    admin,
    administrators::Administrators,
    audit::{Keeper, Reason, Tallies, resume},
    authority::{Authority, ListenerCertificate},
    basis::Basis,
    ceremony::Pending,
    clock::Clock,
    clock_watch::ClockWatch,
    clone_db, cluster,
    config::Config,
    directory::Directory,
    home::{HeldBy, Home, HomeLock},
    lineage::Lineage,
    node::Node,
    pipeline::Pipeline,
    policy::{FILE, InForce, at_start},
    rate::{RateLimit, RateLimits},
    reserve::Reserve,
    routes,
    sessions::Sessions,
};

/// The largest policy that can be loaded, in JSON.
const ADMIN_BODY_BYTES: usize = 32 << 20;

/// How many connections of administrators from afar are open at once, at most.
const REMOTE_CONNECTIONS: usize = 64;

/// Openings, answers and endings of ceremonies, over all profiles: what people do by hand.
const RELAYED_PER_MINUTE: u32 = 600;

/// The same of one device, so that it takes nothing from others.
const RELAYED_BY_ONE_PER_MINUTE: u32 = 60;

/// How often requests that are too old to be retried are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(10 * 60);

/// How often it is looked whether the clock was set, for the record: each request looks for itself.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How often what was turned away is recorded.
const TALLY_EVERY: Duration = Duration::from_secs(60);

/// A key shard server that is ready to run: everything was checked, and its port is bound.
pub struct Server {
    node: Arc<Node>,
    limits: ListenerLimits,
    in_flight: usize,
    below: Option<String>,
    drain_delay: Duration,
    listener: TcpListener,
    remote: Option<TlsListener>,
    socket: UnixListener,
    home: Home,
    writer: JoinHandle<()>,
    _lock: HomeLock,
}

impl Server {
    /// Checks configuration, keys, database and policy, in this order, and only then binds.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn build(home: Home, config: &Config, clock: Clock) -> Result<Self, BuildError> {
        Self::build_with(home, config, clock, Registry::bundled()).await
    }

    /// Like [`Server::build`], with rules of one's own among those that a policy may name.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn build_with(
        home: Home,
        config: &Config,
        clock: Clock,
        registry: Registry,
    ) -> Result<Self, BuildError> {
        let zone = config.zone()?;
        let lock = home.lock_for(HeldBy::Server)?;
        home.check_finished()?;
        clone_db::finish(&home).await?;
        let protector = ProtectorKey::load(&home.instance_key())?;
        let instance = protector.instance();
        let store = Store::open(home.place()?, &protector).await?;
        let store = Arc::new(store.with_durability(config.durability.into()));
        // Before anything that may change.
        let basis = Arc::new(Basis::of(store.change_number().await?));
        // Again: from here on a move shows in that number.
        store.check_here().await?;
        let record = store.server().await?.ok_or(StoreError::Missing)?;
        if store.is_staged().await? {
            // To answer, be it with a refusal, shows clients a new generation: the primary would stop.
            store.close().await;
            return Err(BuildError::Staged);
        }
        let mut identity = Identity::load(&store, instance).await?;
        let now = clock.now();
        let (keyserver, audit) = (&identity.keyserver, &mut identity.audit);
        let resumed = resume(&home, &config.audit, &store, keyserver, audit).await?;

        let stored = store.policy().await?;
        let file = home.read_policy()?;
        let changed = at_start(config, &store, stored.as_ref(), file).await?;
        if let Some(source) = &changed {
            for warning in Policy::load(FILE, source, &zone, &registry)?.warnings {
                tracing::warn!(line = warning.line, "{FILE}: {}", warning.message);
            }
        }

        let listen = |at: String| move |source| BuildError::Listen { at, source };
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(listen(config.listen.to_string()))?;
        let socket = bind_socket(&home).map_err(listen(home.socket().display().to_string()))?;
        let remote = match config.admin.address()? {
            Some(at) => {
                let bound = TcpListener::bind(at).await;
                Some((at, bound.map_err(listen(at.to_string()))?))
            }
            None => None,
        };

        let root = *identity.keyserver.root_key();
        let lineage = Lineage::start(&home, &store, &identity.signer, root, now).await?;
        let (ledger, writer) =
            Ledger::start(Arc::clone(&store), identity.audit, LedgerLimits::default());
        resumed.record(&ledger, now).await?;
        let enabled = record.enabled && resumed.breaks.is_empty();
        if !resumed.breaks.is_empty() {
            tracing::error!("no request is answered until an operator enables the server again");
        }
        let zone_name = config.time_zone.clone();
        if let Some(source) = changed {
            let change = Change::LoadPolicy {
                time_zone: zone_name.clone(),
                source,
                number: None,
                by: None,
            };
            ledger.administer(change, now).await?;
        }
        let event = AuditEvent::Administered {
            action: "serve".to_owned(),
            detail: format!("version {}", env!("CARGO_PKG_VERSION")),
        };
        if let Err(error) = ledger.note(event, now).await {
            // It starts all the same, and is not ready: it may get room later.
            tracing::error!(error = %ErrorChain(&error), "the start cannot be recorded");
        }
        let stored: PolicyVersion = store.policy().await?.ok_or(BuildError::NoPolicy)?;
        let policy = InForce::new(registry, (zone, zone_name), stored)?;

        let administrators = Arc::new(Administrators::load(&store, &identity.signer).await);
        let keeper = Keeper::new(&identity.keyserver, &home, &config.audit, resumed.last);
        let limits = &config.limits;
        let pipeline = Pipeline {
            directory: Directory::new(Arc::clone(&store), ledger.clone(), Arc::clone(&basis)),
            sessions: Sessions::new(limits.sessions),
            administrators: Arc::clone(&administrators),
            first_contacts: RateLimit::per_minute(limits.first_contacts_per_minute, now),
            relayed: RateLimit::per_minute(RELAYED_PER_MINUTE, now),
            relayed_by: RateLimits::per_minute(RELAYED_BY_ONE_PER_MINUTE),
            max_new_profiles_per_day: limits.max_new_profiles_per_day,
            enabled: AtomicBool::new(enabled),
            held_down: AtomicBool::new(false),
            basis,
            refreshing: tokio::sync::Mutex::default(),
            tallies: Tallies::new(now),
            reserve: Reserve::new(home.clone(), config.audit.reserve_bytes),
            keyserver: identity.keyserver,
            lineage,
            envelope_key: EnvelopeKey::new(identity.envelope_secret),
            shard_key: identity.shard_key,
            signer: identity.signer,
            ledger,
            policy,
            clock,
            watch: ClockWatch::default(),
            store,
        };
        let node = Arc::new(Node {
            pipeline,
            announcement: identity.public_card.into(),
            instance,
            draining: AtomicBool::new(false),
            switching: tokio::sync::Mutex::default(),
            keeper,
            home: home.clone(),
            ceremonies: Pending::new(administrators),
            admin_quorum: config.admin_quorum,
            paces: RateLimits::per_minute(admin::PER_MINUTE),
            breaks: resumed.breaks.iter().map(ToString::to_string).collect(),
        });
        node.end_leftovers().await;
        let remote = match remote {
            Some((at, tcp)) => Some(listen_afar(&node, tcp, config.admin.names(at)).await?),
            None => None,
        };
        Ok(Self {
            node,
            remote,
            limits: limits.listener(),
            in_flight: limits.in_flight,
            below: None,
            drain_delay: Duration::from_secs(limits.drain_delay_seconds),
            listener,
            socket,
            home,
            writer,
            _lock: lock,
        })
    }

    /// The same, which answers below this path alone.
    pub(crate) fn below(mut self, path: String) -> Self {
        self.below = Some(path);
        self
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address on which administrators are heard, if they are.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn administration(&self) -> io::Result<Option<SocketAddr>> {
        self.remote
            .as_ref()
            .map(TlsListener::local_addr)
            .transpose()
    }

    /// The server, as clients know it.
    #[must_use]
    pub fn keyserver(&self) -> &VerifiedKeyserver {
        &self.node.pipeline.keyserver
    }

    /// Answers requests until `stop` completes, and for the configured delay not ready; then answers what
    /// is under way and closes the database.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Drained {
        let (drain, draining) = watch::channel(false);
        let stopped = move || {
            let mut draining = draining.clone();
            async move {
                let _ = draining.wait_for(|draining| *draining).await;
            }
        };
        let below = self.below.as_deref();
        let public = routes::site(Arc::clone(&self.node), self.in_flight, below);
        let public = tokio::spawn(serve(self.listener, public, self.limits.clone(), stopped()));
        let remote = self.remote.map(|listener| {
            let mut limits = self.limits.clone();
            limits.connections = limits.connections.min(REMOTE_CONNECTIONS);
            let site = admin::remote(Arc::clone(&self.node));
            tokio::spawn(serve(listener, site, limits, stopped()))
        });
        let admin = admin::router(Arc::clone(&self.node));
        let mut limits = self.limits;
        limits.body_bytes = ADMIN_BODY_BYTES;
        let admin = tokio::spawn(serve(self.socket, admin, limits, stopped()));
        let forgetting = tokio::spawn(forget(Arc::clone(&self.node)));
        let keeping = tokio::spawn(keep(Arc::clone(&self.node)));
        let tallying = tokio::spawn(tally(Arc::clone(&self.node)));
        let watching = tokio::spawn(watch_clock(Arc::clone(&self.node)));
        let following = tokio::spawn(cluster::follow(Arc::clone(&self.node)));
        let presence = tokio::spawn(cluster::be_present(Arc::clone(&self.node)));

        stop.await;
        self.node.draining.store(true, Ordering::Relaxed);
        // Whoever spreads requests sees that it is not ready, and sends none, before the port closes.
        tokio::time::sleep(self.drain_delay).await;
        let _ = drain.send(true);
        let drained = public.await.unwrap_or(Drained { cut_off: 0 });
        let _ = admin.await;
        if let Some(remote) = remote {
            let _ = remote.await;
        }
        for task in [forgetting, keeping, tallying, watching, following, presence] {
            task.abort();
            let _ = task.await;
        }
        let cut_off = drained.cut_off;
        record_stop(&self.node, cut_off).await;
        self.node.take_leave().await;
        let _ = fs::remove_file(self.home.socket());
        let store = Arc::clone(&self.node.pipeline.store);
        // The last handle to the ledger goes with the node; then the writer ends.
        drop(self.node);
        let _ = self.writer.await;
        store.close().await;
        drained
    }
}

/// Puts the end on record: what is counted, that the server stopped, and a last checkpoint. The counts are one
/// record for each stop, which the operator causes: they are not left out for want of room.
async fn record_stop(node: &Node, cut_off: usize) {
    node.record_tallies().await;
    let event = AuditEvent::Administered {
        action: "stop".to_owned(),
        detail: match cut_off {
            0 => String::new(),
            cut_off => format!("{cut_off} connections cut off"),
        },
    };
    let pipeline = &node.pipeline;
    if let Err(error) = pipeline.ledger.note(event, pipeline.clock.now()).await {
        tracing::error!(error = %ErrorChain(&error), "the stop cannot be recorded");
    }
    node.checkpoint().await;
}

/// Makes checkpoints: one at once, and then at intervals.
async fn keep(node: Arc<Node>) {
    let mut tick = interval(node.keeper.every);
    loop {
        tick.tick().await;
        node.checkpoint().await;
    }
}

/// Records once a minute what was turned away, while there is room that is not kept for others.
async fn tally(node: Arc<Node>) {
    let mut tick = interval(TALLY_EVERY);
    loop {
        tick.tick().await;
        if node.pipeline.reserve.leaves_room() {
            node.record_tallies().await;
        }
    }
}

/// Puts on record when the clock is not believed.
async fn watch_clock(node: Arc<Node>) {
    let mut tick = interval(WATCH_EVERY);
    let mut fault = None;
    loop {
        tick.tick().await;
        fault = node.record_clock(fault).await;
    }
}

async fn forget(node: Arc<Node>) {
    let mut tick = interval(FORGET_EVERY);
    loop {
        tick.tick().await;
        let pipeline = &node.pipeline;
        let now = pipeline.clock.now();
        pipeline.sessions.forget_over(now);
        if !node.has_upkeep().await {
            continue;
        }
        let _ = pipeline.ledger.forget(now).await;
        let raised = pipeline
            .lineage
            .raise_if_due(&pipeline.store, &pipeline.signer, now)
            .await;
        if let Err(error) = raised {
            tracing::error!(error = %ErrorChain(&error), "no new generation");
        }
    }
}

/// Hears administrators on `tcp`, which they reach by these names.
async fn listen_afar(
    node: &Arc<Node>,
    tcp: TcpListener,
    names: Vec<String>,
) -> Result<TlsListener, BuildError> {
    let pipeline = &node.pipeline;
    let (clock, kss_id) = (pipeline.clock.clone(), pipeline.keyserver.kss_id());
    let authority = Arc::new(Authority::of(&pipeline.store, &kss_id, clock.now()).await?);
    let own = ListenerCertificate::new(Arc::clone(&authority), names, clock.clone())?;
    let heard = Arc::clone(node);
    let listener = TlsListener::new(
        tcp,
        authority.certificate(),
        Arc::new(own),
        move || clock.now(),
        move |failure| heard.tallies().count(Reason::of_handshake(failure)),
    );
    Ok(listener?)
}

/// Binds the administration socket. The home is locked, so a socket that is there is a leftover.
fn bind_socket(home: &Home) -> io::Result<UnixListener> {
    let path = home.socket();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}
