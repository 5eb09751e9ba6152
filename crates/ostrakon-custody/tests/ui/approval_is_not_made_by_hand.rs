use ostrakon_custody::Approval;
use ostrakon_storage::RequestKey;
use ostrakon_types::Digest;

fn forge(key: RequestKey, binding: Digest) -> Approval {
    Approval { key, item: 0, binding }
}

fn grant(key: RequestKey, binding: Digest) -> Approval {
    Approval::grant(key, 0, binding)
}

fn main() {}
