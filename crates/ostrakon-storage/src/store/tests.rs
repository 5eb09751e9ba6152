use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    generation::Generation,
    name::Name,
    profile::{Profile, ProfileVersion, SignedVersion},
    random,
    seal::seal,
    suite::Suite,
};
use ostrakon_types::{
    CeremonyId, CertificateId, CounterKey, Decision, DeviceId, Digest, KssId, LocationId, Period,
    ProfileId, Recorded, RequestId, UnixMillis,
};
use sqlx::Row as _;
use tempfile::TempDir;

use super::*;
use crate::engine::{Conn, Kind};

pub(super) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) protector: ProtectorKey,
    pub(super) place: Place,
    pub(super) store: Store,
}

/// What must hold for each kind of database, once for each.
macro_rules! contract {
    ($($test:ident),+ $(,)?) => {
        contract!(@ sqlite Kind::Sqlite; $($test)+);
        contract!(@ mariadb Kind::MySql; $($test)+);
        contract!(@ postgres Kind::Postgres; $($test)+);
    };
    (@ $module:ident $kind:expr; $($test:ident)+) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(Fixture::of($kind).await).await;
                }
            )+
        }
    };
}

contract![
    keys_are_opened_by_who_was_let_in,
    profiles_are_found_again_and_their_first_words_are_unique,
    a_version_has_one_successor,
    what_is_sealed_cannot_be_moved,
    a_profile_has_as_many_folders_as_one_answer_can_list,
    a_counter_changes_only_from_what_was_read,
    rows_of_any_number_are_read_and_written,
    what_is_not_committed_has_not_happened,
    counters_are_forgotten_and_cleared,
    ceremonies_are_kept_answered_and_forgotten,
    chains_checkpoints_and_archives_are_kept,
    an_authority_and_its_certificates_are_kept,
    settings_policies_and_backups_are_kept,
    a_snapshot_is_of_one_moment,
    instances_and_leases_go_by_the_clock_of_the_database,
];

impl Fixture {
    async fn new() -> Self {
        Self::of(Kind::Sqlite).await
    }

