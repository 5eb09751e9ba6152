use super::*;

#[test]
fn records_open_only_in_their_place() {
    let key = RecordKey::generate().unwrap();
    let sealed = seal_record(&key, "folders", "name", b"row 1", b"payroll").unwrap();
    assert_eq!(sealed.len(), b"payroll".len() + 49);
    let open = |key: &RecordKey, table, column, row: &[u8]| {
        open_record(key, table, column, row, &sealed).map(|plaintext| plaintext.to_vec())
    };
    assert_eq!(open(&key, "folders", "name", b"row 1").unwrap(), b"payroll");
    let failed = Err(OpenRecordError::Failed);
    assert_eq!(open(&key, "folders", "name", b"row 2"), failed);
    assert_eq!(open(&key, "folders", "path", b"row 1"), failed);
    assert_eq!(open(&key, "folder", "sname", b"row 1"), failed);
    let other = RecordKey::generate().unwrap();
    assert_eq!(open(&other, "folders", "name", b"row 1"), failed);
}

#[test]
fn each_flipped_bit_is_found() {
    let key = RecordKey::generate().unwrap();
    let sealed = seal_record(&key, "t", "c", b"r", b"value").unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open_record(&key, "t", "c", b"r", &altered).is_err());
    }
    for cut in 0..49 {
        let opened = open_record(&key, "t", "c", b"r", &sealed[..cut]);
        assert_eq!(opened, Err(OpenRecordError::CutOff));
    }
    let newer = open_record(&key, "t", "c", b"r", b"\x02");
    assert_eq!(newer, Err(OpenRecordError::Version(2)));
}

#[test]
fn equal_records_do_not_look_equal() {
    let key = RecordKey::generate().unwrap();
    let seal = || seal_record(&key, "t", "c", b"r", b"value").unwrap();
    let (one, two) = (seal(), seal());
    assert!(
        one[1..]
            .iter()
            .zip(&two[1..])
            .filter(|(a, b)| a == b)
            .count()
            < 16
    );
}

#[test]
fn many_records_are_each_sealed_for_their_place_under_a_salt_of_their_own() {
    let key = RecordKey::generate().unwrap();
    let records = [(b"row 1", "a"), (b"row 2", "a"), (b"row 3", "")];
    let sealed = seal_records(&key, "t", "c", &records).unwrap();
    assert_eq!(sealed.len(), 3);
    for (sealed, (row, plaintext)) in sealed.iter().zip(records) {
        let opened = open_record(&key, "t", "c", row, sealed).unwrap();
        assert_eq!(*opened, plaintext.as_bytes());
    }
    assert_ne!(sealed[0][..33], sealed[1][..33]);
    assert_eq!(
        open_record(&key, "t", "c", b"row 2", &sealed[0]),
        Err(OpenRecordError::Failed)
    );
}

#[test]
fn keys_wrap_keys() {
    let [root, data, other] = [(); 3].map(|()| RecordKey::generate().unwrap());
    let sealed = data.wrap(&root, "data key").unwrap();
    let unwrap = |under, purpose| RecordKey::unwrap_from(under, purpose, &sealed);
    let again = unwrap(&root, "data key").unwrap();
    assert_eq!(again.to_bytes(), data.to_bytes());
    assert!(unwrap(&root, "root key").is_err());
    assert!(unwrap(&other, "data key").is_err());
    // A wrapped key is no record, wherever it is put.
    assert!(open_record(&root, "data key", "", b"", &sealed).is_err());
    let short = seal_with(&root, &key_place("data key"), &[0; 31], &mut System);
    let unwrapped = RecordKey::unwrap_from(&root, "data key", &short.unwrap());
    assert_eq!(unwrapped.err(), Some(OpenRecordError::Failed));
}
