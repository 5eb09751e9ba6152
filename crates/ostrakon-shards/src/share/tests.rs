use ostrakon_types::SetId;
use proptest::prelude::*;
use sharks::Sharks;

use super::{combine::values_at_zero, split::split_impl, *};
use crate::random::Seeded;

fn threshold(needed: u8, shares: u8) -> Threshold {
    Threshold::new(needed, shares).unwrap()
}

fn copy(shard: &Shard) -> Shard {
    Shard::from_bytes(&shard.to_bytes()).unwrap()
}

fn copies<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> Vec<Shard> {
    shards.into_iter().map(copy).collect()
}

fn three_of_five() -> (FileKey, Split) {
    let key = FileKey::generate(16).unwrap();
    let split = split(&key, threshold(3, 5)).unwrap();
    (key, split)
}

fn triples() -> impl Iterator<Item = [usize; 3]> {
    (0..5).flat_map(|a| (a + 1..5).flat_map(move |b| (b + 1..5).map(move |c| [a, b, c])))
}

fn the_error(manifest: &Manifest, shards: &[Shard]) -> CombineError {
    combine(manifest, shards).err().unwrap()
}

prop_compose! {
    /// A key, a threshold, and an order of the shards.
    fn splittings()(needed in 2u8..=12, more in 0u8..=12, key in prop::collection::vec(any::<u8>(), 1..=32))
        (
            order in Just((0..usize::from(needed + more)).collect::<Vec<_>>()).prop_shuffle(),
            needed in Just(needed),
            shares in Just(needed + more),
            key in Just(key),
        ) -> (Vec<u8>, Threshold, Vec<usize>) {
            (key, threshold(needed, shares), order)
        }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_m_of_n_combine_and_fewer_do_not((bytes, threshold, order) in splittings()) {
        let key = FileKey::new(&bytes).unwrap();
        let split = split(&key, threshold).unwrap();
        let m = usize::from(threshold.needed());
        let some = |count| copies(order.iter().take(count).map(|&at| &split.shards[at]));

        let combined = combine(&split.manifest, &some(m)).unwrap();
        prop_assert_eq!(combined.key.as_bytes(), bytes.as_slice());
        prop_assert!(combined.bad.is_empty());
        let combined = combine(&split.manifest, &some(order.len())).unwrap();
        prop_assert_eq!(combined.key.as_bytes(), bytes.as_slice());

        let too_few = CombineError::TooFew { needed: threshold.needed(), good: m - 1, bad: vec![] };
        prop_assert_eq!(the_error(&split.manifest, &some(m - 1)), too_few);
    }

    #[test]
    fn sharks_combines_what_we_split((bytes, threshold, order) in splittings()) {
        let split = split(&FileKey::new(&bytes).unwrap(), threshold).unwrap();
        let theirs: Vec<_> = order
            .iter()
            .take(threshold.needed().into())
            .map(|&at| &split.shards[at])
            .map(|shard| [&[shard.index()], shard.values()].concat())
            .map(|share| sharks::Share::try_from(share.as_slice()).unwrap())
            .collect();
        prop_assert_eq!(Sharks(threshold.needed()).recover(&theirs).unwrap(), bytes);
    }

    #[test]
    fn we_combine_what_sharks_splits((bytes, threshold, order) in splittings()) {
        let theirs: Vec<sharks::Share> = Sharks(threshold.needed())
            .dealer(&bytes)
            .take(threshold.shares().into())
            .collect();
        let template = split(&FileKey::new(&bytes).unwrap(), threshold).unwrap();
        let mut ours = copies(&template.shards);
        for (shard, share) in ours.iter_mut().zip(&theirs) {
            let share = Vec::from(share);
            prop_assert_eq!(shard.index(), share[0]);
            shard.values.copy_from_slice(&share[1..]);
        }
        let some: Vec<&Shard> = order
            .iter()
            .take(threshold.needed().into())
            .map(|&at| &ours[at])
            .collect();
        prop_assert_eq!(&*values_at_zero(&some, bytes.len()), &bytes);
    }
}

#[test]
fn one_share_alone_is_the_key() {
    let key = FileKey::new(b"k").unwrap();
    let split = split(&key, threshold(1, 1)).unwrap();
    assert_eq!(split.shards[0].values(), b"k");
    let combined = combine(&split.manifest, &split.shards).unwrap();
    assert_eq!(combined.key.as_bytes(), b"k");
}

#[test]
fn two_hundred_and_fifty_five_shares_combine() {
    let key = FileKey::new(b"many").unwrap();
    let split = split(&key, threshold(255, 255)).unwrap();
    let combined = combine(&split.manifest, &split.shards).unwrap();
    assert_eq!(combined.key.as_bytes(), b"many");
}

#[test]
fn each_flipped_bit_of_a_shard_is_found_and_the_shard_named() {
    let (key, split) = three_of_five();
    let flips = || (0..16).flat_map(|byte| (0..8).map(move |bit| (byte, 1u8 << bit)));
    for bad in 0..5 {
        for (byte, bit) in flips() {
            let mut in_values = copies(&split.shards);
            in_values[bad].values[byte] ^= bit;
            let mut in_salt = copies(&split.shards);
            in_salt[bad].salt[byte] ^= bit;
            let index = split.shards[bad].index();
            for shards in [in_values, in_salt] {
                let combined = combine(&split.manifest, &shards).unwrap();
                assert_eq!(combined.bad, [index]);
                assert_eq!(combined.key.as_bytes(), key.as_bytes());
                for triple in triples().filter(|triple| triple.contains(&bad)) {
                    let triple = copies(triple.iter().map(|&at| &shards[at]));
                    let error = the_error(&split.manifest, &triple);
                    let bad = vec![index];
                    let (needed, good) = (3, 2);
                    assert_eq!(error, CombineError::TooFew { needed, good, bad });
                }
            }
        }
    }
}