    pub(super) async fn of(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let protector = ProtectorKey::create(&folder.path().join("instance.key")).unwrap();
        let shared = |uri: String| Place::from(&uri.parse::<DatabaseUri>().unwrap());
        let place = match kind {
            Kind::Sqlite => Place::File(folder.path().join("keyserver.db")),
            Kind::MySql => shared(ostrakon_testdb::mariadb().database()),
            Kind::Postgres => shared(ostrakon_testdb::postgres().database()),
        };
        let store = Store::create(&place, &protector).await.unwrap();
        Self {
            folder,
            protector,
            place,
            store,
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("keyserver.db")
    }

    async fn reopen(&self) -> Result<Store, StoreError> {
        self.store.close().await;
        Store::open(&self.place, &self.protector).await
    }

    /// Runs a statement that no user of the store could run.
    pub(super) async fn tamper(&self, sql: &'static str) {
        let mut writer = self.store.db.writer().await.unwrap();
        writer.run(sql).await.unwrap();
    }
}

/// Makes a server.
pub(super) async fn found(store: &Store) {
    let record = ServerRecord {
        kss_id: KssId::from_digest(Digest::from_bytes([7; 32])),
        public_card: vec![1, 2, 3],
        enabled: true,
        created_at: NOW,
    };
    let mut tx = store.begin().await.unwrap();
    tx.insert_server(&record, b"identity").await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) fn founded(name: &str) -> (Profile, SignedVersion) {
    let keys = DeviceKeys::generate().unwrap();
    let card: Card = keys.card(DeviceKind::Workstation, Name::new(name).unwrap());
    let id = card.id();
    let version = ProfileVersion::first(Name::new(name).unwrap(), 1, vec![card]).unwrap();
    let signature = version.sign(&keys.signing);
    let signed = SignedVersion::new(version, vec![(id, signature)]);
    (Profile::found(signed.clone()).unwrap(), signed)
}

fn counter(rule: &str) -> CounterKey {
    CounterKey {
        profile: ProfileId::from_bytes([1; 16]),
        rule_id: rule.into(),
        period: Period::Hour,
        window: NOW,
    }
}

pub(super) fn request(id: u32) -> RequestKey {
    let mut bytes = [3; 16];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    RequestKey {
        profile: ProfileId::from_bytes([1; 16]),
        device: DeviceId::from_bytes([2; 16]),
        request: RequestId::from_bytes(bytes),
    }
}

pub(super) fn record(id: u32) -> RequestRecord {
    RequestRecord {
        key: request(id),
        recorded: Recorded {
            body: Digest::from_bytes([4; 32]),
            decisions: vec![Decision::Approve { rule_set: Some(id) }; 2],
        },
        decided_at: NOW,
    }
}

#[tokio::test]
async fn the_key_hierarchy_survives_a_restart_and_other_keys_are_told_from_damage() {
    let fixture = Fixture::new().await;
    let other = ProtectorKey::create(&fixture.folder.path().join("other.key")).unwrap();
    let wrong = Store::open(&fixture.database(), &other).await;
    assert!(
        matches!(wrong, Err(StoreError::WrongRootKey)),
        "{:?}",
        wrong.err()
    );

    fixture.store.ping().await.unwrap();
    Store::open(&fixture.database(), &fixture.protector)
        .await
        .unwrap();

    fixture
        .tamper("UPDATE settings SET value = zeroblob(80) WHERE name = 'canary'")
        .await;
    let damaged = fixture.reopen().await;
    assert!(
        matches!(
            damaged,
            Err(StoreError::Corrupt {
                table: "settings",
                column: "canary"
            })
        ),
        "{:?}",
        damaged.err()
    );
}

#[tokio::test]
async fn databases_that_are_absent_foreign_newer_or_already_there_are_told_apart() {
    let fixture = Fixture::new().await;
    let path = fixture.folder.path().join("nothing.db");
    assert!(matches!(
        Store::open(&path, &fixture.protector).await,
        Err(StoreError::Missing)
    ));
    assert!(matches!(
        Store::create(&fixture.database(), &fixture.protector).await,
        Err(StoreError::Exists)
    ));
    std::fs::write(
        &path,
        "this is no database, but long enough to look like one".repeat(100),
    )
    .unwrap();
    let foreign = Store::open(&path, &fixture.protector).await;
    assert!(
        matches!(foreign, Err(StoreError::Damaged(_))),
        "{:?}",
        foreign.err()
    );
    fixture
        .tamper(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (900, 'from the future', 1, x'00', 0)",
        )
        .await;
    let newer = fixture.reopen().await;
    assert!(
        matches!(
            newer,
            Err(StoreError::NewerSchema {
                found: 900,
                known: 7
            })
        ),
        "{:?}",
        newer.err()
    );
}

#[tokio::test]
async fn requests_are_still_known_after_an_upgrade() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.store.begin().await.unwrap();
    tx.record(&[record(1), record(2)]).await.unwrap();
    tx.commit().await.unwrap();
    // As the first release left it.
    fixture
        .tamper(
            "CREATE TABLE first (
                profile BLOB NOT NULL, device BLOB NOT NULL, request BLOB NOT NULL,
                recorded BLOB NOT NULL, decided_at INTEGER NOT NULL,
                PRIMARY KEY (profile, device, request)
             ) STRICT, WITHOUT ROWID;
             INSERT INTO first SELECT profile, device, request, recorded, decided_at FROM requests;
             DROP TABLE requests;
             ALTER TABLE first RENAME TO requests;
             CREATE INDEX requests_by_age ON requests (decided_at);
             DROP INDEX counters_by_window;
             DELETE FROM _sqlx_migrations WHERE version = 3",
        )
        .await;
    let store = fixture.reopen().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let recalled = tx.recall(&[request(2), request(1)]).await.unwrap();
    assert_eq!(recalled, [2, 1].map(|id| Some(record(id).recorded)));
    assert_eq!(
        tx.forget_requests(NOW.plus(25 * 3_600_000), 9)
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    let fixture = Fixture::new().await;
    for file in std::fs::read_dir(fixture.folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}

async fn profiles_are_found_again_and_their_first_words_are_unique(fixture: Fixture) {
    let (profile, signed) = founded("alice@example");
    let mut tx = fixture.store.begin().await.unwrap();
    assert!(tx.insert_profile(&profile, &signed, NOW).await.unwrap());
    assert!(
        !tx.insert_profile(&profile, &signed, NOW).await.unwrap(),
        "twice"
    );
    let (other, other_signed) = founded("bob@example");
    tx.tx
        .query("UPDATE profiles SET first_words = ?")
        .bind(other.words().first(4).to_owned())
        .execute(&mut tx.tx)
        .await
        .unwrap();
    assert!(
        !tx.insert_profile(&other, &other_signed, NOW).await.unwrap(),
        "clash"
    );
    tx.commit().await.unwrap();

    let device = profile.version().devices[0].id();
    let store = fixture.reopen().await.unwrap();
    assert_eq!(
        store.profiles_of(&device).await.unwrap(),
        [(profile.id(), 1)]
    );
    assert_eq!(
        store
            .profiles_of(&DeviceId::from_bytes([9; 16]))
            .await
            .unwrap(),
        []
    );
    let chain = store.profile(&profile.id()).await.unwrap();
    assert_eq!(Profile::from_chain(chain).unwrap().head(), profile.head());
    assert!(store.profile(&other.id()).await.unwrap().is_empty());
    assert_eq!(store.count_profiles().await.unwrap(), 1);
}

/// Of two successors that were both made from one version, the first that is stored is the one.
/// (Planted bug: the conditions of `advance_profile` left out, which stored both.)
async fn a_version_has_one_successor(fixture: Fixture) {
    let keys = DeviceKeys::generate().unwrap();
    let card = keys.card(DeviceKind::Workstation, Name::new("desk").unwrap());
    let sign = |version: ProfileVersion| {
        let signature = version.sign(&keys.signing);
        SignedVersion::new(version, [(card.id(), signature)])
    };
    let first = ProfileVersion::first(Name::new("team").unwrap(), 1, vec![card.clone()]);
    let first = sign(first.unwrap());
    let profile = Profile::found(first.clone()).unwrap();
    let mut tx = fixture.store.begin().await.unwrap();
    assert!(tx.insert_profile(&profile, &first, NOW).await.unwrap());
    let next = || {
        let signed = sign(profile.draft().unwrap());
        (profile.advance(signed.clone()).unwrap(), signed)
    };
    let ((second, signed), (fork, forked)) = (next(), next());
    assert!(tx.advance_profile(&second, &signed).await.unwrap());
    assert!(
        !tx.advance_profile(&second, &signed).await.unwrap(),
        "twice"
    );
    assert!(!tx.advance_profile(&fork, &forked).await.unwrap(), "a fork");
    // What continues the fork has the right number, but not the right hash before it.
    let third = sign(fork.draft().unwrap());
    let branch = fork.advance(third.clone()).unwrap();
    assert!(
        !tx.advance_profile(&branch, &third).await.unwrap(),
        "a branch"
    );
    tx.commit().await.unwrap();
    let chain = fixture.store.profile(&profile.id()).await.unwrap();
    assert_eq!(Profile::from_chain(chain).unwrap().head(), second.head());
    let known = fixture.store.profiles_of(&card.id()).await.unwrap();
    assert_eq!(known, [(profile.id(), 2)]);
}

/// Threat 21: whoever has the database has no secret, and cannot move what is sealed.
#[tokio::test]
async fn a_stolen_database_tells_no_secret_and_its_ciphertexts_cannot_be_moved() {
    let fixture = Fixture::new().await;
    let (profile, signed) = founded("alice@payroll-canary");
    let secret = random::array::<32>().unwrap();
    let record = ServerRecord {
        kss_id: KssId::from_digest(Digest::from_bytes([7; 32])),
        public_card: b"card".to_vec(),
        enabled: true,
        created_at: NOW,
    };
    let locations: Vec<LocationRecord> = ["payroll-canary-a", "payroll-canary-b"]
        .iter()
        .zip(1..)
        .map(|(name, id)| LocationRecord {
            location: LocationId::from_bytes([id; 16]),
            name: Name::new(name).unwrap(),
            created_at: NOW,
        })
        .collect();
    let mut tx = fixture.store.begin().await.unwrap();
    tx.insert_server(&record, &secret).await.unwrap();
    tx.insert_profile(&profile, &signed, NOW).await.unwrap();
    for location in &locations {
        assert!(tx.insert_location(&profile.id(), location).await.unwrap());
    }
    tx.commit().await.unwrap();
    assert_eq!(fixture.store.identity().await.unwrap().as_slice(), secret);
    assert_eq!(fixture.store.server().await.unwrap().unwrap(), record);
    assert_eq!(
        fixture.store.locations(&profile.id()).await.unwrap(),
        locations
    );

    let mut stolen = Vec::new();
    for name in ["keyserver.db", "keyserver.db-wal"] {
        stolen.extend(std::fs::read(fixture.folder.path().join(name)).unwrap());
    }
    let contains = |needle: &[u8]| stolen.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"card"), "the search finds what is there in clear");
    for needle in [
        secret.as_slice(),
        hex::encode(secret).as_bytes(),
        b"payroll-canary",
    ] {
        assert!(!contains(needle));
    }

    fixture
        .tamper(
            "UPDATE locations SET sealed = (SELECT sealed FROM locations
               WHERE location = x'01010101010101010101010101010101')
             WHERE location = x'02020202020202020202020202020202'",
        )
        .await;
    let moved = fixture.store.locations(&profile.id()).await;
    assert!(matches!(
        moved,
        Err(StoreError::Corrupt {
            table: "locations",
            ..
        })
    ));
    fixture
        .tamper("UPDATE server SET sealed = (SELECT folder_key FROM locations LIMIT 1)")
        .await;
    assert!(matches!(
        fixture.store.identity().await,
        Err(StoreError::Corrupt { .. })
    ));
}

