//! A MariaDB Galera cluster of three nodes, and an instance at each: a node is killed, then two, under load.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failure here is a failure of the test"
)]

mod cluster_of;
mod devices;

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use cluster_of::{Cluster, Seen, check, crowd, eventually};
use ostrakon_testdb::Server;
use ostrakon_testkit::{TestUser, daily_limit};

const LIMIT: u64 = 2000;
const CLIENTS: usize = 8;

#[test]
fn a_galera_cluster_outlives_its_nodes() {
    let nodes = Server::galera(3);
    let first = nodes[0].port();
    let uri = nodes[0].database_of_a_user("kss", first);
    let at = |node: &Server| {
        let port = format!("port={}", node.port());
        uri.replace(&format!("port={first}"), &port)
    };
    let mut cluster = Cluster::at(at(&nodes[0]), 1, &daily_limit(LIMIT));
    for node in &nodes[1..] {
        cluster.uri = at(node);
        cluster.grow();
    }
    let servers = cluster.serve_all();
    let user = TestUser::onboard(&servers[0].identity, servers[0].address);
    let all: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let addresses = Mutex::new(all.clone());
    let mut seen = Seen::default();

    let mut act = |what: &str, happens: &dyn Fn()| {
        let over = AtomicBool::new(false);
        let during = thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let enough = |_| over.load(Ordering::Relaxed);
                crowd(&user, CLIENTS, &addresses, enough)
            });
            thread::sleep(Duration::from_millis(500));
            happens();
            for at in &all {
                eventually(what, Duration::from_secs(60), || answers(&user, *at));
            }
            over.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        eprintln!(
            "{what}: {} approved, longest {:?}",
            during.approved, during.longest
        );
        seen.add(during);
    };
    act("a node is killed", &|| {
        nodes[1].kill();
        thread::sleep(Duration::from_secs(3));
        nodes[1].restart();
    });
    act("two nodes are killed", &|| {
        nodes[1].kill();
        nodes[2].kill();
        eventually("nothing is released", Duration::from_secs(30), || {
            let wsrep = nodes[0].try_run_in(None, "SELECT 1");
            wsrep.is_err_and(|error| error.contains("1047"))
        });
        for _ in 0..20 {
            assert!(
                !answers(&user, all[0]),
                "a node without a majority released something"
            );
        }
        // Its operator knows that the others are gone.
        nodes[0].run("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=1'");
        nodes[1].restart();
        nodes[2].restart();
    });
    seen.add(crowd(&user, CLIENTS, &addresses, |_| false));
    for server in servers {
        server.stop();
    }
    let records = cluster.records();
    assert_eq!(records.counted(&user.profile), LIMIT, "all of it was had");
    check(&records, &user, &seen, LIMIT);
}

/// Whether an instance releases a shard.
fn answers(user: &TestUser, at: SocketAddr) -> bool {
    let file = user.file("Public/a");
    let body = user.body(vec![file.item()]);
    let asked = user.try_ask(at, &body);
    asked.is_ok_and(|asked| asked.releases())
}
