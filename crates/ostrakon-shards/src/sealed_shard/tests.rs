use super::*;
use crate::{
    random,
    share::{FileKey, Split, Threshold, combine, split},
};

const META: &str = "payroll/2026.xlsx";

fn two_of_three() -> (FileKey, Split) {
    let key = FileKey::generate(16).unwrap();
    let split = split(&key, Threshold::new(2, 3).unwrap()).unwrap();
    (key, split)
}

fn context(split: &Split, at: usize) -> ShardContext {
    let shard = &split.shards[at];
    ShardContext {
        public: PublicContext {
            set_id: split.set_id,
            cryptographic_id: random::id().unwrap(),
            profile: ProfileId::from_bytes([2; 16]),
            device: DeviceId::from_bytes([3; 16]),
            threshold: shard.threshold(),
            index: shard.index(),
            manifest: split.manifest.digest(),
        },
        meta: MetaItem {
            meta: META.into(),
            complete: true,
        },
    }
}

/// Every context that differs from `context` in one thing.
fn other_contexts(context: &ShardContext) -> Vec<ShardContext> {
    let changes: [fn(&mut ShardContext); 10] = [
        |c| c.public.set_id = SetId::from_bytes([9; 16]),
        |c| c.public.cryptographic_id = CryptographicId::from_bytes([9; 16]),
        |c| c.public.profile = ProfileId::from_bytes([9; 16]),
        |c| c.public.device = DeviceId::from_bytes([9; 16]),
        |c| c.public.threshold += 1,
        |c| c.public.index += 1,
        |c| c.public.manifest = Digest::from_bytes([9; 32]),
        |c| c.meta.meta = "payroll/2026.xls".into(),
        |c| c.meta.meta.insert(0, '/'),
        |c| c.meta.complete = false,
    ];
    changes
        .into_iter()
        .map(|change| {
            let mut other = context.clone();
            change(&mut other);
            other
        })
        .collect()
}

#[test]
fn shards_travel_through_seals_and_combine() {
    let keys = KemSecret::generate().unwrap();
    let (key, set) = two_of_three();
    let [first, second, _] = &set.shards[..] else {
        panic!("three shards")
    };
    for suite in Suite::ALL {
        let at_server = context(&set, 0);
        let sealed = seal_for_server(suite, first, &at_server, keys.public()).unwrap();
        let sealed = SealedShard::from_bytes(&sealed.to_bytes()).unwrap();
        let released = open_at_server(&keys, &at_server, &sealed).unwrap();

        let own = context(&set, 1);
        let sealed = seal_for_owner(suite, second, &set.manifest, &own, keys.public()).unwrap();
        assert_eq!(sealed.suite(), suite);
        let share = open_as_owner(&keys, &own.public, &sealed).unwrap();
        assert_eq!(share.meta, own.meta);

        let released = Shard::from_bytes(&released.to_bytes()).unwrap();
        let combined = combine(&share.manifest, &[released, share.shard]).unwrap();
        assert_eq!(combined.key.as_bytes(), key.as_bytes());
    }
}

#[test]
fn naming_anything_else_opens_no_server_shard() {
    let keys = KemSecret::generate().unwrap();
    let (_, set) = two_of_three();
    let context = context(&set, 0);
    for suite in Suite::ALL {
        let sealed = seal_for_server(suite, &set.shards[0], &context, keys.public()).unwrap();
        assert!(open_at_server(&keys, &context, &sealed).is_ok());
        for other in other_contexts(&context) {
            let error = open_at_server(&keys, &other, &sealed).err();
            assert!(matches!(error, Some(OpenShardError::Open(_))), "{other:?}");
        }
        let other_key = KemSecret::generate().unwrap();
        assert!(open_at_server(&other_key, &context, &sealed).is_err());
    }
}

#[test]
fn naming_another_public_context_opens_no_owner_share() {
    let keys = KemSecret::generate().unwrap();
    let (_, set) = two_of_three();
    let context = context(&set, 0);
    let suite = Suite::X25519;
    let sealed = seal_for_owner(
        suite,
        &set.shards[0],
        &set.manifest,
        &context,
        keys.public(),
    )
    .unwrap();
    for other in other_contexts(&context) {
        let opened = open_as_owner(&keys, &other.public, &sealed);
        assert_eq!(opened.is_ok(), other.public == context.public, "{other:?}");
    }
    let visible = [sealed.to_bytes(), context.public.to_bytes()].concat();
    assert!(!visible.windows(7).any(|window| window == b"payroll"));
}

