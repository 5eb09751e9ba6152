use super::*;
use crate::{
    device::DeviceKeys,
    random,
    share::{FileKey, Split, Threshold, combine, split},
};

fn context(split: &Split, index: usize) -> ShardContext {
    let shard = &split.shards[index];
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
            meta: "payroll/2026.xlsx".into(),
            complete: true,
        },
    }
}

#[test]
fn shards_travel_through_seals_and_combine() {
    let keys = DeviceKeys::generate().unwrap();
    let key = FileKey::generate(16).unwrap();
    let set = split(&key, Threshold::new(2, 3).unwrap()).unwrap();
    for suite in Suite::ALL {
        let at_server = context(&set, 0);
        let sealed = seal_for_server(suite, &set.shards[0], &at_server, keys.kem.public()).unwrap();
        let sealed = SealedShard::from_bytes(&sealed.to_bytes()).unwrap();
        let first = open_at_server(&keys.kem, &at_server, &sealed).unwrap();

        let own = context(&set, 1);
        let sealed = seal_for_owner(
            suite,
            &set.shards[1],
            &set.manifest,
            &own,
            keys.kem.public(),
        )
        .unwrap();
        let share = open_as_owner(&keys.kem, &own.public, &sealed).unwrap();
        assert_eq!(share.meta, own.meta);

        let first = Shard::from_bytes(&first.to_bytes()).unwrap();
        let combined = combine(&share.manifest, &[first, share.shard]).unwrap();
        assert_eq!(combined.key.as_bytes(), key.as_bytes());
    }
}
