//! Seen to fail: with the key of `requests` in the order of shared databases, SQLite sorts the whole table for
//! each page; with the chains not ended, what another process writes during the move is lost; with what has changed
//! since not looked at, so is what was written during the copy; with the copy's mark taken away before the move, or
//! the move not said, two databases are the server's.

use ostrakon_shards::record::RecordKey;
use ostrakon_types::{Digest, KssId};

use super::{
    rows::{Value, insert, made, page_text},
    tables::Holds,
    *,
};
use crate::{
    AuditRow, CheckpointRow, ServerRecord, TakeOverError,
    store::tests::{Fixture, NOW, found, founded, record, request},
};

pub(in crate::store) const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::MySql, Kind::Postgres];

/// Enough for several pages of each table.
pub(in crate::store) const ROWS: usize = 530;

/// Tables of the schema that do not go along: what is of the moment, and what migrations note.
const STAY: [&str; 5] = [
    "instances",
    "leases",
    "schema_versions",
    "_sqlx_migrations",
    "sqlite_sequence",
];

/// A new, empty place.
pub(in crate::store) async fn place(kind: Kind, folder: &tempfile::TempDir) -> Place {
    let shared = |uri: String| Place::from(&uri.parse::<crate::DatabaseUri>().unwrap());
    match kind {
        Kind::Sqlite => Place::File(folder.path().join("copy.db")),
        Kind::MySql => shared(ostrakon_testdb::mariadb().database()),
        Kind::Postgres => shared(ostrakon_testdb::postgres().database()),
    }
}

fn nobody(_: Progress) {}

/// Some value for a column of row `number`: rows that name each other have the same.
fn value(table: &Table, column: usize, number: usize) -> Value {
    let (name, holds) = table.columns[column];
    let number = match (column, table.key) {
        (0, 2..) => number / 3 + 1,
        _ => number,
    };
    let length = if name == "mac" { 32 } else { 16 };
    let bytes = || {
        let mut bytes = vec![0; length];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        bytes
    };
    match holds {
        Holds::Int => Value::Int(number.try_into().unwrap()),
        Holds::Bytes => Value::Bytes(Some(bytes())),
        Holds::BytesOrNull if number.is_multiple_of(2) => Value::Bytes(None),
        Holds::BytesOrNull => Value::Bytes(Some(bytes())),
        Holds::Text => Value::Text(format!("é {number} 'quoted' \\")),
    }
}

/// A server with many rows in each table.
pub(in crate::store) async fn filled(fixture: &Fixture) {
    let store = &fixture.store;
    found(store).await;
    let (profile, signed) = founded("alice@example");
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_profile(&profile, &signed, NOW).await.unwrap());
    tx.record(&[record(1)]).await.unwrap();
    tx.commit().await.unwrap();
    let mut writer = store.db.writer().await.unwrap();
    let one_row = ["server", "changes", "authority"];
    for table in TABLES.iter().filter(|table| !one_row.contains(&table.name)) {
        let records: Vec<_> = (1..=ROWS)
            .map(|number| {
                let columns = 0..table.columns.len();
                Record(columns.map(|column| value(table, column, number)).collect())
            })
            .collect();
        insert(&mut writer, table, &records).await.unwrap();
    }
}

async fn moved(fixture: &Fixture, to: &Place) -> Moved {
    let store = &fixture.store;
    let copied = store.copy_to(to, &fixture.protector, &mut nobody).await;
    let moved = store.move_to(&copied.unwrap(), "there").await.unwrap();
    Store::take_over(to, &fixture.protector, &moved)
        .await
        .unwrap();
    moved
}

