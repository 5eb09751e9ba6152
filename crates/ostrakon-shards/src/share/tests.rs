use super::*;

#[test]
fn any_three_of_five_combine() {
    let key = FileKey::new(b"sixteen byte key").unwrap();
    let split = split(&key, Threshold::new(3, 5).unwrap()).unwrap();
    let combined = combine(&split.manifest, &split.shards[1..4]).unwrap();
    assert_eq!(combined.key.as_bytes(), key.as_bytes());
    assert!(combine(&split.manifest, &split.shards[..2]).is_err());
}