/// A ciphertext opens in its own row alone.
async fn what_is_sealed_cannot_be_moved(fixture: Fixture) {
    let (profile, signed) = founded("alice@example");
    let mut tx = fixture.store.begin().await.unwrap();
    tx.insert_profile(&profile, &signed, NOW).await.unwrap();
    for id in [1, 2] {
        let record = LocationRecord {
            location: LocationId::from_bytes([id; 16]),
            name: Name::new("folder").unwrap(),
            created_at: NOW,
        };
        assert!(tx.insert_location(&profile.id(), &record).await.unwrap());
        assert!(!tx.insert_location(&profile.id(), &record).await.unwrap());
    }
    tx.commit().await.unwrap();
    let held = fixture.store.locations(&profile.id()).await.unwrap();
    assert_eq!(held.len(), 2);
    let read = "SELECT sealed FROM locations WHERE location = ?";
    let mut conn = fixture.store.db.writer().await.unwrap();
    let row = conn
        .query(read)
        .bind([1; 16].as_slice())
        .fetch_one(&mut conn);
    let sealed: Vec<u8> = row.await.unwrap().try_get("sealed").unwrap();
    conn.query("UPDATE locations SET sealed = ?")
        .bind(sealed)
        .execute(&mut conn)
        .await
        .unwrap();
    drop(conn);
    let moved = fixture.store.locations(&profile.id()).await;
    let table = "locations";
    assert!(matches!(moved, Err(StoreError::Corrupt { table: of, .. }) if of == table));
}

