//! Backups of key shard servers and of their clients, proven to restore.

fn main() {}