async fn goes_along_between(from: Kind, to: Kind) {
    let fixture = Fixture::of(from).await;
    filled(&fixture).await;
    let to = place(to, &fixture.folder).await;
    let mut told = Vec::new();
    let copied = fixture
        .store
        .copy_to(&to, &fixture.protector, &mut |progress| told.push(progress))
        .await
        .unwrap();
    let copy_of = |step| told.iter().rfind(|progress| progress.step == step).unwrap();
    assert!(copy_of(Step::Copy).rows >= 15 * ROWS as u64);
    assert_eq!(copy_of(Step::Compare).rows, copied.rows);

    // Until the old database says so, the new one is nobody's.
    let open = |place: &Place| Store::open(place.clone(), &fixture.protector);
    let early = open(&to).await.err();
    assert!(matches!(early, Some(StoreError::Unfinished)), "{early:?}");
    let early = Store::create(to.clone(), &fixture.protector).await.err();
    assert!(early.is_some(), "made over a copy");
    open(&fixture.place).await.unwrap().close().await;

    let moved = fixture.store.move_to(&copied, "there").await.unwrap();
    let old = open(&fixture.place).await.err();
    assert!(
        matches!(&old, Some(StoreError::Moved { to }) if to == "there"),
        "{old:?}"
    );
    let early = open(&to).await.err();
    assert!(matches!(early, Some(StoreError::Unfinished)), "{early:?}");
    for _ in 0..2 {
        let taken = Store::take_over(&to, &fixture.protector, &moved).await;
        taken.unwrap();
    }
    let new = open(&to).await.unwrap();
    assert_eq!(new.copy_id().await.unwrap(), Some(moved.copy));
    assert_eq!(*new.identity().await.unwrap(), b"identity");
    assert!(new.count_profiles().await.unwrap() > ROWS as u64);
    for table in TABLES.iter().filter(|table| table.name != SETTINGS) {
        if table.only_shared && !(fixture.store.is_shared() && new.is_shared()) {
            continue;
        }
        let before = summed(&fixture.store.db, table).await;
        let after = summed(&new.db, table).await;
        match table.name {
            // The old one has ends of chains, and a change more.
            "audit" => assert_eq!(after.rows, ROWS as u64),
            "changes" => assert_eq!(after.rows, 1),
            name => assert_eq!(before, after, "{name}"),
        }
    }
    let mut tx = new.begin().await.unwrap();
    let recalled = tx.recall(&[request(1)]).await.unwrap();
    assert_eq!(recalled, [Some(record(1).recorded)]);
    drop(tx);
    if new.is_shared() {
        let mut tx = new.begin().await.unwrap();
        let before = tx.change_number().await.unwrap();
        tx.set_enabled(false).await.unwrap();
        assert!(tx.change_number().await.unwrap() > before);
    }
    new.close().await;
}

pub(in crate::store) async fn summed(db: &Db, table: &Table) -> Summary {
    let mut summary = Summary::default();
    let mut pages = Pages::of(table);
    loop {
        let page = pages.next(&mut db.reader().await.unwrap()).await.unwrap();
        if page.is_empty() {
            return summary;
        }
        page.iter().for_each(|record| summary.add(record));
    }
}

#[tokio::test]
async fn a_state_goes_from_every_kind_of_database_to_every_kind() {
    for from in KINDS {
        for to in KINDS {
            goes_along_between(from, to).await;
        }
    }
}

#[tokio::test]
async fn no_table_and_no_column_of_the_schema_is_forgotten() {
    for kind in KINDS {
        let fixture = Fixture::of(kind).await;
        let mut reader = fixture.store.db.reader().await.unwrap();
        let columns = match kind {
            Kind::Sqlite => {
                "SELECT m.name AS of_table, i.name AS of_column FROM sqlite_master m
                 JOIN pragma_table_info(m.name) i WHERE m.type = 'table'"
            }
            Kind::MySql => {
                "SELECT CAST(table_name AS CHAR) AS of_table, CAST(column_name AS CHAR) AS of_column
                 FROM information_schema.columns WHERE table_schema = database()"
            }
            Kind::Postgres => {
                "SELECT table_name::text AS of_table, column_name::text AS of_column
                 FROM information_schema.columns WHERE table_schema = 'public'"
            }
        };
        let rows = reader.query(columns).fetch_all(&mut reader).await.unwrap();
        let found = rows.iter().map(|row| {
            let text = |column| row.try_get::<String>(column).unwrap();
            (text("of_table"), text("of_column"))
        });
        let mut found: Vec<_> = found
            .filter(|(table, _)| !STAY.contains(&table.as_str()))
            .collect();
        let shared = fixture.store.is_shared();
        let known = TABLES.iter().filter(|table| shared || !table.only_shared);
        let mut known: Vec<_> = known
            .flat_map(|table| table.columns.iter().map(|column| (table.name, column.0)))
            .map(|(table, column)| (table.to_owned(), column.to_owned()))
            .collect();
        found.sort();
        known.sort();
        assert_eq!(found, known, "{kind:?}");
    }
}

#[tokio::test]
async fn pages_are_found_in_the_index_of_the_key() {
    let fixture = Fixture::of(Kind::Sqlite).await;
    let mut reader = fixture.store.db.reader().await.unwrap();
    for table in TABLES.iter().filter(|table| !table.only_shared) {
        let text = page_text(table, Kind::Sqlite, true).replace('?', "''");
        let query = made(Kind::Sqlite, format!("EXPLAIN QUERY PLAN {text}"));
        let plan = query.fetch_all(&mut reader).await.unwrap();
        let plan: Vec<String> = plan
            .iter()
            .map(|row| row.try_get("detail").unwrap())
            .collect();
        let found = plan.len() == 1 && plan[0].starts_with("SEARCH");
        assert!(found, "{}: {plan:?}", table.name);
    }
}