async fn a_profile_has_as_many_folders_as_one_answer_can_list(fixture: Fixture) {
    let (profile, signed) = founded("alice@example");
    let mut tx = fixture.store.begin().await.unwrap();
    tx.insert_profile(&profile, &signed, NOW).await.unwrap();
    let folder = |number: u32| LocationRecord {
        location: LocationId::from_bytes(u128::from(number).to_be_bytes()),
        name: Name::new("folder").unwrap(),
        created_at: NOW,
    };
    for number in 0..MAX_LOCATIONS {
        assert!(
            tx.insert_location(&profile.id(), &folder(number))
                .await
                .unwrap()
        );
    }
    assert!(
        !tx.insert_location(&profile.id(), &folder(MAX_LOCATIONS))
            .await
            .unwrap()
    );
}

async fn a_counter_changes_only_from_what_was_read(fixture: Fixture) {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(counter);
    let change = |key: &CounterKey, read, count| CounterChange {
        key: key.clone(),
        read,
        count,
    };
    let mut tx = fixture.store.begin().await.unwrap();
    assert_eq!(tx.counts(&[&a, &b]).await.unwrap(), [None, None]);
    let changes = [change(&a, None, 2), change(&b, None, 7)];
    tx.count(&changes).await.unwrap();
    let changes = [change(&b, Some(7), 6), change(&c, None, 1)];
    tx.count(&changes).await.unwrap();
    tx.commit().await.unwrap();

    let stale: [&[_]; 4] = [
        &[change(&a, Some(1), 3)],
        &[change(&a, None, 1)],
        &[change(&b, Some(6), 8), change(&a, Some(3), 4)],
        &[change(&c, Some(1), 2), change(&d, Some(0), 1)],
    ];
    for changes in stale {
        let mut tx = fixture.store.begin().await.unwrap();
        let overtaken = tx.count(changes).await;
        assert!(
            matches!(overtaken, Err(StoreError::Overtaken)),
            "{changes:?}"
        );
    }
    let mut tx = fixture.store.begin().await.unwrap();
    let counts = tx.counts(&[&c, &d, &b, &a]).await.unwrap();
    assert_eq!(counts, [Some(1), None, Some(6), Some(2)]);
    drop(tx);
    let counters = fixture.store.counters(&a.profile).await.unwrap();
    let counted: Vec<_> = counters
        .iter()
        .map(|counter| (&*counter.key.rule_id, counter.count))
        .collect();
    assert_eq!(counted, [("a", 2), ("b", 6), ("c", 1)]);
}