#[test]
fn each_flipped_bit_of_an_encoded_shard_is_found() {
    let (_, split) = three_of_five();
    let bytes = split.shards[2].to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(shard) = Shard::from_bytes(&bytes) {
            assert!(split.manifest.check(&shard).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn shards_that_do_not_belong_are_refused() {
    let (_, split) = three_of_five();
    let good = || copies(&split.shards[..3]);

    let mut twice = good();
    twice.push(copy(&twice[1]));
    let duplicate = CombineError::Duplicate { index: 2 };
    assert_eq!(the_error(&split.manifest, &twice), duplicate);

    let altered = |alter: fn(&mut Shard)| {
        let mut shards = good();
        alter(&mut shards[1]);
        the_error(&split.manifest, &shards)
    };
    let foreign = CombineError::Foreign;
    let index = 2;
    let other_set = foreign(CheckShardError::OtherSet { index });
    assert_eq!(
        altered(|shard| shard.set_id = SetId::from_bytes([9; 16])),
        other_set
    );
    assert_eq!(
        altered(|shard| shard.threshold = 2.try_into().unwrap()),
        other_set
    );
    let wrong_length = foreign(CheckShardError::WrongLength { index });
    assert_eq!(altered(|shard| shard.values.push(0)), wrong_length);
    assert_eq!(altered(|shard| shard.values.truncate(15)), wrong_length);
    let no_such_index = foreign(CheckShardError::NoSuchIndex { index: 6 });
    assert_eq!(
        altered(|shard| shard.index = 6.try_into().unwrap()),
        no_such_index
    );

    let (_, other) = three_of_five();
    let mixed = copies(split.shards[..2].iter().chain(&other.shards[2..3]));
    let other_set = foreign(CheckShardError::OtherSet { index: 3 });
    assert_eq!(the_error(&split.manifest, &mixed), other_set);
}

#[test]
fn a_shard_of_index_or_threshold_zero_is_none() {
    let (_, split) = three_of_five();
    let bytes = split.shards[0].to_bytes();
    // version, set id with its head, threshold, index
    let (threshold_at, index_at) = (2 + 17, 2 + 18);
    assert_eq!((bytes[threshold_at], bytes[index_at]), (3, 1));
    for at in [threshold_at, index_at] {
        let mut zero = bytes.to_vec();
        zero[at] = 0;
        assert!(matches!(
            Shard::from_bytes(&zero),
            Err(ShardDecodeError::Malformed(_))
        ));
    }
}

#[test]
fn a_manifest_that_contradicts_itself_gives_no_key() {
    let (_, split) = three_of_five();
    let mut bytes = split.manifest.to_bytes();
    let key_commitment_at = 2 + 17 + 2 + 17 + 2;
    bytes[key_commitment_at] ^= 1;
    let manifest = Manifest::from_bytes(&bytes).unwrap();
    assert_ne!(manifest.digest(), split.manifest.digest());
    let error = the_error(&manifest, &split.shards);
    assert_eq!(error, CombineError::WrongKey);
}

#[test]
fn fewer_shards_than_needed_fit_every_key() {
    // With threshold 2 and the one coefficient running over all its values, each shard takes each
    // value exactly once, whatever the key.
    struct All(u8);
    impl crate::random::Source for All {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), crate::random::RandomError> {
            bytes.fill(self.0);
            Ok(())
        }
    }
    for key in [0, 1, 2, 0x53, 0xff] {
        let key = FileKey::new(&[key]).unwrap();
        let mut seen = [[0; 256]; 2];
        for coefficient in 0..=255 {
            let split = split_impl(&key, threshold(2, 2), &mut All(coefficient)).unwrap();
            for (seen, shard) in seen.iter_mut().zip(&split.shards) {
                seen[usize::from(shard.values()[0])] += 1;
            }
        }
        assert_eq!(seen, [[1; 256]; 2]);
    }
}

#[test]
fn mutilated_shards_and_manifests_never_panic() {
    let (_, split) = three_of_five();
    let (shard, manifest) = (split.shards[0].to_bytes(), split.manifest.to_bytes());
    let mut seeded = Seeded::new("mutilated shards");
    let mut draw = || {
        let mut bytes = [0; 8];
        crate::random::Source::fill(&mut seeded, &mut bytes).unwrap();
        bytes
    };
    let mutilate = |bytes: &[u8], [at, value, cut, how, ..]: [u8; 8]| {
        let mut bytes = bytes.to_vec();
        let at = usize::from(at) % bytes.len();
        bytes[at] = value;
        if how & 3 == 0 {
            bytes.truncate(cut.into());
        }
        bytes
    };
    let mut shards = Vec::new();
    for _ in 0..20_000 {
        shards.extend(Shard::from_bytes(&mutilate(&shard, draw())));
        let Ok(manifest) = Manifest::from_bytes(&mutilate(&manifest, draw())) else {
            continue;
        };
        let from = shards.len().saturating_sub(3);
        let _ = combine(&manifest, &shards[from..]);
    }
    assert!(
        shards.len() > 100,
        "some must still be shards: {}",
        shards.len()
    );
}

#[test]
fn lengths_of_keys_are_bounded() {
    assert!(FileKey::new(&[]).is_err());
    assert!(FileKey::new(&[0; 32]).is_ok());
    let error = FileKey::new(&[0; 33]).err().unwrap();
    assert_eq!(error.to_string(), "file key of 33 bytes: expected 1 to 32");
}

mod timing;
mod uniformity;
