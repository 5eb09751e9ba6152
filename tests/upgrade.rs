//! Instances are upgraded one after the other, to a release with a newer schema, while clients ask: no
//! request fails.
//!
//! Seen to fail: with the wait before the port closes left out, or nothing said of it at `/readyz`, a request meets
//! a closed port; with a column in the newer schema that the older release does not fill, its requests fail; with
//! `usable_from` not looked at, the older release starts where it could not work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failure here is a failure of the test"
)]

mod balancer;
mod cluster_of;
mod devices;

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use balancer::Balancer;
use cluster_of::{Cluster, Over, eventually};
use ostrakon_testdb::{Server, mariadb, postgres};
use ostrakon_testkit::{APPROVE_ALL, Keyserver, Serve, TestHome, TestUser};

const CLIENTS: usize = 6;
const INSTANCES: usize = 3;

/// The release before, and the one with the newer schema.
const BEFORE: &str = "keyserver";
const AFTER: &str = "keyserver-next";

#[test]
fn an_upgrade_on_mariadb_fails_no_request() {
    an_upgrade_fails_no_request(mariadb());
}

#[test]
fn an_upgrade_on_postgres_fails_no_request() {
    an_upgrade_fails_no_request(postgres());
}

fn serve<'a>(program: &'a str, home: &'a TestHome) -> Serve<'a> {
    Serve::on(home)
        .program(program)
        .with("OSTRAKON_LIMITS_DRAIN_DELAY_SECONDS", "2")
}

fn an_upgrade_fails_no_request(database: &Server) {
    let cluster = Cluster::new(database, INSTANCES, APPROVE_ALL);
    let mut servers: Vec<Option<Keyserver>> = Vec::new();
    for home in &cluster.homes {
        servers.push(Some(serve(BEFORE, home).start()));
    }
    let first = servers[0].as_ref().unwrap();
    let user = TestUser::onboard(&first.identity, first.address);
    let balancer = Balancer::before(servers.iter().flatten().map(|server| server.address));

    let (over, approved) = (AtomicBool::new(false), Mutex::new(HashSet::new()));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let file = user.file("Public/a");
                    let body = user.body(vec![file.item()]);
                    let asked = user.try_ask(balancer.address, &body);
                    assert!(
                        asked.as_ref().is_ok_and(|asked| asked.is(&file)),
                        "{asked:?}"
                    );
                    approved.lock().unwrap().insert(body.request_id());
                }
            });
        }
        let _over = Over(&over);
        let mut replace = |number: usize, program: &str| {
            let server = servers[number].take().unwrap();
            let at = server.address;
            server.stop();
            let server = serve(program, &cluster.homes[number]).at(at).start();
            servers[number] = Some(server);
            eventually("it is used", Duration::from_secs(20), || {
                balancer.uses(number)
            });
        };
        for number in 0..INSTANCES {
            replace(number, AFTER);
        }
        // One goes back: the newer schema lets it.
        replace(1, BEFORE);
        thread::sleep(Duration::from_millis(500));
    });
    for server in servers.into_iter().flatten() {
        server.stop();
    }
    let records = cluster.records();
    let released: HashSet<_> = records.released().iter().map(|of| of.request).collect();
    assert_eq!(released, approved.into_inner().unwrap());

    // A schema from which something was taken away lets no older release in.
    let name = cluster.uri.rsplit(['/', '=']).next();
    let contract = "UPDATE schema_versions SET usable_from = number WHERE number = 1000";
    database.run_in(name, contract);
    let refused = serve(BEFORE, &cluster.homes[0]).try_start().map(drop);
    let refused = refused.unwrap_err();
    assert!(
        refused.contains("database has schema version 1000"),
        "{refused}"
    );
    serve(AFTER, &cluster.homes[0]).start().stop();
}
