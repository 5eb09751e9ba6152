use ostrakon_shards::{
    card::DeviceKind,
    device::DeviceKeys,
    name::Name,
    profile::{Profile, ProfileVersion, SignedVersion},
    random,
    sealed_shard::{PublicContext, SealedShard, ShardContext, seal_for_server},
    share::{FileKey, Threshold, split},
    suite::Suite,
};
use ostrakon_storage::ProtectorKey;
use ostrakon_types::{Candidate, Charge, CounterKey, DeviceId, Period, ProfileId, RequestId};
use tempfile::TempDir;

use super::*;
use crate::{
    AuditEvent, AuditFault, Auditor, Evidence, FaultKind, Identity, ReleaseError, ShardKey, binding,
};

mod model;
mod processes;
mod simulation;

pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
pub(crate) const PROFILE: ProfileId = ProfileId::from_bytes([1; 16]);

pub(crate) struct Room {
    pub(crate) folder: TempDir,
    pub(crate) store: Arc<Store>,
    pub(crate) identity: Identity,
    pub(crate) protector: ProtectorKey,
}

impl Room {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let protector = ProtectorKey::create(&folder.path().join("instance.key")).unwrap();
        let store = Store::create(&folder.path().join("db"), &protector)
            .await
            .unwrap();
        Identity::create(&store, Name::new("kss").unwrap(), NOW)
            .await
            .unwrap();
        let identity = Identity::load(&store, protector.instance()).await.unwrap();
        Self {
            folder,
            store: Arc::new(store),
            identity,
            protector,
        }
    }

    pub(crate) async fn ledger(&self) -> Ledger {
        self.ledger_within(LedgerLimits::default()).await.0
    }

    async fn ledger_within(&self, limits: LedgerLimits) -> (Ledger, JoinHandle<()>) {
        let identity = Identity::load(&self.store, self.protector.instance()).await;
        Ledger::start(Arc::clone(&self.store), identity.unwrap().audit, limits)
    }

    /// What the audit log holds, checked.
    async fn audited(&self) -> Result<Vec<AuditEvent>, AuditFault> {
        let mut events = Vec::new();
        let each = |_, _, record: &AuditRecord| events.push(record.event.clone());
        let auditor = Auditor::new(&self.identity, &self.store);
        let verified = auditor.verify(Evidence::default(), std::iter::empty(), each);
        let report = verified.await.unwrap();
        match report.faults.into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(events),
        }
    }

    /// Runs a statement that no user of the store could run, from another process as it were.
    pub(crate) async fn tamper(&self, sql: &str) {
        let database = self.folder.path().join("db");
        let ran = tokio::process::Command::new("sqlite3")
            .arg(database)
            .arg(sql)
            .output()
            .await;
        let ran = ran.expect("the program sqlite3 is installed");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }

    /// A file's shard, sealed to this server under the path.
    fn shard(&self, path: &str) -> (ShardContext, SealedShard) {
        let key = FileKey::generate(16).unwrap();
        let made = split(&key, Threshold::new(2, 2).unwrap()).unwrap();
        let shard = &made.shards[1];
        let public = PublicContext {
            set_id: shard.set_id(),
            cryptographic_id: random::id().unwrap(),
            profile: PROFILE,
            device: self.identity.keyserver.device_id(),
            threshold: 2,
            index: shard.index(),
            manifest: made.manifest.digest(),
        };
        let meta = MetaItem {
            meta: path.into(),
            complete: true,
        };
        let context = ShardContext { public, meta };
        let recipient = &self.identity.keyserver.device().kem;
        let sealed = seal_for_server(Suite::X25519, shard, &context, recipient).unwrap();
        (context, sealed)
    }
}

pub(crate) fn request(id: u8, items: Vec<RequestItem>) -> SettleRequest {
    let key = RequestKey {
        profile: PROFILE,
        device: DeviceId::from_bytes([2; 16]),
        request: RequestId::from_bytes([id; 16]),
    };
    SettleRequest {
        key,
        body: Digest::from_bytes([id; 32]),
        at: NOW,
        basis: ChangeNumber::default(),
        items,
    }
}

