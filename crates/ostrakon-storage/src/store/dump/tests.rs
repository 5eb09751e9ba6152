//! Seen to fail: with a dump whose pages are each of their own moment, what is written meanwhile is in it; with
//! a load that commits each part also in a shared database, what was there before is lost.

use super::*;
use crate::{
    Place, Presence, ProtectorKey,
    store::{
        copy::tests::{KINDS, ROWS, filled, place, summed},
        tests::{Fixture, NOW, found, founded},
    },
};

async fn parts(store: &Store) -> Vec<DumpPart> {
    let mut dump = store.dump().await.unwrap();
    let mut parts = Vec::new();
    while let Some(part) = dump.next().await.unwrap() {
        parts.push(part);
    }
    parts
}

async fn load(parts: &[DumpPart], into: &Place, key: &ProtectorKey) -> Result<(), LoadError> {
    let mut load = Load::into(into, false).await?;
    for part in parts {
        let rows = Rows::decode(&part.bytes).unwrap();
        assert_eq!((rows.table(), rows.count()), (part.table, part.rows));
        load.add(rows).await?;
    }
    load.finish(key).await
}

#[tokio::test]
async fn a_dump_becomes_a_database_of_every_kind() {
    for from in KINDS {
        let fixture = Fixture::of(from).await;
        filled(&fixture).await;
        let dumped = parts(&fixture.store).await;
        let rows: u64 = dumped.iter().map(|part| part.rows).sum();
        assert!(rows >= 15 * ROWS as u64, "{rows}");
        for to in KINDS {
            let folder = tempfile::tempdir().unwrap();
            let to = place(to, &folder).await;
            load(&dumped, &to, &fixture.protector).await.unwrap();
            let new = Store::open(&to, &fixture.protector).await.unwrap();
            assert_eq!(*new.identity().await.unwrap(), b"identity");
            for table in TABLES.iter().filter(|table| table.name != SETTINGS) {
                if table.only_shared && !(fixture.store.is_shared() && new.is_shared()) {
                    continue;
                }
                let before = summed(&fixture.store.db, table).await;
                assert_eq!(before, summed(&new.db, table).await, "{}", table.name);
            }
            if new.is_shared() {
                let mut tx = new.begin().await.unwrap();
                tx.set_enabled(false).await.unwrap();
                tx.commit().await.unwrap();
            }
            new.close().await;
        }
    }
}

