//! An instance's ledger on a shared database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use ostrakon_custody::{Act, Identity, Ledger, LedgerLimits, RequestItem, SettleRequest, Verdict};
use ostrakon_shards::{name::Name, random};
use ostrakon_storage::{ChangeNumber, DatabaseUri, ProtectorKey, RequestKey, Store};
use ostrakon_types::{
    Candidate, Charge, CounterKey, CryptographicId, DeviceId, Digest, MetaItem, Period, ProfileId,
    Proposal, RequestKind, UnixMillis,
};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};

use crate::Outcome;

pub struct Room {
    store: Arc<Store>,
    ledger: Ledger,
    writer: JoinHandle<()>,
    basis: ChangeNumber,
    next: AtomicU64,
    _folder: TempDir,
}

impl Room {
    pub async fn create(uri: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let protector = ProtectorKey::create(&folder.path().join("instance.key"))?;
        let uri: DatabaseUri = uri.parse()?;
        let store = Arc::new(Store::create(&uri, &protector).await?);
        Identity::create(&store, Name::new("bench")?, now()).await?;
        let identity = Identity::load(&store, protector.instance()).await?;
        let basis = store.change_number().await?;
        let (ledger, writer) =
            Ledger::start(Arc::clone(&store), identity.audit, LedgerLimits::default());
        Ok(Self {
            store,
            ledger,
            writer,
            basis,
            next: AtomicU64::new(0),
            _folder: folder,
        })
    }

    /// Settles so many requests at once, so many times. Returns the seconds.
    pub async fn settle(&self, batch: usize, rounds: usize, profiles: u64) -> Outcome<f64> {
        let start = Instant::now();
        for _ in 0..rounds {
            let mut asked = JoinSet::new();
            for _ in 0..batch {
                let (ledger, request) = (self.ledger.clone(), self.request(profiles)?);
                asked.spawn(async move { ledger.settle(request).await });
            }
            while let Some(verdicts) = asked.join_next().await {
                // A figure of answers that were not given would be worth nothing.
                if !matches!(verdicts??.as_slice(), [Verdict::Approved(_)]) {
                    return Err("a request was not approved".into());
                }
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// A request for one shard, within a quota of the day.
    fn request(&self, profiles: u64) -> Outcome<SettleRequest> {
        let at = now();
        let number = self.next.fetch_add(1, Relaxed) % profiles;
        // Profiles are spread over the table, as their random ids are.
        let spread = u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64;
        let profile = ProfileId::from_bytes(spread.to_be_bytes());
        let window = UnixMillis(at.0 - at.0 % DAY);
        let charge = Charge {
            key: CounterKey {
                profile,
                rule_id: "public".into(),
                period: Period::Day,
                window,
            },
            limit: 1_000_000_000,
            resets_at: window.plus(DAY),
        };
        let body = Digest::from_bytes(random::array()?);
        Ok(SettleRequest {
            key: RequestKey {
                profile,
                device: DeviceId::from_bytes(spread.to_be_bytes()),
                request: random::request_id(at)?,
            },
            body,
            at,
            basis: self.basis,
            items: vec![RequestItem {
                kind: RequestKind::Decrypt,
                cryptographic_id: Some(CryptographicId::from_bytes(spread.to_be_bytes())),
                meta: vec![MetaItem {
                    meta: "Public/reports/2026/quarter-3/figures.ods".into(),
                    complete: true,
                }],
                proposal: Proposal::new(vec![Candidate::new(Some(0), vec![charge])]),
                explanation: None,
                act: Act::Release(body),
            }],
        })
    }

    pub async fn close(self) {
        drop(self.ledger);
        let _ = self.writer.await;
        self.store.close().await;
    }
}

const DAY: i64 = 24 * 60 * 60 * 1000;

/// The time by the machine's clock.
fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| since.as_millis() as i64))
}
