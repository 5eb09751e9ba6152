use super::*;

const HOST: &str = "kts01.example.com";

fn entry(number: i64, proven: bool) -> Entry {
    Entry {
        file: format!("kss_bak_kts01_example_com_2026-02-10_11-14-{number:02}.tar.gpg"),
        archive: format!("{number}"),
        contents: Contents::Keyserver,
        of: "kss1".to_owned(),
        source: "/home".to_owned(),
        created_at: UnixMillis(number),
        size: 0,
        sha256: Digest::from_bytes([u8::try_from(number).unwrap(); 32]),
        recipients: vec![],
        proven_at: proven.then_some(UnixMillis(number)),
    }
}

fn add(catalogue: &mut Catalogue, entry: Entry) {
    catalogue.begin(&entry.file).unwrap();
    catalogue.add(entry).unwrap();
}

#[test]
fn the_newest_stay_and_one_that_is_known_to_restore() {
    // Which of six archives are proven; how many are kept; which stay.
    type Case<'c> = (&'c [i64], usize, &'c [i64], Option<i64>);
    let cases: [Case<'_>; 7] = [
        (&[1, 2, 3, 4, 5, 6], 3, &[4, 5, 6], None),
        (&[1, 2, 3, 4, 5, 6], 1, &[6], None),
        (&[1, 2, 3, 4, 5, 6], 10, &[1, 2, 3, 4, 5, 6], None),
        (&[1, 2], 2, &[2, 5, 6], Some(2)),
        (&[1, 2, 5], 2, &[5, 6], None),
        (&[], 2, &[5, 6], None),
        (&[1], 6, &[1, 2, 3, 4, 5, 6], None),
    ];
    for (proven, count, stay, spared) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut catalogue = Catalogue::open(folder.path(), HOST).unwrap();
        for number in 1..=6 {
            add(&mut catalogue, entry(number, proven.contains(&number)));
        }
        let stranger = folder
            .path()
            .join("kss_bak_kts01_example_com_2020-01-01_00-00-00.tar");
        fs::write(&stranger, "mine").unwrap();
        let rolled = catalogue.roll(&entry(6, true), count).unwrap();
        let numbers: Vec<_> = catalogue
            .entries()
            .iter()
            .map(|entry| entry.created_at.0)
            .collect();
        assert_eq!(numbers, stay, "{proven:?} {count}");
        assert_eq!(rolled.spared, spared.map(|number| entry(number, true).file));
        assert!(stranger.exists(), "it is not one of ours");
        assert_eq!(catalogue.strangers().unwrap().len(), 1);
    }
}

#[test]
fn only_archives_of_the_same_author_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalogue = Catalogue::open(folder.path(), HOST).unwrap();
    for number in 1..=4 {
        let of = ["other", "kss1"][usize::from(number % 2 == 0)];
        add(
            &mut catalogue,
            Entry {
                of: of.to_owned(),
                ..entry(number, true)
            },
        );
    }
    let rolled = catalogue.roll(&entry(2, true), 1).unwrap();
    assert_eq!(rolled.removed, [entry(2, true).file]);
}

#[test]
fn one_backup_at_a_time_and_its_rests_go() {
    let folder = tempfile::tempdir().unwrap();
    let first = Catalogue::open(folder.path(), HOST).unwrap();
    let name = first.name("2026-02-10_11-14-37", Some("gpg"));
    assert_eq!(
        name,
        "kss_bak_kts01_example_com_2026-02-10_11-14-37.tar.gpg"
    );
    first.begin(&name).unwrap();
    let busy = Catalogue::open(folder.path(), HOST);
    assert!(matches!(busy, Err(CatalogueError::Busy(_))));
    assert!(first.part(&name).exists());
    drop(first);
    let second = Catalogue::open(folder.path(), HOST).unwrap();
    assert!(!second.part(&name).exists() && second.entries().is_empty());
    fs::write(folder.path().join("kss_bak_kts01_example_com.json"), "{").unwrap();
    let damaged = Catalogue::read(folder.path(), HOST);
    assert!(matches!(damaged, Err(CatalogueError::Damaged(_))));
}

#[test]
fn a_list_names_archives_of_its_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalogue = Catalogue::open(folder.path(), HOST).unwrap();
    add(&mut catalogue, entry(1, true));
    let list = folder.path().join("kss_bak_kts01_example_com.json");
    let text = fs::read_to_string(&list).unwrap();
    for other in [
        "/etc/passwd",
        "../kss_bak_kts01_example_com_x.tar",
        "kss_bak_other_x.tar",
    ] {
        let altered = text.replace(&entry(1, true).file, other);
        assert_ne!(altered, text);
        fs::write(&list, altered).unwrap();
        let refused = Catalogue::read(folder.path(), HOST);
        assert!(
            matches!(refused, Err(CatalogueError::Damaged(_))),
            "{other}"
        );
    }
}

#[test]
fn the_second_archive_of_a_moment_has_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(folder.path(), HOST).unwrap();
    for end in ["", "-2", "-3"] {
        let name = catalogue.name("2026-10-25_01-30-00", None);
        assert_eq!(
            name,
            format!("kss_bak_kts01_example_com_2026-10-25_01-30-00{end}.tar")
        );
        fs::write(folder.path().join(&name), "").unwrap();
    }
}

#[test]
fn what_was_proven_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalogue = Catalogue::open(folder.path(), HOST).unwrap();
    add(&mut catalogue, entry(1, false));
    let digest = entry(1, false).sha256;
    assert!(catalogue.prove(&digest, UnixMillis(9)).unwrap());
    assert!(
        !catalogue
            .prove(&Digest::from_bytes([0; 32]), UnixMillis(9))
            .unwrap()
    );
    let read = Catalogue::read(folder.path(), HOST).unwrap();
    assert_eq!(read.entries()[0].proven_at, Some(UnixMillis(9)));
}
