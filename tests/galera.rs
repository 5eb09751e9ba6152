//! Three instances, each on a node of its own of a MariaDB Galera cluster: nodes are killed and cut off, and every
//! answered request is in the audit log, the quota is had to the last and no further, and service resumes by
//! itself.
//!
//! Seen to fail: with `wsrep_sync_wait` left out, a node that lags decides by the policy of before; with counters
//! written whatever they hold by then, more is answered than is counted; with batches tried again for as long as it
//! takes, and split when they fail, nobody is told within half a minute that nothing can be decided.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failure here is a failure of the test; faults last for a time"
)]

mod cluster_of;
mod devices;

use std::{net::SocketAddr, sync::Mutex, thread, time::Duration};

use cluster_of::{Cluster, Seen, answers, check, crowd, eventually, under_load};
use ostrakon_testdb::{Galera, Server};
use ostrakon_testkit::{Keyserver, TestUser, daily_limit, http};
use rustix::process::Signal;

const LIMIT: u64 = 1000;
const CLIENTS: usize = 12;

/// An answer, be it that nothing can be decided now, comes within this time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(25);

/// How long the nodes may take to agree on who is there.
const AGREED_WITHIN: Duration = Duration::from_secs(30);

/// An instance on each node, under load.
struct Stage {
    galera: Galera,
    cluster: Cluster,
    servers: Vec<Keyserver>,
    addresses: Mutex<Vec<SocketAddr>>,
    user: TestUser,
    /// What each other user saw.
    seen: Vec<(TestUser, Seen)>,
}

impl Stage {
    fn new() -> Self {
        let galera = Galera::start(&[]);
        let port = |node: &Server| format!("port={}", node.port());
        let [first, others @ ..] = galera.nodes() else {
            panic!("no nodes");
        };
        let uri = first.database_of_a_user("kss", first.port());
        let mut cluster = Cluster::at(uri.clone(), 1, &daily_limit(LIMIT));
        for node in others {
            cluster.uri = uri.replace(&port(first), &port(node));
            cluster.grow();
        }
        let servers = cluster.serve_all();
        let addresses = servers.iter().map(|server| server.address).collect();
        let user = TestUser::onboard(&servers[0].identity, servers[0].address);
        Self {
            galera,
            cluster,
            servers,
            addresses: Mutex::new(addresses),
            user,
            seen: Vec::new(),
        }
    }

    /// Lets something happen while clients ask for what is another user's, with a quota of its own.
    fn act(&mut self, what: &str, happens: impl FnOnce(&Self)) {
        let other = TestUser::onboard(&self.servers[0].identity, self.servers[0].address);
        let told = Told(self);
        let seen = under_load(what, [&other, &self.user], CLIENTS, &self.addresses, || {
            happens(self)
        });
        drop(told);
        assert!(seen.longest < ANSWERS_WITHIN, "{what}: {seen:?}");
        self.seen.push((other, seen));
    }

    fn node(&self, number: usize) -> &Server {
        &self.galera.nodes()[number]
    }

    fn answers(&self, number: usize) -> bool {
        answers(&self.user, self.servers[number].address)
    }

    fn is_ready(&self, number: usize) -> bool {
        let answer = http::get(self.servers[number].address, "/readyz");
        answer.unwrap().status == 200
    }

    /// Some instances are ready and answer, the others are not and release nothing.
    fn only_these_answer(&self, these: &[usize]) {
        eventually("others are not ready", AGREED_WITHIN, || {
            (0..self.servers.len()).all(|number| self.is_ready(number) == these.contains(&number))
        });
        for number in 0..self.servers.len() {
            if these.contains(&number) {
                eventually("it goes on", AGREED_WITHIN, || self.answers(number));
            } else {
                assert!(!self.answers(number), "{number} releases");
            }
        }
    }