#[tokio::test]
async fn nothing_is_overwritten_but_an_unfinished_copy_of_the_same_server() {
    for kind in KINDS {
        let fixture = Fixture::of(Kind::Sqlite).await;
        found(&fixture.store).await;
        let other = Fixture::of(kind).await;
        let refused = |error: Option<CopyError>| {
            assert!(matches!(error, Some(CopyError::NotEmpty)), "{error:?}");
        };
        // Of a server that is there, or is being made.
        let copy = async |store: &Store, to: &Place| {
            store.copy_to(to, &fixture.protector, &mut nobody).await
        };
        refused(copy(&fixture.store, &other.place).await.err());
        found(&other.store).await;
        refused(copy(&fixture.store, &other.place).await.err());
        // An unfinished copy.
        let to = place(kind, &fixture.folder).await;
        let first = copy(&fixture.store, &to).await.unwrap();
        let second = copy(&fixture.store, &to).await.unwrap();
        let old = fixture.store.move_to(&first, "there").await;
        assert!(matches!(old, Err(CopyError::Changed)), "{old:?}");
        // Another server's.
        let third = Fixture::of(Kind::Sqlite).await;
        found(&third.store).await;
        third
            .tamper("UPDATE server SET kss_id = zeroblob(32)")
            .await;
        refused(copy(&third.store, &to).await.err());
        fixture.store.move_to(&second, "there").await.unwrap();
    }
}

fn link(sequence: u64) -> AuditRow {
    AuditRow {
        sequence,
        sealed: vec![1],
        mac: vec![2; 32],
    }
}

#[tokio::test]
async fn what_is_written_after_the_copy_was_begun_keeps_the_server_where_it_is() {
    for kind in KINDS {
        let fixture = Fixture::of(kind).await;
        found(&fixture.store).await;
        let instance = fixture.protector.instance();
        for change in 0..3_u64 {
            let to = place(kind, &tempfile::tempdir().unwrap()).await;
            let to = match &to {
                Place::File(_) => Place::File(fixture.folder.path().join(format!("{change}.db"))),
                shared => shared.clone(),
            };
            let copied = fixture
                .store
                .copy_to(&to, &fixture.protector, &mut nobody)
                .await
                .unwrap();
            let mut tx = fixture.store.begin().await.unwrap();
            match change {
                0 => tx.append_audit(instance, vec![link(1)]).await.unwrap(),
                1 => {
                    let row = CheckpointRow {
                        number: 1,
                        at: NOW,
                        signed: vec![1],
                    };
                    tx.insert_checkpoint(&row).await.unwrap();
                }
                _ if fixture.store.is_shared() => tx.set_enabled(false).await.unwrap(),
                // Whoever administers puts it on record.
                _ => tx.append_audit(instance, vec![link(2)]).await.unwrap(),
            }
            tx.commit().await.unwrap();
            let moved = fixture.store.move_to(&copied, "there").await;
            assert!(matches!(moved, Err(CopyError::Changed)), "{moved:?}");
            fixture.store.check_here().await.unwrap();
        }
    }
}

/// What another process is writing when the state is moved goes along, or is not written.
#[tokio::test]
async fn what_is_being_written_during_the_move_is_not_lost() {
    for kind in [Kind::MySql, Kind::Postgres] {
        let fixture = Fixture::of(kind).await;
        found(&fixture.store).await;
        let (store, instance) = (&fixture.store, fixture.protector.instance());
        let copied = async || {
            let to = place(kind, &fixture.folder).await;
            store.copy_to(&to, &fixture.protector, &mut nobody).await
        };
        // It has written before the move, and commits: the move waits, and is given up.
        let first = copied().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.change_number().await.unwrap();
        tx.append_audit(instance, vec![link(1)]).await.unwrap();
        let (moved, ()) = tokio::join!(store.move_to(&first, "there"), async {
            eventually_waits(&fixture).await;
            tx.commit().await.unwrap();
        });
        assert!(matches!(moved, Err(CopyError::Changed)), "{moved:?}");

        // It has read what it decides by, and writes after the move: it fails.
        let second = copied().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.change_number().await.unwrap();
        store.move_to(&second, "there").await.unwrap();
        let late = tx.append_audit(instance, vec![link(2)]).await;
        assert!(matches!(late, Err(StoreError::Taken(_))), "{late:?}");
        drop(tx);

        // Who comes later finds nothing to go on from, and is told.
        let head = store.audit_head(instance).await;
        assert!(matches!(head, Err(StoreError::Corrupt { .. })), "{head:?}");
        let row = CheckpointRow {
            number: 1,
            at: NOW,
            signed: vec![1],
        };
        let mut tx = store.begin().await.unwrap();
        let late = tx.insert_checkpoint(&row).await;
        assert!(matches!(late, Err(StoreError::Moved { .. })), "{late:?}");
        drop(tx);
        let late = store.begin().await.unwrap().set_enabled(false).await;
        assert!(matches!(late, Err(StoreError::Moved { .. })), "{late:?}");
        let Place::Shared(uri) = &fixture.place else {
            panic!("it is shared");
        };
        let root: RecordKey = store.root_key(&fixture.protector).await.unwrap();
        let new = ProtectorKey::create(&fixture.folder.path().join("new.key")).unwrap();
        let late = Store::join(uri, &new, &root).await.err();
        assert!(matches!(late, Some(StoreError::Moved { .. })), "{late:?}");
    }
}