pub(crate) fn item(proposal: Proposal, act: Act) -> RequestItem {
    RequestItem {
        kind: RequestKind::Decrypt,
        cryptographic_id: None,
        meta: vec![MetaItem {
            meta: "secret/path".into(),
            complete: true,
        }],
        proposal,
        explanation: Some(Explain::Policy("because".into())),
        act,
    }
}

pub(crate) fn within(limit: u64) -> Proposal {
    let key = CounterKey {
        profile: PROFILE,
        rule_id: "rule".into(),
        period: Period::Day,
        window: NOW,
    };
    let charge = Charge {
        key,
        limit,
        resets_at: NOW.plus(1000),
    };
    Proposal::new(vec![Candidate::new(Some(0), vec![charge])])
}

fn founded() -> (Profile, SignedVersion) {
    let keys = DeviceKeys::generate().unwrap();
    let name = Name::new("alice@host").unwrap();
    let card = keys.card(DeviceKind::Workstation, name.clone());
    let device = card.id();
    let version = ProfileVersion::first(name, 1, vec![card]).unwrap();
    let signature = version.sign(&keys.signing);
    let signed = SignedVersion::new(version, vec![(device, signature)]);
    (Profile::found(signed.clone()).unwrap(), signed)
}

fn approved(verdicts: Vec<Verdict>) -> Approval {
    match verdicts.into_iter().next() {
        Some(Verdict::Approved(Some(approval))) => approval,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_approval_opens_its_own_shard_and_no_other() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let (context, sealed) = room.shard("a/b");
    let (other_context, other_sealed) = room.shard("a/c");
    let act = || Act::Release(binding(&context, &sealed));
    let items = || vec![item(within(9), act())];
    let shard_key: &ShardKey = &room.identity.shard_key;

    let approval = approved(ledger.settle(request(1, items())).await.unwrap());
    shard_key.open(approval, &context, &sealed).unwrap();

    let approval = approved(ledger.settle(request(2, items())).await.unwrap());
    let refused = shard_key.open(approval, &other_context, &other_sealed);
    assert!(matches!(refused, Err(ReleaseError::OtherShard)));

    // Approved for what the requester claims, but the shard was sealed under another path.
    let mut claimed = context.clone();
    claimed.meta.meta = "public/b".into();
    let items = vec![item(within(9), Act::Release(binding(&claimed, &sealed)))];
    let approval = approved(ledger.settle(request(3, items)).await.unwrap());
    let refused = shard_key.open(approval, &claimed, &sealed);
    assert!(matches!(refused, Err(ReleaseError::Context)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_get_exactly_the_limit_and_each_its_record() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..100 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let settled = ledger
                .settle(request(id, vec![item(within(40), Act::None)]))
                .await;
            matches!(settled.unwrap()[..], [Verdict::Approved(None)])
        });
    }
    let granted = tasks
        .join_all()
        .await
        .into_iter()
        .filter(|granted| *granted)
        .count();
    assert_eq!(granted, 40);
    let events = room.audited().await.unwrap();
    let approvals = events.iter().filter(
        |event| matches!(event, AuditEvent::Decided { decision, .. } if decision.is_approved()),
    );
    assert_eq!((events.len(), approvals.count()), (100, 40));
}

/// Threat 1, at the ledger: a replay gets the same answer, at no charge, with no second record.
#[tokio::test]
async fn a_retried_request_gets_its_first_answer_also_after_a_restart() {
    let room = Room::new().await;
    let (context, sealed) = room.shard("a/b");
    let items = || vec![item(within(1), Act::Release(binding(&context, &sealed)))];
    let ledger = room.ledger().await;
    let _ = approved(ledger.settle(request(1, items())).await.unwrap());
    for ledger in [ledger, room.ledger().await] {
        for _ in 0..10 {
            let approval = approved(ledger.settle(request(1, items())).await.unwrap());
            room.identity
                .shard_key
                .open(approval, &context, &sealed)
                .unwrap();
        }
        let mut changed = request(1, items());
        changed.body = Digest::from_bytes([9; 32]);
        let refused = ledger.settle(changed).await;
        assert!(matches!(
            refused,
            Err(LedgerError::Refused(Refusal::IdReused))
        ));
        let denied = ledger.settle(request(2, items())).await.unwrap();
        assert!(matches!(
            denied[..],
            [Verdict::Denied(Denial::Quota { .. })]
        ));
    }
    assert_eq!(room.store.counters(&PROFILE).await.unwrap()[0].count, 1);
    assert_eq!(room.audited().await.unwrap().len(), 2);
}