    /// What an instance has put in force, no other decides against, also one whose node lags behind.
    fn a_node_that_lags_decides_by_nothing_old(&self) {
        const LAGGING: usize = 2;
        let node = self.node(LAGGING);
        // What an instance writes at its first request is written.
        assert!(self.answers(LAGGING));
        let file = self.user.file("Public/a");
        let body = self.user.body(vec![file.item()]);
        thread::scope(|scope| {
            // It takes nothing from the others while this lasts.
            let held =
                scope.spawn(|| node.try_run_in(None, "FLUSH TABLES WITH READ LOCK; DO SLEEP(60)"));
            eventually("it takes nothing", AGREED_WITHIN, || {
                let state = node.run("SHOW STATUS LIKE 'wsrep_local_state_comment'");
                state.contains("Desynced")
            });
            self.cluster.homes[0].write_policy("decrypt: []\n");
            self.cluster.done(0, &["policy", "--load"]);
            let at = &self.servers[LAGGING].address;
            let asked = scope.spawn(|| self.user.try_ask(*at, &body));
            // What rests on the old policy is judged by now, and waits to be written.
            thread::sleep(Duration::from_millis(1500));
            let holder =
                "SELECT id FROM information_schema.processlist WHERE info = 'DO SLEEP(60)'";
            node.run(&format!("KILL {}", node.run(holder).trim()));
            assert!(held.join().unwrap().is_err(), "it lasted until now");
            let asked = asked.join().unwrap();
            let releases = asked.as_ref().is_ok_and(|asked| asked.releases());
            assert!(!releases, "{asked:?}");
        });
        self.cluster.homes[0].write_policy(&daily_limit(LIMIT));
        self.cluster.done(0, &["policy", "--load"]);
        for number in 0..self.servers.len() {
            eventually("all answer", AGREED_WITHIN, || self.answers(number));
        }
    }

    /// Uses the quota up, and checks what is on record.
    fn end(mut self) {
        let seen = crowd(&self.user, CLIENTS, &self.addresses, |_| false);
        for server in self.servers {
            server.stop();
        }
        let records = self.cluster.records();
        assert_eq!(records.counted(&self.user.profile), LIMIT, "all was had");
        self.seen.push((self.user, seen));
        for (user, seen) in &self.seen {
            check(&records, user, seen, LIMIT);
        }
        let state = |node: &Server| {
            let sql = "SET SESSION wsrep_sync_wait = 1; SELECT sum(count) FROM counters;
                       SELECT count(*) FROM requests; SELECT count(*) FROM audit";
            node.run_in(Some("kss"), sql)
        };
        let all: Vec<_> = self.galera.nodes().iter().map(state).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    }
}

/// Says what the programs wrote when the test fails.
struct Told<'s>(&'s Stage);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for server in &self.0.servers {
                eprintln!("{}", server.log());
            }
            for node in self.0.galera.nodes() {
                eprintln!("{}", node.wrote());
            }
        }
    }
}

#[test]
fn a_cluster_on_galera_is_one_server_and_outlives_its_nodes() {
    let mut stage = Stage::new();
    stage.a_node_that_lags_decides_by_nothing_old();
    stage.act("a node is killed", |stage| {
        stage.node(2).kill();
        stage.only_these_answer(&[0, 1]);
        stage.node(2).restart();
    });
    stage.act(
        "a node is frozen until the others go on without it",
        |stage| {
            stage.node(1).signal(Signal::STOP);
            for number in [0, 2] {
                eventually("they go on", AGREED_WITHIN, || stage.answers(number));
            }
            stage.node(1).signal(Signal::CONT);
        },
    );
    stage.act("all nodes but one are killed", |stage| {
        stage.node(1).kill();
        stage.node(2).kill();
        // One alone cannot know that the others do not go on.
        stage.only_these_answer(&[]);
        Galera::restart(&stage.galera.nodes()[1..]);
    });
    stage.act("all nodes are killed", |stage| {
        stage.galera.nodes().iter().for_each(Server::kill);
        stage.only_these_answer(&[]);
        Galera::restart(stage.galera.nodes());
    });
    stage.end();
}