#[test]
fn a_box_of_one_kind_does_not_open_as_the_other() {
    let keys = KemSecret::generate().unwrap();
    let (_, set) = two_of_three();
    let context = context(&set, 0);
    let (suite, shard) = (Suite::X25519, &set.shards[0]);
    let server = seal_for_server(suite, shard, &context, keys.public()).unwrap();
    let owner = seal_for_owner(suite, shard, &set.manifest, &context, keys.public()).unwrap();
    let as_owner = SealedOwnerShare::from_bytes(&server.to_bytes()).unwrap();
    assert!(open_as_owner(&keys, &context.public, &as_owner).is_err());
    let as_server = SealedShard::from_bytes(&owner.to_bytes()).unwrap();
    assert!(open_at_server(&keys, &context, &as_server).is_err());
}

#[test]
fn nothing_is_sealed_in_the_context_of_another_shard() {
    let keys = KemSecret::generate().unwrap();
    let (_, set) = two_of_three();
    let (_, other) = two_of_three();
    let first = context(&set, 0);
    let suite = Suite::X25519;
    for shard in [&set.shards[1], &other.shards[0]] {
        let sealed = seal_for_server(suite, shard, &first, keys.public());
        assert!(matches!(sealed, Err(SealShardError::OtherContext)));
        let sealed = seal_for_owner(suite, shard, &set.manifest, &first, keys.public());
        assert!(matches!(sealed, Err(SealShardError::OtherContext)));
    }
    let sealed = seal_for_owner(
        suite,
        &set.shards[0],
        &other.manifest,
        &first,
        keys.public(),
    );
    assert!(matches!(sealed, Err(SealShardError::OtherContext)));
}

#[test]
fn a_sealer_who_lies_is_caught() {
    let keys = KemSecret::generate().unwrap();
    let (_, set) = two_of_three();
    let context = context(&set, 0);
    let suite = Suite::X25519;

    // Another shard of the set in the server's box.
    let bound = context.digest();
    let lie = set.shards[1].to_bytes();
    let sealed = seal::seal(suite, SERVER, keys.public(), bound.as_bytes(), &lie).unwrap();
    let error = open_at_server(&keys, &context, &SealedShard(sealed)).err();
    assert!(matches!(error, Some(OpenShardError::OtherContext)));

    // An altered shard, and no shard at all, in the owner's box.
    let bound = context.public.to_bytes();
    let open = |plaintext: &[u8]| {
        let sealed = seal::seal(suite, OWNER, keys.public(), &bound, plaintext).unwrap();
        open_as_owner(&keys, &context.public, &SealedOwnerShare(sealed)).err()
    };
    let mut shard = set.shards[0].to_bytes();
    *shard.last_mut().unwrap() ^= 1;
    let shard = <&ByteSlice>::from(shard.as_slice());
    let altered = secret::encode(&(VERSION, shard, &set.manifest, &context.meta));
    assert!(matches!(
        open(&altered),
        Some(OpenShardError::OtherManifest(CheckShardError::Altered {
            index: 1
        }))
    ));
    assert!(matches!(open(b""), Some(OpenShardError::OwnerShare(_))));
}

#[test]
fn what_a_device_gives_is_its_share_of_that_file_and_names_no_path() {
    let keys = KemSecret::generate().unwrap();
    let (key, set) = two_of_three();
    let opened = |at: usize| {
        let own = context(&set, at);
        let (shard, manifest) = (&set.shards[at], &set.manifest);
        let sealed = seal_for_owner(Suite::X25519, shard, manifest, &own, keys.public()).unwrap();
        let share = FileShare {
            public: own.public,
            sealed,
        };
        let share = FileShare::from_bytes(&share.to_bytes()).unwrap();
        let given = open_as_owner(&keys, &share.public, &share.sealed).unwrap();
        (share.public, given.give().to_bytes())
    };
    let (first, bytes) = opened(0);
    let (_, others) = opened(1);
    assert!(!bytes.windows(META.len()).any(|at| at == META.as_bytes()));
    let given = GivenShare::from_bytes(&bytes, &first).unwrap();
    let other = GivenShare::from_bytes(&others, &context(&set, 1).public).unwrap();
    let combined = combine(&given.manifest, &[given.shard, other.shard]).unwrap();
    assert_eq!(combined.key.as_bytes(), key.as_bytes());

    // Another device's, and another file's, are good shares, but not the ones that were asked for.
    let (_, foreign) = two_of_three();
    for asked in [context(&set, 1).public, context(&foreign, 0).public] {
        let refused = GivenShare::from_bytes(&bytes, &asked).err();
        assert!(matches!(refused, Some(GivenShareError::OtherContext)));
    }
    for at in 0..bytes.len() {
        let mut altered = bytes.to_vec();
        altered[at] ^= 1;
        assert!(GivenShare::from_bytes(&altered, &first).is_err(), "{at}");
    }
}
