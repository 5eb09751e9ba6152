//! Private database servers for tests: a data folder and a port of their own, ended with the test.
//!
//! [`mariadb`] and [`postgres`] give one server for the whole test process, started when it is first asked
//! for; [`Server::database`] makes a fresh, empty database in it. [`Server::start`] starts another one, for
//! tests that stop, kill or starve it. A server dies with the thread that started it at the latest, also
//! when the test is killed.
//!
//! Everything blocks and every wait has an end; whatever goes wrong panics, with what the server wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "fixtures: a failure here is a failure of the test"
)]

mod authority;
mod galera;
mod mariadb;
mod postgres;
mod server;

pub use authority::Authority;
pub use galera::Galera;
pub use server::{Engine, Server, mariadb, postgres};