async fn rows_of_any_number_are_read_and_written(fixture: Fixture) {
    for number in [1, 2, 63, 64, 200, 300] {
        let records: Vec<_> = (0..number).map(|id| record(number * 1000 + id)).collect();
        let keys: Vec<_> = records.iter().map(|record| record.key).collect();
        let rules: Vec<_> = keys.iter().map(|key| key.request.to_string()).collect();
        let counters: Vec<_> = rules.iter().map(|rule| counter(rule)).collect();
        let counters: Vec<_> = counters.iter().collect();
        let changes = |read, count| {
            let change = |key: &&CounterKey| CounterChange {
                key: (*key).clone(),
                read,
                count,
            };
            counters.iter().map(change).collect::<Vec<_>>()
        };
        let mut tx = fixture.store.begin().await.unwrap();
        tx.record(&records).await.unwrap();
        tx.count(&changes(None, 1)).await.unwrap();
        tx.count(&changes(Some(1), 2)).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = fixture.store.begin().await.unwrap();
        let recalled = tx.recall(&keys).await.unwrap();
        let expected: Vec<_> = records.into_iter().map(|r| Some(r.recorded)).collect();
        assert_eq!(recalled, expected);
        let counts = tx.counts(&counters).await.unwrap();
        assert_eq!(counts, vec![Some(2); counters.len()]);
    }
}

/// What a batch does is a look-up by key for each of its rows, however long the tables are.
#[tokio::test]
async fn no_statement_of_the_hot_path_scans_a_table() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.store.begin().await.unwrap();
    let forgetting = [
        "DELETE FROM requests WHERE (profile, device, request) IN
         (SELECT profile, device, request FROM requests WHERE decided_at < 1
          ORDER BY decided_at LIMIT 2)",
        "DELETE FROM counters WHERE (profile, rule, period, window) IN
         (SELECT profile, rule, period, window FROM counters WHERE window < 1
          ORDER BY window LIMIT 2)",
    ];
    let statements = [0, 6]
        .into_iter()
        .flat_map(|size| {
            [&requests::RECALL, &counters::READ, &counters::CHANGE]
                .map(|rows| rows.text(Kind::Sqlite, size).unwrap().to_string())
        })
        .chain(forgetting.map(str::to_owned));
    for statement in statements {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let Conn::Sqlite(conn) = &mut tx.tx else {
            panic!("it is SQLite");
        };
        let plan = sqlx::query(explain).fetch_all(&mut **conn).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        for table in ["requests", "counters"] {
            let scans = |step: &&String| step.contains(&format!("SCAN {table}"));
            assert_eq!(plan.iter().find(scans), None, "{statement}: {plan:#?}");
        }
        assert!(
            plan.iter().any(|step| step.contains("SEARCH")),
            "{statement}: {plan:#?}"
        );
    }
}

async fn what_is_not_committed_has_not_happened(fixture: Fixture) {
    let later = NOW.plus(24 * 3_600_000);
    let mut tx = fixture.store.begin().await.unwrap();
    tx.record(&[record(1)]).await.unwrap();
    drop(tx);
    let mut tx = fixture.store.begin().await.unwrap();
    assert_eq!(tx.recall(&[request(1)]).await.unwrap(), [None]);
    tx.record(&[record(1), record(2), record(3)]).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = fixture.store.begin().await.unwrap();
    let recalled = tx.recall(&[request(1), request(9)]).await.unwrap();
    assert_eq!(recalled, [Some(record(1).recorded), None]);
    assert_eq!(tx.forget_requests(later, 9).await.unwrap(), 0);
    let later = later.plus(1);
    assert_eq!(
        tx.forget_requests(later, 2).await.unwrap(),
        2,
        "some at once"
    );
    assert_eq!(tx.forget_requests(later, 2).await.unwrap(), 1);
}

#[tokio::test]
async fn a_full_or_read_only_database_is_said_to_be_so() {
    let fixture = Fixture::new().await;
    fixture.tamper("PRAGMA max_page_count = 1").await;
    let mut tx = fixture.store.begin().await.unwrap();
    let mut full = None;
    for _ in 0..200 {
        if let Err(error) = tx
            .insert_policy("UTC", &"x".repeat(100_000), false, NOW)
            .await
        {
            full = Some(error);
            break;
        }
    }
    assert!(matches!(full, Some(StoreError::Full(_))), "{full:?}");
    drop(tx);
    let mut tx = fixture
        .store
        .begin()
        .await
        .expect("the database is usable again");
    tx.insert_policy("UTC", "", false, NOW).await.unwrap();
    tx.commit().await.unwrap();
    fixture.tamper("PRAGMA query_only = 1").await;
    let refused = fixture.store.begin().await.err();
    assert!(
        matches!(refused, Some(StoreError::ReadOnly(_))),
        "{refused:?}"
    );
}

