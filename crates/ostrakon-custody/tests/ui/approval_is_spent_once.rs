use ostrakon_custody::{Approval, ShardKey};
use ostrakon_shards::sealed_shard::{SealedShard, ShardContext};

fn twice(key: &ShardKey, approval: Approval, context: &ShardContext, sealed: &SealedShard) {
    let _ = key.open(approval, context, sealed);
    let _ = key.open(approval, context, sealed);
}

fn copied(approval: &Approval) -> Approval {
    approval.clone()
}

fn main() {}
