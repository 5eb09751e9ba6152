use ostrakon_custody::ShardKey;
use ostrakon_shards::sealed_shard::{SealedShard, ShardContext};

fn open(key: &ShardKey, context: &ShardContext, sealed: &SealedShard) {
    let _ = key.open(context, sealed);
}

fn main() {}