#[tokio::test]
async fn all_instances_of_a_cluster_are_let_into_its_restored_database() {
    let fixture = Fixture::of(crate::engine::Kind::Postgres).await;
    found(&fixture.store).await;
    let Place::Shared(uri) = &fixture.place else {
        panic!("it is shared");
    };
    let other = ProtectorKey::create(&fixture.folder.path().join("other.key")).unwrap();
    let stranger = ProtectorKey::create(&fixture.folder.path().join("stranger.key")).unwrap();
    let root = fixture.store.root_key(&fixture.protector).await.unwrap();
    Store::join(uri, &other, &root).await.unwrap().close().await;
    let dumped = parts(&fixture.store).await;
    let to = place(crate::engine::Kind::MySql, &fixture.folder).await;
    let refused = load(&dumped, &to, &stranger).await;
    assert!(
        matches!(refused, Err(LoadError::NotOpened(_))),
        "{refused:?}"
    );
    load(&dumped, &to, &fixture.protector).await.unwrap();
    Store::open(&to, &other).await.unwrap().close().await;
    let refused = Store::open(&to, &stranger).await.err();
    assert!(
        matches!(refused, Some(StoreError::NotJoined)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_dump_is_of_one_moment() {
    for kind in KINDS {
        let fixture = Fixture::of(kind).await;
        filled(&fixture).await;
        let mut dump = fixture.store.dump().await.unwrap();
        let first = dump.next().await.unwrap().unwrap();
        let mut rows = first.rows;
        let (profile, signed) = founded("bob@example");
        let mut tx = fixture.store.begin().await.unwrap();
        assert!(tx.insert_profile(&profile, &signed, NOW).await.unwrap());
        tx.commit().await.unwrap();
        while let Some(part) = dump.next().await.unwrap() {
            rows += part.rows;
        }
        drop(dump);
        let after: u64 = parts(&fixture.store)
            .await
            .iter()
            .map(|part| part.rows)
            .sum();
        assert!(rows < after, "{kind:?}: {rows} of {after}");
    }
}

#[tokio::test]
async fn a_shared_database_keeps_what_it_has_until_all_is_loaded() {
    for kind in KINDS.into_iter().skip(1) {
        let fixture = Fixture::of(kind).await;
        filled(&fixture).await;
        let dumped = parts(&fixture.store).await;
        let target = Fixture::of(kind).await;
        found(&target.store).await;
        target.tamper("UPDATE server SET created_at = 7").await;
        let refused = Load::into(&target.place, false).await.err();
        assert!(matches!(refused, Some(LoadError::NotEmpty)), "{refused:?}");
        let begun = async |until: usize| {
            let mut load = Load::into(&target.place, true).await.unwrap();
            for part in dumped.iter().take(until) {
                let rows = Rows::decode(&part.bytes).unwrap();
                load.add(rows).await.unwrap();
            }
            load
        };
        let is_old = async || {
            let record = target.store.server().await.unwrap().unwrap();
            record.created_at.0 == 7
        };
        for until in [0, 1, dumped.len() / 2, dumped.len()] {
            begun(until).await.give_up().await;
            assert!(is_old().await, "{kind:?} {until}");
        }
        let other = begun(dumped.len()).await.finish(&target.protector).await;
        assert!(matches!(other, Err(LoadError::NotOpened(_))), "{other:?}");
        assert!(is_old().await, "{kind:?}");
        let done = begun(dumped.len()).await.finish(&fixture.protector).await;
        done.unwrap();
        assert!(!is_old().await, "{kind:?}");
        Store::open(&target.place, &fixture.protector)
            .await
            .unwrap()
            .close()
            .await;
    }
}

#[tokio::test]
async fn nothing_is_loaded_into_a_database_that_an_instance_uses() {
    let fixture = Fixture::of(crate::engine::Kind::MySql).await;
    found(&fixture.store).await;
    let presence = Presence {
        instance: fixture.protector.instance(),
        name: "here".to_owned(),
        version: "1".to_owned(),
        policy_version: 1,
    };
    fixture.store.enter(&presence).await.unwrap();
    let refused = Load::into(&fixture.place, true).await.err();
    assert!(
        matches!(&refused, Some(LoadError::Online(name)) if name == "here"),
        "{refused:?}"
    );
}

/// A part of short rows has more of them than one statement has room for.
#[tokio::test]
async fn many_short_rows_take_several_statements() {
    const MANY: i64 = 40_000;
    let fixture = Fixture::of(crate::engine::Kind::Sqlite).await;
    found(&fixture.store).await;
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
                INSERT INTO checkpoints (number, at, signed) SELECT i, i, x'01' FROM n";
    fixture.tamper(rows).await;
    let dumped = parts(&fixture.store).await;
    assert!(dumped.iter().any(|part| part.rows > 30_000), "in one part");
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let to = place(kind, &folder).await;
        load(&dumped, &to, &fixture.protector).await.unwrap();
        let new = Store::open(&to, &fixture.protector).await.unwrap();
        let mut reader = new.db.reader().await.unwrap();
        let query = reader.query("SELECT count(*) AS n FROM checkpoints");
        let row = query.fetch_one(&mut reader).await.unwrap();
        assert_eq!(row.try_get::<i64>("n").unwrap(), MANY, "{kind:?}");
        drop(reader);
        new.close().await;
    }
}

#[tokio::test]
async fn what_is_no_part_of_a_dump_is_refused() {
    let fixture = Fixture::of(crate::engine::Kind::Sqlite).await;
    filled(&fixture).await;
    let dumped = parts(&fixture.store).await;
    for part in &dumped {
        let decode = |bytes: &[u8]| Rows::decode(bytes).map(|rows| rows.count());
        assert_eq!(decode(&part.bytes).unwrap(), part.rows);
        for cut in [0, 1, part.bytes.len() / 2, part.bytes.len() - 1] {
            assert!(decode(&part.bytes[..cut]).is_err(), "{} {cut}", part.table);
        }
        let longer = [&part.bytes[..], &[0]].concat();
        assert!(decode(&longer).is_err(), "{}", part.table);
        for place in (0..part.bytes.len()).step_by(part.bytes.len() / 50 + 1) {
            let mut flipped = part.bytes.clone();
            flipped[place] ^= 0x41;
            // It may be another value; it must not end the process.
            let _ = decode(&flipped);
        }
    }
    let unknown = b"\x63abc\x81\x61a\x00";
    assert!(Rows::decode(unknown).is_err());
}