/// Threat 12: no record, no answer; and service resumes by itself.
#[tokio::test]
async fn nothing_is_approved_while_the_audit_log_cannot_be_written() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    room.tamper("ALTER TABLE audit RENAME TO gone").await;
    for id in 1..5 {
        let refused = ledger
            .settle(request(id, vec![item(within(1), Act::None)]))
            .await;
        assert!(
            matches!(refused, Err(LedgerError::Unavailable(_))),
            "{refused:?}"
        );
        assert!(!ledger.is_writable());
    }
    assert!(
        room.store.counters(&PROFILE).await.unwrap().is_empty(),
        "a charge without a record"
    );
    room.tamper("ALTER TABLE gone RENAME TO audit").await;
    let settled = ledger
        .settle(request(1, vec![item(within(1), Act::None)]))
        .await
        .unwrap();
    assert!(matches!(settled[..], [Verdict::Approved(None)]));
    assert!(ledger.is_writable());
}

#[tokio::test]
async fn records_that_are_taken_away_during_a_failure_are_found() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let settle = |id| ledger.settle(request(id, vec![item(within(99), Act::None)]));
    for id in 1..=3 {
        settle(id).await.unwrap();
    }
    // After a failed write the writer reads from the database where the chain ends.
    let refuse = "CREATE TRIGGER planted BEFORE INSERT ON audit
                  BEGIN SELECT RAISE(ABORT, 'planted'); END";
    room.tamper(refuse).await;
    settle(4).await.unwrap_err();
    room.tamper(
        "DROP TRIGGER planted; DELETE FROM audit WHERE sequence = 3;
         DELETE FROM requests WHERE request = x'03030303030303030303030303030303'",
    )
    .await;
    settle(5).await.unwrap();
    let fault = room.audited().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Missing, "{fault}");
}

#[tokio::test]
async fn a_retry_of_fewer_items_gets_no_decision_of_others() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let denied = || item(within(0), Act::Release(Digest::from_bytes([7; 32])));
    let both = vec![item(within(9), Act::None), denied()];
    let first = ledger.settle(request(1, both)).await.unwrap();
    assert!(matches!(
        first[..],
        [Verdict::Approved(None), Verdict::Denied(_)]
    ));
    let again = ledger.settle(request(1, vec![denied()])).await;
    assert!(matches!(
        again,
        Err(LedgerError::Refused(Refusal::IdReused))
    ));
}

#[tokio::test]
async fn a_request_that_fails_in_the_database_spoils_no_other() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    room.tamper(
        "CREATE TRIGGER poison BEFORE INSERT ON requests
         WHEN NEW.request = x'07070707070707070707070707070707'
         BEGIN SELECT RAISE(ABORT, 'planted'); END",
    )
    .await;
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..20 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            (
                id,
                ledger
                    .settle(request(id, vec![item(within(99), Act::None)]))
                    .await
                    .is_ok(),
            )
        });
    }
    for (id, settled) in tasks.join_all().await {
        assert_eq!(settled, id != 7, "request {id}");
    }
}

/// The database lets one of four changes of a counter fall, as if another writer had been faster. Seen to
/// fail: with one try alone, and with what the database says of rows that changed ignored.
#[tokio::test]
async fn a_writer_that_was_overtaken_settles_again() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    room.tamper(
        "CREATE TRIGGER faster BEFORE UPDATE ON counters WHEN random() % 4 = 0
         BEGIN SELECT RAISE(IGNORE); END",
    )
    .await;
    for id in 0..40 {
        let items = vec![item(within(99), Act::None)];
        let settled = ledger.settle(request(id, items)).await.unwrap();
        assert!(matches!(settled[..], [Verdict::Approved(None)]));
    }
    assert_eq!(room.store.counters(&PROFILE).await.unwrap()[0].count, 40);
    assert_eq!(room.audited().await.unwrap().len(), 40);
}

