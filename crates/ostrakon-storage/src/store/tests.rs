use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    name::Name,
    profile::{Profile, ProfileVersion, SignedVersion},
    random,
};
use ostrakon_types::{
    Charge, CounterKey, Decision, DeviceId, Digest, KssId, LocationId, Period, ProfileId, Recorded,
    RequestId, UnixMillis,
};
use tempfile::TempDir;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

struct Fixture {
    folder: TempDir,
    protector: ProtectorKey,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let protector = ProtectorKey::create(&folder.path().join("instance.key")).unwrap();
        let store = Store::create(&folder.path().join("keyserver.db"), &protector)
            .await
            .unwrap();
        Self {
            folder,
            protector,
            store,
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("keyserver.db")
    }

    async fn reopen(&self) -> Result<Store, StoreError> {
        self.store.close().await;
        Store::open(&self.database(), &self.protector).await
    }

    /// Runs a statement that no user of the store could run.
    async fn tamper(&self, sql: &'static str) {
        sqlx::raw_sql(sql)
            .execute(&self.store.db.writer)
            .await
            .unwrap();
    }
}

fn founded(name: &str) -> (Profile, SignedVersion) {
    let keys = DeviceKeys::generate().unwrap();
    let card: Card = keys.card(DeviceKind::Workstation, Name::new(name).unwrap());
    let id = card.id();
    let version = ProfileVersion::first(Name::new(name).unwrap(), 1, vec![card]).unwrap();
    let signature = version.sign(&keys.signing);
    let signed = SignedVersion::new(version, vec![(id, signature)]);
    (Profile::found(signed.clone()).unwrap(), signed)
}

fn charge(limit: u64) -> Charge {
    Charge {
        key: CounterKey {
            profile: ProfileId::from_bytes([1; 16]),
            rule_id: "rule".into(),
            period: Period::Hour,
            window: NOW,
        },
        limit,
        resets_at: NOW.plus(3_600_000),
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
                known: 2
            })
        ),
        "{:?}",
        newer.err()
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