/// Waits until the database says that somebody waits for a lock.
async fn eventually_waits(fixture: &Fixture) {
    let mut reader = fixture.store.db.reader().await.unwrap();
    let waits = crate::engine::Text {
        sqlite: "",
        mysql: "SELECT count(*) AS waits FROM information_schema.innodb_trx
                WHERE trx_state = 'LOCK WAIT'",
        postgres: "SELECT count(*) AS waits FROM pg_locks WHERE NOT granted",
    };
    // MariaDB looks again only when it was not asked for a tenth of a second.
    let between = std::time::Duration::from_millis(150);
    for _ in 0..100 {
        let row = reader.query(waits).fetch_one(&mut reader).await.unwrap();
        if row.try_get::<i64>("waits").unwrap() > 0 {
            return;
        }
        tokio::time::sleep(between).await;
    }
    panic!("nobody waits");
}

#[tokio::test]
async fn nobody_is_sent_to_a_database_by_who_has_no_key() {
    let fixture = Fixture::of(Kind::Sqlite).await;
    found(&fixture.store).await;
    fixture
        .tamper("INSERT INTO settings (name, value) VALUES ('moved', zeroblob(90))")
        .await;
    let forged = fixture.store.check_here().await;
    let corrupt = StoreError::Corrupt {
        table: "settings",
        column: "value",
    };
    let said = forged.unwrap_err().to_string();
    assert_eq!(said, corrupt.to_string());
}

#[tokio::test]
async fn the_other_instances_of_a_cluster_find_their_way() {
    let fixture = Fixture::of(Kind::MySql).await;
    found(&fixture.store).await;
    let other = ProtectorKey::create(&fixture.folder.path().join("other.key")).unwrap();
    let stranger = ProtectorKey::create(&fixture.folder.path().join("stranger.key")).unwrap();
    let root = fixture.store.root_key(&fixture.protector).await.unwrap();
    let Place::Shared(uri) = &fixture.place else {
        panic!("it is shared");
    };
    let joined = Store::join(uri, &other, &root).await.unwrap();
    joined.close().await;
    let to = place(Kind::Postgres, &fixture.folder).await;
    let wrong = place(Kind::Postgres, &fixture.folder).await;
    moved(&fixture, &to).await;

    let old = Store::open_moved(&fixture.place, &other).await.unwrap();
    let moved = old.moved().await.unwrap().unwrap();
    old.close().await;
    let lost = Store::take_over(&wrong, &other, &moved).await;
    assert!(matches!(lost, Err(TakeOverError::Other)), "{lost:?}");
    Store::take_over(&to, &other, &moved).await.unwrap();
    Store::open(&to, &other).await.unwrap().close().await;
    let stranger = Store::take_over(&to, &stranger, &moved).await;
    let not_joined = matches!(stranger, Err(TakeOverError::Store(StoreError::NotJoined)));
    assert!(not_joined, "{stranger:?}");
}

#[tokio::test]
async fn an_interrupted_making_gives_way_and_a_finished_one_does_not() {
    for kind in [Kind::MySql, Kind::Postgres] {
        let fixture = Fixture::of(kind).await;
        // The first one has drawn keys and waits; a second one begins.
        let second = ProtectorKey::create(&fixture.folder.path().join("second.key")).unwrap();
        let store = Store::create(&fixture.place, &second).await.unwrap();
        let record = ServerRecord {
            kss_id: KssId::from_digest(Digest::from_bytes([7; 32])),
            public_card: vec![],
            enabled: true,
            created_at: NOW,
        };
        let mut tx = fixture.store.begin().await.unwrap();
        let late = tx.insert_server(&record, b"first").await;
        assert!(matches!(late, Err(StoreError::Exists)), "{late:?}");
        drop(tx);
        found(&store).await;
        let third = ProtectorKey::create(&fixture.folder.path().join("third.key")).unwrap();
        let late = Store::create(&fixture.place, &third).await.err();
        assert!(matches!(late, Some(StoreError::Exists)), "{late:?}");
        assert_eq!(*store.identity().await.unwrap(), b"identity");
        store.close().await;
    }
}