/// Each instance has its own key, and only one that has the root key lets another one in.
async fn keys_are_opened_by_who_was_let_in(fixture: Fixture) {
    let other = ProtectorKey::create(&fixture.folder.path().join("other.key")).unwrap();
    let outside = Store::open(&fixture.place, &other).await.err();
    found(&fixture.store).await;
    let again = Store::create(&fixture.place, &other).await.err();
    assert!(matches!(again, Some(StoreError::Exists)), "{again:?}");
    let Place::Shared(uri) = &fixture.place else {
        assert!(
            matches!(outside, Some(StoreError::WrongRootKey)),
            "{outside:?}"
        );
        return;
    };
    assert!(
        matches!(outside, Some(StoreError::NotJoined)),
        "{outside:?}"
    );
    let wrong = RecordKey::generate().unwrap();
    let wrong = Store::join(uri, &other, &wrong).await.err();
    assert!(matches!(wrong, Some(StoreError::WrongRootKey)), "{wrong:?}");
    let root = fixture.store.root_key(&fixture.protector).await.unwrap();
    for _ in 0..2 {
        let joined = Store::join(uri, &other, &root).await.unwrap();
        joined.close().await;
    }
    let joined = Store::open(&fixture.place, &other).await.unwrap();
    assert!(joined.root_key(&fixture.protector).await.is_ok());
    joined.close().await;
    fixture.reopen().await.unwrap();
}