#[tokio::test]
async fn profiles_are_found_again_and_their_first_words_are_unique() {
    let fixture = Fixture::new().await;
    let (profile, signed) = founded("alice@example");
    let mut tx = fixture.store.begin().await.unwrap();
    assert!(tx.insert_profile(&profile, &signed, NOW).await.unwrap());
    assert!(
        !tx.insert_profile(&profile, &signed, NOW).await.unwrap(),
        "twice"
    );
    let (other, other_signed) = founded("bob@example");
    sqlx::query("UPDATE profiles SET first_words = ?")
        .bind(other.words().first(4).to_owned())
        .execute(&mut *tx.tx)
        .await
        .unwrap();
    assert!(
        !tx.insert_profile(&other, &other_signed, NOW).await.unwrap(),
        "clash"
    );
    tx.commit().await.unwrap();

    let device = profile.version().devices[0].id();
    let store = fixture.reopen().await.unwrap();
    assert_eq!(store.profiles_of(&device).await.unwrap(), [profile.id()]);
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

#[tokio::test]
async fn a_profile_has_as_many_folders_as_one_answer_can_list() {
    let fixture = Fixture::new().await;
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

#[tokio::test]
async fn a_counter_counts_up_to_its_limit_as_it_stands() {
    let fixture = Fixture::new().await;
    let mut tx = fixture.store.begin().await.unwrap();
    assert!(!tx.charge(&charge(0)).await.unwrap());
    assert!(tx.charge(&charge(2)).await.unwrap());
    assert!(tx.charge(&charge(2)).await.unwrap());
    assert!(!tx.charge(&charge(2)).await.unwrap());
    assert!(tx.charge(&charge(3)).await.unwrap(), "the limit was raised");
    assert!(
        !tx.charge(&charge(1)).await.unwrap(),
        "the limit was lowered"
    );
    tx.refund(&charge(3)).await.unwrap();
    tx.commit().await.unwrap();
    let counters = fixture
        .store
        .counters(&charge(0).key.profile)
        .await
        .unwrap();
    assert_eq!(
        counters,
        [Counter {
            key: charge(0).key,
            count: 2
        }]
    );
}

#[tokio::test]
async fn what_is_not_committed_has_not_happened() {
    let fixture = Fixture::new().await;
    let key = RequestKey {
        profile: ProfileId::from_bytes([1; 16]),
        device: DeviceId::from_bytes([2; 16]),
        request: RequestId::from_bytes([3; 16]),
    };
    let recorded = Recorded {
        body: Digest::from_bytes([4; 32]),
        decisions: vec![Decision::Approve { rule_set: Some(1) }],
    };
    let mut tx = fixture.store.begin().await.unwrap();
    tx.record(&key, &recorded, NOW).await.unwrap();
    drop(tx);
    let mut tx = fixture.store.begin().await.unwrap();
    assert_eq!(tx.recall(&key).await.unwrap(), None);
    tx.record(&key, &recorded, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = fixture.store.begin().await.unwrap();
    assert_eq!(tx.recall(&key).await.unwrap(), Some(recorded));
    assert_eq!(
        tx.forget_requests(NOW.plus(24 * 3_600_000)).await.unwrap(),
        0
    );
    assert_eq!(
        tx.forget_requests(NOW.plus(24 * 3_600_000 + 1))
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_full_or_read_only_database_is_said_to_be_so() {
    let fixture = Fixture::new().await;
    fixture.tamper("PRAGMA max_page_count = 1").await;
    let mut tx = fixture.store.begin().await.unwrap();
    let mut full = None;
    for _ in 0..200 {
        if let Err(error) = tx.insert_policy("UTC", &"x".repeat(100_000), NOW).await {
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
    tx.insert_policy("UTC", "", NOW).await.unwrap();
    tx.commit().await.unwrap();
    fixture.tamper("PRAGMA query_only = 1").await;
    let refused = fixture.store.begin().await.err();
    assert!(
        matches!(refused, Some(StoreError::ReadOnly(_))),
        "{refused:?}"
    );
}

/// How a charge is made: as the store does it, or as it must not.
#[derive(Clone, Copy)]
enum Charging {
    Conditional,
    /// The planted fault: looks first, counts later.
    ReadThenWrite,
}

/// Two stores on one database, as two processes have, try to charge one counter `tries` times each.
async fn race(charging: Charging, limit: u64, tries: u64) -> u64 {
    let fixture = Fixture::new().await;
    let second = Store::open(&fixture.database(), &fixture.protector)
        .await
        .unwrap();
    let protector = fixture.protector.instance();
    assert_eq!(protector, fixture.protector.instance());
    let stores = [Arc::new(fixture.store), Arc::new(second)];
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8_usize {
        let store = Arc::clone(&stores[worker % 2]);
        tasks.spawn(async move {
            let mut charged = 0;
            for _ in 0..tries {
                charged += u64::from(match charging {
                    Charging::Conditional => {
                        let mut tx = store.begin().await.unwrap();
                        let fits = tx.charge(&charge(limit)).await.unwrap();
                        tx.commit().await.unwrap();
                        fits
                    }
                    Charging::ReadThenWrite => {
                        let counters = store.counters(&charge(limit).key.profile).await.unwrap();
                        let fits = counters.iter().all(|counter| counter.count < limit);
                        tokio::task::yield_now().await;
                        if fits {
                            let mut tx = store.begin().await.unwrap();
                            tx.charge(&charge(u64::MAX)).await.unwrap();
                            tx.commit().await.unwrap();
                        }
                        fits
                    }
                });
            }
            charged
        });
    }
    tasks.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_holds_between_processes_and_a_read_then_write_is_found_out() {
    assert_eq!(race(Charging::Conditional, 20, 10).await, 20);
    let mut overrun = false;
    for _ in 0..10 {
        overrun = overrun || race(Charging::ReadThenWrite, 20, 10).await > 20;
    }
    assert!(overrun, "the race does not find the planted fault");
}