/// The writer plans on what it knows of the counters; another process clears one meanwhile. Seen to fail:
/// with a denial not made sure of when it is written.
#[tokio::test]
async fn a_denial_rests_on_what_the_database_holds() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let settle = |id| ledger.settle(request(id, vec![item(within(1), Act::None)]));
    for (id, cleared) in [
        (0, "UPDATE counters SET count = 0"),
        (10, "DELETE FROM counters"),
    ] {
        assert!(matches!(
            settle(id).await.unwrap()[..],
            [Verdict::Approved(None)]
        ));
        assert!(matches!(
            settle(id + 1).await.unwrap()[..],
            [Verdict::Denied(_)]
        ));
        room.tamper(cleared).await;
    }
    assert!(matches!(
        settle(20).await.unwrap()[..],
        [Verdict::Approved(None)]
    ));
    assert_eq!(room.audited().await.unwrap().len(), 5);
}

#[tokio::test]
async fn profiles_and_folders_are_made_with_their_decision_or_not_at_all() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let (profile, signed) = founded();
    let create = || Act::CreateProfile(Box::new((profile.clone(), signed.clone())));

    let denied = vec![item(Proposal::new(Vec::new()), create())];
    let denied = ledger.settle(request(1, denied)).await.unwrap();
    assert!(matches!(denied[..], [Verdict::Denied(Denial::Policy)]));
    assert_eq!(room.store.count_profiles().await.unwrap(), 0);

    // The second of two is refused, and what it would have charged is given back.
    let items = vec![item(within(9), create()), item(within(9), create())];
    let made = ledger.settle(request(2, items)).await.unwrap();
    assert!(matches!(
        made[..],
        [Verdict::Approved(None), Verdict::Denied(Denial::Conflict)]
    ));
    assert_eq!(room.store.count_profiles().await.unwrap(), 1);
    assert_eq!(room.store.counters(&PROFILE).await.unwrap()[0].count, 1);

    let events = room.audited().await.unwrap();
    assert!(matches!(
        &events[0],
        AuditEvent::Decided { explanation: Some(why), .. } if why == "because"
    ));
    assert!(matches!(
        &events[1],
        AuditEvent::Decided {
            explanation: None,
            ..
        }
    ));
}

#[tokio::test]
async fn a_denial_by_quota_is_explained_by_the_charges_that_did_not_fit() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let explained = |limit| {
        let mut item = item(within(limit), Act::None);
        let explain = |refused: &[Charge]| {
            let limits: Vec<u64> = refused.iter().map(|charge| charge.limit).collect();
            format!("limits {limits:?}")
        };
        item.explanation = Some(Explain::Quota(Box::new(explain)));
        item
    };
    let items = vec![explained(1), explained(2), explained(2)];
    ledger.settle(request(1, items)).await.unwrap();
    let why: Vec<Option<String>> = room
        .audited()
        .await
        .unwrap()
        .into_iter()
        .map(|event| match event {
            AuditEvent::Decided { explanation, .. } => explanation,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(why, [None, None, Some("limits [2]".to_owned())]);
}

#[tokio::test]
async fn a_server_is_made_once_and_a_foreign_identity_is_refused() {
    let room = Room::new().await;
    let again = Identity::create(&room.store, Name::new("kss").unwrap(), NOW).await;
    assert!(matches!(
        again,
        Err(crate::IdentityError::Store(
            ostrakon_storage::StoreError::Exists
        ))
    ));

    // Another server's card beside this server's keys.
    let other = Room::new().await;
    let card = other.identity.public_card.to_bytes();
    let kss_id = other.identity.keyserver.kss_id();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    room.tamper(&format!(
        "UPDATE server SET public_card = x'{}', kss_id = x'{}'",
        hex(&card),
        hex(kss_id.digest().as_bytes())
    ))
    .await;
    assert!(
        Identity::load(&room.store, room.protector.instance())
            .await
            .is_err()
    );
}