async fn counters_are_forgotten_and_cleared(fixture: Fixture) {
    let keys = ["a", "b", "c", "d"].map(counter);
    let everybodys = CounterKey {
        profile: ProfileId::from_bytes([0; 16]),
        ..counter("all")
    };
    let mut tx = fixture.store.begin().await.unwrap();
    let changes = keys.iter().chain([&everybodys]).map(|key| CounterChange {
        key: key.clone(),
        read: None,
        count: 3,
    });
    tx.count(&changes.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(tx.forget_counters(NOW, 10).await.unwrap(), 0);
    tx.commit().await.unwrap();
    let profiles = fixture.store.profiles_that_counted(3, None).await.unwrap();
    assert_eq!(profiles, [everybodys.profile, keys[0].profile]);
    let mut tx = fixture.store.begin().await.unwrap();
    assert_eq!(tx.clear_counters(None).await.unwrap(), 4);
    let later = NOW.plus(LONGEST_WINDOW + 1);
    assert_eq!(tx.forget_counters(later, 10).await.unwrap(), 1);
    assert_eq!(tx.clear_counters(Some(&keys[0].profile)).await.unwrap(), 0);
    tx.commit().await.unwrap();
}

async fn ceremonies_are_kept_answered_and_forgotten(fixture: Fixture) {
    let (profile, signed) = founded("alice@example");
    let id = profile.id();
    let [desk, phone] = [[7; 16], [8; 16]].map(DeviceId::from_bytes);
    let ceremony = |number: u8| CeremonyRecord {
        profile: id,
        id: CeremonyId::from_bytes([number; 16]),
        requester: desk,
        expires_at: NOW.plus(1000),
    };
    let keys = DeviceKeys::generate().unwrap();
    let card = keys.card(DeviceKind::Mobile, Name::new("phone").unwrap());
    let sealed = || seal(Suite::XWing, "test", &card.kem, b"", b"notice").unwrap();
    let mut tx = fixture.store.begin().await.unwrap();
    tx.insert_profile(&profile, &signed, NOW).await.unwrap();
    for (number, kept) in [(1, true), (1, true), (2, true), (3, false)] {
        let notices = [(phone, sealed())];
        let opened = tx
            .open_ceremony(&ceremony(number), None, &notices, NOW, 2)
            .await;
        assert_eq!(opened.unwrap(), kept, "{number}");
    }
    tx.commit().await.unwrap();
    let store = &fixture.store;
    let waiting = |at| store.notices(&id, &phone, at, 9);
    assert_eq!(waiting(NOW).await.unwrap().len(), 2);
    assert_eq!(waiting(NOW.plus(1000)).await.unwrap().len(), 0);
    let first = ceremony(1).id;
    let mut tx = store.begin().await.unwrap();
    for _ in 0..2 {
        let answered = tx
            .answer_ceremony(&id, &first, &phone, &sealed(), NOW)
            .await;
        assert!(answered.unwrap());
    }
    assert!(
        !tx.answer_ceremony(&id, &first, &desk, &sealed(), NOW)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(waiting(NOW).await.unwrap().len(), 1);
    let answers = |at| store.ceremony_answers(&id, &first, &desk, at);
    assert_eq!(answers(NOW).await.unwrap().unwrap().len(), 1);
    assert!(answers(NOW.plus(1000)).await.unwrap().is_none());
    let mut tx = store.begin().await.unwrap();
    assert!(!tx.close_ceremony(&id, &first, &phone).await.unwrap());
    assert!(tx.close_ceremony(&id, &first, &desk).await.unwrap());
    let expired = tx.expire_ceremonies(NOW.plus(1000)).await.unwrap();
    assert_eq!(expired, [ceremony(2)]);
    assert_eq!(tx.expire_ceremonies(NOW.plus(1000)).await.unwrap(), []);
    tx.commit().await.unwrap();
}

async fn chains_checkpoints_and_archives_are_kept(fixture: Fixture) {
    let [one, other] = [[1; 16], [2; 16]].map(InstanceId::from_bytes);
    let row = |sequence: u64| AuditRow {
        sequence,
        sealed: vec![9; 2000],
        mac: vec![u8::try_from(sequence).unwrap(); 32],
    };
    let store = &fixture.store;
    assert_eq!(store.audit_head(one).await.unwrap(), AuditHead::EMPTY);
    let mut tx = store.begin().await.unwrap();
    tx.append_audit(one, (1..=200).map(row).collect())
        .await
        .unwrap();
    tx.append_audit(other, vec![row(1)]).await.unwrap();
    for number in 1..=3 {
        let row = CheckpointRow {
            number,
            at: NOW.plus(i64::try_from(number).unwrap()),
            signed: vec![1; 500],
        };
        tx.insert_checkpoint(&row).await.unwrap();
    }
    let archive = ArchiveRow {
        number: 1,
        signed: vec![2; 500],
    };
    tx.insert_archive(&archive).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert!(
        tx.append_audit(one, vec![row(200)]).await.is_err(),
        "a number that is taken"
    );
    drop(tx);

    let heads = store.audit_heads().await.unwrap();
    let numbers: Vec<_> = heads
        .iter()
        .map(|(of, head)| (*of, head.sequence))
        .collect();
    assert_eq!(numbers, [(one, 200), (other, 1)]);
    assert_eq!(
        store.audit_page(one, 150, 9).await.unwrap()[0].sequence,
        150
    );
    let back = store.audit_page_back(one, 150, 9).await.unwrap();
    assert_eq!((back.len(), back[0].sequence), (9, 149));
    assert_eq!(store.newest_checkpoint().await.unwrap().unwrap().number, 3);
    let until = store.checkpoint_until(NOW.plus(2)).await.unwrap();
    assert_eq!(until.unwrap().number, 2);
    assert_eq!(store.archives().await.unwrap(), [archive]);

    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.prune_audit(one, 100, 60).await.unwrap(), 60);
    assert_eq!(tx.prune_audit(one, 100, 60).await.unwrap(), 40);
    assert_eq!(
        tx.prune_audit(one, 900, 900).await.unwrap(),
        99,
        "the newest stays"
    );
    assert_eq!(tx.prune_checkpoints(3, 1).await.unwrap(), 1);
    assert_eq!(tx.prune_checkpoints(3, 9).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert_eq!(store.audit_page(one, 0, 9).await.unwrap().len(), 1);
    assert_eq!(store.checkpoint_page(0, 9).await.unwrap().len(), 1);
}

async fn settings_policies_and_backups_are_kept(fixture: Fixture) {
    let store = &fixture.store;
    let record = ServerRecord {
        kss_id: KssId::from_digest(Digest::from_bytes([7; 32])),
        public_card: b"card".to_vec(),
        enabled: true,
        created_at: NOW,
    };
    let mut tx = store.begin().await.unwrap();
    tx.insert_server(&record, b"secret").await.unwrap();
    let twice = tx.insert_server(&record, b"secret").await;
    assert!(matches!(twice, Err(StoreError::Exists)), "{twice:?}");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    tx.insert_server(&record, b"secret").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.server().await.unwrap().unwrap(), record);
    assert_eq!(store.identity().await.unwrap().as_slice(), b"secret");
    let before = store.change_number().await.unwrap();

    let source = "# \u{00fc}ber \u{1f5dd}\n".repeat(9000);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.change_number().await.unwrap(), before);
    tx.probe().await.unwrap();
    tx.probe().await.unwrap();
    assert_eq!(
        tx.insert_policy("Europe/Berlin", "", false, NOW)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        tx.insert_policy("UTC", &source, false, NOW).await.unwrap(),
        2
    );
    tx.stage().await.unwrap();
    let generation = |counter| Generation { epoch: 1, counter };
    tx.insert_backup(generation(9), "old", NOW).await.unwrap();
    tx.insert_backup(generation(10), "new", NOW).await.unwrap();
    tx.commit().await.unwrap();
    let policy = store.policy().await.unwrap().unwrap();
    assert_eq!((policy.version, policy.source), (2, source));
    assert!(store.is_staged().await.unwrap());
    assert!(!store.server().await.unwrap().unwrap().enabled);
    assert_eq!(store.newest_backup().await.unwrap().as_deref(), Some("new"));
    let changed = store.change_number().await.unwrap();
    assert_eq!(changed > before, store.is_shared());

    let doubt = StateDoubt {
        unproven_since: Some(NOW),
        superseded_by: None,
    };
    let mut tx = store.begin().await.unwrap();
    tx.set_state_doubt(&doubt).await.unwrap();
    tx.set_enabled(true).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.state_doubt().await.unwrap(), doubt);
    assert!(!store.is_staged().await.unwrap());
}

