//! Backups of key shard servers and of their clients.
