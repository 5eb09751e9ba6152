//! A server's home in a folder of its own.

use std::{collections::HashMap, fs, path::Path};

use ostrakon_custody::{AuditEvent, AuditRecord, Auditor, Evidence, Identity};
use ostrakon_server::{Clock, Home};
use ostrakon_storage::{Counter, InstanceId, ProtectorKey, Store};
use ostrakon_types::{Decision, ProfileId, RequestId, RequestKind, UnixMillis};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::command::{keyserver_command, run};

/// What the operating system's clock shows.
#[must_use]
pub fn now() -> UnixMillis {
    Clock::system().now()
}

/// A home with a server in it, removed when dropped.
#[derive(Debug)]
pub struct TestHome {
    folder: TempDir,
    instance: InstanceId,
}

/// What the database of a server that does not run says.
#[derive(Debug)]
pub struct Records {
    /// The audit log, in order; its chain was checked.
    pub audit: Vec<AuditRecord>,
    counters: HashMap<ProfileId, Vec<Counter>>,
}

/// An approval of a released shard in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Released {
    /// For which profile.
    pub profile: ProfileId,
    /// In which request.
    pub request: RequestId,
    /// As which item of it.
    pub item: u32,
}

impl TestHome {
    /// An empty folder, not yet a server's.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            folder: tempfile::Builder::new()
                .prefix("ostrakon-test-")
                .tempdir()
                .expect("a temporary folder"),
            instance: InstanceId::from_bytes([0; 16]),
        }
    }

    /// A new server, made by `keyserver create`, with this policy.
    #[must_use]
    pub fn create(policy: &str) -> Self {
        let mut home = Self::empty();
        let ran = run(keyserver_command(home.path()).arg("create"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let key = ProtectorKey::load(&home.home().instance_key()).expect("a key file");
        home.instance = key.instance();
        home.write_policy(policy);
        home
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The files in it, by their names.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::new(self.path())
    }

    /// Writes `keyserver.yml`.
    pub fn write_policy(&self, policy: &str) {
        fs::write(self.home().policy(), policy).expect("a policy can be written");
    }

    /// Writes `server.toml`.
    pub fn write_config(&self, config: &str) {
        fs::write(self.home().config(), config).expect("a configuration can be written");
    }

    /// Runs a statement on the database of a server that has ended, past all of its keys, as whoever
    /// has the file can. Returns how many rows it changed.
    pub fn sql(&self, statement: &'static str) -> u64 {
        block_on(async {
            let options = SqliteConnectOptions::new().filename(self.home().database());
            let mut database = options.connect().await.expect("a database");
            let done = sqlx::query(statement).execute(&mut database).await;
            database.close().await.expect("closed");
            done.expect("a statement").rows_affected()
        })
    }

    /// Reads the database, once the server has ended. The audit chain must be whole.
    #[must_use]
    pub fn records(&self) -> Records {
        block_on(async {
            let _lock = self.home().lock().expect("the server has ended");
            let key = ProtectorKey::load(&self.home().instance_key()).expect("a key file");
            let place = self.home().place().expect("a place");
            let store = Store::open(place, &key).await.expect("a database");
            let identity = Identity::load(&store, key.instance()).await;
            let mut audit = Vec::new();
            let identity = identity.expect("an identity");
            let auditor = Auditor::new(&identity, &store);
            let each = |_, _, record: &AuditRecord| audit.push(record.clone());
            let verified = auditor.verify(Evidence::default(), std::iter::empty(), each);
            let report = verified.await.expect("a log that can be read");
            assert_eq!(report.fault_count, 0, "{:?}", report.faults);
            let mut counters = HashMap::new();
            for record in &audit {
                if let AuditEvent::Decided { profile, .. } = record.event {
                    let of_profile = store.counters(&profile).await.expect("counters");
                    counters.insert(profile, of_profile);
                }
            }
            store.close().await;
            Records { audit, counters }
        })
    }
}

impl Records {
    /// How far all counters of a profile have counted.
    #[must_use]
    pub fn counted(&self, profile: &ProfileId) -> u64 {
        let counters = self.counters.get(profile).into_iter().flatten();
        counters.map(|counter| counter.count).sum()
    }

    /// The approved releases, in order.
    #[must_use]
    pub fn released(&self) -> Vec<Released> {
        let released = self.audit.iter().filter_map(|record| match &record.event {
            AuditEvent::Decided {
                profile,
                request,
                item,
                kind: RequestKind::Decrypt,
                decision: Decision::Approve { .. },
                ..
            } => Some(Released {
                profile: *profile,
                request: *request,
                item: *item,
            }),
            _ => None,
        });
        released.collect()
    }

    /// The decisions about a request, by item.
    #[must_use]
    pub fn decisions(&self, id: RequestId) -> Vec<Decision> {
        let decided = self.audit.iter().filter_map(|record| match &record.event {
            AuditEvent::Decided {
                request, decision, ..
            } if *request == id => Some(decision.clone()),
            _ => None,
        });
        decided.collect()
    }
}

/// Runs a future to its end on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
