//! How requests reach a key shard server.
//!
//! [`http`] carries bytes: a listener that bounds what strangers can take up, and clients that try
//! several servers. It knows nothing of what it carries.

pub mod http;
