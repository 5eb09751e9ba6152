use ostrakon_custody::ShardKey;
use ostrakon_shards::kem::KemSecret;

fn take(key: ShardKey) -> KemSecret {
    key.secret
}

fn make(secret: KemSecret) -> ShardKey {
    ShardKey::new(secret)
}

fn main() {}