async fn an_authority_and_its_certificates_are_kept(fixture: Fixture) {
    let store = &fixture.store;
    assert!(store.authority().await.unwrap().is_none());
    let mut tx = store.begin().await.unwrap();
    tx.insert_authority(b"first").await.unwrap();
    tx.insert_authority(b"second").await.unwrap();
    let row = |byte, record: &[u8]| CertificateRow {
        id: CertificateId::from_bytes([byte; 16]),
        fingerprint: Digest::from_bytes([byte; 32]),
        record: record.to_vec(),
    };
    tx.put_certificate(&row(1, b"a")).await.unwrap();
    tx.put_certificate(&row(2, b"b")).await.unwrap();
    tx.put_certificate(&row(1, b"revoked")).await.unwrap();
    assert_eq!(tx.policy_version().await.unwrap(), 0);
    tx.insert_policy("UTC", "file", false, NOW).await.unwrap();
    tx.insert_policy("UTC", "approved", true, NOW)
        .await
        .unwrap();
    assert_eq!(tx.policy_version().await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert_eq!(
        store.authority().await.unwrap().unwrap().as_slice(),
        b"first"
    );
    let found = async |byte| {
        let fingerprint = Digest::from_bytes([byte; 32]);
        store.certificate(&fingerprint).await.unwrap()
    };
    assert_eq!(found(1).await, Some(row(1, b"revoked")));
    assert_eq!(found(3).await, None);
    let mut all = store.certificates().await.unwrap();
    all.sort_by_key(|row| row.id);
    assert_eq!(all, [row(1, b"revoked"), row(2, b"b")]);
    assert!(store.policy().await.unwrap().unwrap().approved);
    assert!(store.had_policy("file").await.unwrap());
    assert!(!store.had_policy("other").await.unwrap());
}

async fn a_snapshot_is_of_one_moment(fixture: Fixture) {
    let key = counter("a");
    let change = |read, count| CounterChange {
        key: key.clone(),
        read,
        count,
    };
    let mut tx = fixture.store.begin().await.unwrap();
    tx.count(&[change(None, 1)]).await.unwrap();
    tx.commit().await.unwrap();
    let mut snapshot = fixture.store.snapshot().await.unwrap();
    let mut tx = fixture.store.begin().await.unwrap();
    tx.count(&[change(Some(1), 2)]).await.unwrap();
    tx.commit().await.unwrap();
    let seen = snapshot.counters(&key.profile).await.unwrap();
    assert_eq!(seen[0].count, 1);
    assert_eq!(
        snapshot.counting_profiles(None).await.unwrap(),
        [key.profile]
    );
}

async fn instances_and_leases_go_by_the_clock_of_the_database(fixture: Fixture) {
    let store = &fixture.store;
    let [one, other] = [[1; 16], [2; 16]].map(InstanceId::from_bytes);
    if !store.is_shared() {
        assert_eq!(store.instances().await.unwrap(), []);
        assert!(store.lease("work", one, 60_000).await.unwrap());
        assert!(
            store.lease("work", other, 60_000).await.unwrap(),
            "there is one process"
        );
        return;
    }
    let presence = |instance| Presence {
        instance,
        name: format!("host-{instance}"),
        version: "1.2.3".to_owned(),
        policy_version: 7,
    };
    for instance in [other, one, one] {
        store.enter(&presence(instance)).await.unwrap();
    }
    store.touch(&presence(other), true).await.unwrap();
    let listed = store.instances().await.unwrap();
    let shown: Vec<_> = listed.iter().map(|of| (of.instance, of.stopped)).collect();
    assert_eq!(shown, [(one, false), (other, true)]);
    assert!((0..SILENCE).contains(&listed[0].silent), "{listed:?}");
    assert_eq!(
        (listed[0].policy_version, &*listed[0].version),
        (7, "1.2.3")
    );
    let time = store.database_time().await.unwrap().unwrap();
    assert!(time >= listed[0].last_seen, "{time:?}");

    assert!(store.lease("work", one, 60_000).await.unwrap());
    assert!(
        store.lease("work", one, 60_000).await.unwrap(),
        "it is kept"
    );
    assert!(!store.lease("work", other, 60_000).await.unwrap());
    assert!(store.lease("more", other, -1).await.unwrap());
    assert!(
        store.lease("more", one, 60_000).await.unwrap(),
        "it had ended"
    );
}
