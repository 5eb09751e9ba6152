//! What a cluster does when an instance, its database, or the way between them fails: every answered request
//! is in the audit log, no limit is exceeded, nobody is charged twice, and service resumes by itself.
//!
//! Seen to fail: with the record of a request forgotten, one whose answer was lost is on record twice; with requests
//! answered before their commit, or one that a full disk refused, more is answered than is counted; with a read-only
//! database taken for a denial, clients are denied; with the standby not looked at, a request waits for it instead of
//! being refused; with the mark left out, nothing tells what no replica has; with a commit whose outcome is unknown
//! taken for done, the log has a gap; with statements that may take for ever, a client of a quiet database waits too
//! long.

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
mod proxy;

use std::{
    net::SocketAddr,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use cluster_of::{Cluster, Seen, check, crowd, eventually, under_load};
use ostrakon_custody::AuditRecord;
use ostrakon_storage::Durability;
use ostrakon_testdb::{Engine, Server};
use ostrakon_testkit::{Asked as Answer, Keyserver, Records, Serve, TestUser, http};
use proxy::{Proxy, Way};
use rustix::process::Signal;

const LIMIT: u64 = 3000;
const CLIENTS: usize = 8;

/// An answer, be it that nothing can be decided now, comes within this time, also when the database is quiet.
const ANSWERS_WITHIN: Duration = Duration::from_secs(25);

/// Decrypts what is public, [`LIMIT`] times a day.
fn policy() -> String {
    format!(
        "decrypt:\n\
         - - {{rule: meta-rule, paths: [/Public]}}\n  \
           - {{rule: per-profile-throttle-rule, rule_id: daily, per_day: {LIMIT}}}\n"
    )
}

/// A cluster under load, its database behind a proxy.
struct Stage {
    database: Server,
    proxy: Proxy,
    cluster: Cluster,
    servers: Mutex<Vec<Option<Keyserver>>>,
    addresses: Mutex<Vec<SocketAddr>>,
    user: TestUser,
    seen: Seen,
}

impl Stage {
    fn on(database: Server, instances: usize) -> Self {
        Self::with(database, instances, "replicated")
    }

    /// The same with instances whose `durability` is this.
    fn with(database: Server, instances: usize, durability: &str) -> Self {
        let proxy = Proxy::to(database.port());
        // A user with no more rights than it needs: who may do anything is not stopped by a read-only server.
        let uri = database.database_of_a_user("kss", proxy.port());
        let cluster = Cluster::at(uri, instances, &policy());
        let serve = |home| {
            Serve::on(home)
                .with("OSTRAKON_DURABILITY", durability)
                .start()
        };
        let servers: Vec<_> = cluster.homes.iter().map(serve).collect();
        let user = TestUser::onboard(&servers[0].identity, servers[0].address);
        Self {
            addresses: Mutex::new(servers.iter().map(|server| server.address).collect()),
            servers: Mutex::new(servers.into_iter().map(Some).collect()),
            database,
            proxy,
            cluster,
            user,
            seen: Seen::default(),
        }
    }

    /// Lets something happen while clients ask, and waits until all instances answer as before.
    fn act(&mut self, what: &str, happens: impl FnOnce(&Self)) {
        let told = Told(self);
        let seen = under_load(what, [&self.user; 2], CLIENTS, &self.addresses, || {
            happens(self)
        });
        drop(told);
        assert!(seen.longest < ANSWERS_WITHIN, "{what}: {seen:?}");
        self.seen.add(seen);
    }

    /// How many requests are on record.
    fn requests(&self) -> u64 {
        let counted = self
            .database
            .run_in(Some("kss"), "SELECT count(*) FROM requests");
        counted.trim().parse().unwrap()
    }

    /// What an instance says of why it cannot answer.
    fn readiness(at: SocketAddr) -> String {
        let answer = http::get(at, "/readyz").unwrap();
        String::from_utf8(answer.body).unwrap()
    }

    /// Waits until somebody who asks now is told that nothing can be decided.
    fn somebody_is_told(&self) {
        let file = self.user.file("Public/a");
        let body = self.user.body(vec![file.item()]);
        let at = self.addresses.lock().unwrap()[0];
        let asked = self.user.try_ask(at, &body);
        let told = asked.as_ref().is_ok_and(|asked| !asked.releases());
        assert!(told, "{asked:?}");
    }

    /// Uses the quota up, and checks what is on record.
    fn end(mut self) -> Records {
        let seen = crowd(&self.user, CLIENTS, &self.addresses, |_| false);
        self.seen.add(seen);
        for server in self.servers.into_inner().unwrap().into_iter().flatten() {
            server.stop();
        }
        let records = self.cluster.records();
        assert_eq!(
            records.counted(&self.user.profile),
            LIMIT,
            "all of it was had"
        );
        check(&records, &self.user, &self.seen, LIMIT);
        records
    }

    /// Kills an instance, and starts it again a second later.
    fn kill_instance(&self, number: usize) {
        let server = self.servers.lock().unwrap()[number].take().unwrap();
        let at = server.address;
        server.kill();
        thread::sleep(Duration::from_secs(1));
        let server = Serve::on(&self.cluster.homes[number]).at(at).start();
        self.servers.lock().unwrap()[number] = Some(server);
    }
}

/// Says what the programs wrote when the test fails.
struct Told<'s>(&'s Stage);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for server in self.0.servers.lock().unwrap().iter().flatten() {
                eprintln!("{}", server.log());
            }
            eprintln!("{}", self.0.database.wrote());
        }
    }
}

fn faults(engine: Engine) -> Stage {
    let mut stage = Stage::on(Server::start(engine, &[]), 3);
    stage.act("an instance is killed", |stage| stage.kill_instance(1));
    stage.act("the database is restarted", |stage| {
        stage.database.stop();
        thread::sleep(Duration::from_secs(1));
        stage.database.restart();
    });
    stage.act("the database is killed, and away for long", |stage| {
        stage.database.kill();
        stage.somebody_is_told();
        stage.database.restart();
    });
    stage.act("the database is quiet for a while", |stage| {
        stage.database.signal_all(Signal::STOP);
        stage.somebody_is_told();
        // Whoever asked before, and waits in the middle of something, is told, too.
        thread::sleep(ANSWERS_WITHIN);
        stage.database.signal_all(Signal::CONT);
    });
    stage.act("every connection is reset", |stage| stage.proxy.reset());
    stage.act("the way is slow", |stage| {
        stage.proxy.set(Way::Slow);
        thread::sleep(Duration::from_secs(3));
        stage.proxy.set(Way::Open);
    });
    stage.act("the way swallows everything", |stage| {
        stage.proxy.set(Way::Swallows);
        stage.somebody_is_told();
        stage.proxy.set(Way::Open);
        stage.proxy.reset();
    });
    stage.act("the way is shut", |stage| {
        stage.proxy.set(Way::Shut);
        stage.proxy.reset();
        thread::sleep(Duration::from_secs(3));
        stage.proxy.set(Way::Open);
    });
    stage
}

#[test]
fn a_cluster_on_mariadb_outlives_its_faults() {
    let mut stage = faults(Engine::MariaDb);
    stage.act("the database takes no writes", |stage| {
        stage.database.run("SET GLOBAL read_only = 1");
        thread::sleep(Duration::from_secs(3));
        stage.database.run("SET GLOBAL read_only = 0");
    });
    stage.end();
}

#[test]
fn a_cluster_on_postgres_outlives_its_faults() {
    let mut stage = faults(Engine::Postgres);
    stage.act("the database takes no writes", |stage| {
        let set = |value| format!("ALTER DATABASE kss SET default_transaction_read_only = {value}");
        // It holds for new connections alone.
        stage.database.run(&set("on"));
        stage.proxy.reset();
        thread::sleep(Duration::from_secs(3));
        stage.database.run(&set("off"));
    });
    stage.end();
}

/// All tables are in one file, which may not grow for a while: to the server, the disk is full.
#[test]
fn a_full_disk_releases_nothing_and_takes_up_again() {
    let room = |mebibytes: u32| {
        let file = format!("innodb-data-file-path=ibdata1:12M:autoextend:max:{mebibytes}M");
        ["innodb-file-per-table=0".to_owned(), file]
    };
    let [one, little] = &room(48);
    let [_, much] = &room(200);
    let database = Server::start(Engine::MariaDb, &[one, little]);
    let mut stage = Stage::on(database, 2);
    stage.act("the disk is full", |stage| {
        let in_kss = |sql: &str| stage.database.try_run_in(Some("kss"), sql);
        in_kss("CREATE TABLE filler (bytes LONGBLOB)").unwrap();
        for size in [1_000_000, 100_000, 8_000] {
            let sql = format!("INSERT INTO filler VALUES (REPEAT('x', {size}))");
            while in_kss(&sql).is_ok() {}
        }
        // What room there is in the tables' own files is used up by what is recorded: denials, of long
        // names.
        let at = stage.addresses.lock().unwrap()[0];
        let names = (0..100).map(|number| format!("Elsewhere/{number}/{}", "x".repeat(1500)));
        let files: Vec<_> = names.map(|name| stage.user.file(&name)).collect();
        for items in [100, 10, 1] {
            eventually("nothing is recorded", Duration::from_secs(30), || {
                let items = files.iter().take(items).map(|file| file.item());
                let body = stage.user.body(items.collect());
                !matches!(stage.user.ask(at, &body), Answer::Items(_))
            });
        }
        let file = stage.user.file("Public/a");
        eventually("nothing is released", Duration::from_secs(30), || {
            let body = stage.user.body(vec![file.item()]);
            !stage.user.ask(at, &body).releases()
        });
        stage.database.stop();
        stage.database.restart_with(&[one, much]);
    });
    stage.end();
}

/// A pair: what was asked to be in the standby is refused without it, and what can be read is read.
#[test]
fn a_pair_answers_with_its_standby_alone_and_outlives_its_primary() {
    let primary = Server::start(Engine::Postgres, &[]);
    let mut stage = Stage::on(primary, 2);
    let standby = Server::standby_of(&stage.database);
    stage.act("a standby comes", |_| ());

    standby.stop();
    let all = stage.addresses.lock().unwrap().clone();
    eventually("all are not ready", Duration::from_secs(20), || {
        let lacks = |at: &SocketAddr| Stage::readiness(*at).contains("no durable replica");
        all.iter().all(lacks)
    });
    let before = stage.requests();
    let refused: Vec<_> = (0..6)
        .map(|number| {
            let file = stage.user.file("Public/a");
            let body = stage.user.body(vec![file.item()]);
            let begun = Instant::now();
            let answer = stage.user.ask(all[number % all.len()], &body);
            assert!(!matches!(answer, Answer::Items(_)), "{answer:?}");
            // Up front: it has waited for nobody.
            assert!(
                begun.elapsed() < Duration::from_secs(4),
                "{:?}",
                begun.elapsed()
            );
            (file, body)
        })
        .collect();
    for args in [
        &["status"][..],
        &["quota", "list"],
        &["audit", "tail"],
        &["instance", "list"],
    ] {
        let ran = stage.cluster.keyserver(0, args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        let says = ran.stdout.contains("no durable replica");
        assert_eq!(says, args == ["status"], "{ran:?}");
    }
    assert_eq!(stage.requests(), before);
    standby.restart();
    eventually("all are ready", Duration::from_secs(20), || {
        all.iter().all(|at| Stage::readiness(*at).contains("true"))
    });
    assert_eq!(stage.requests(), before, "what was refused has no row");
    let (file, body) = &refused[0];
    let again = stage.user.ask(all[1], &stage.user.again(body));
    assert!(again.is(file), "{again:?}");
    stage.seen.approved += 1;
    assert!(stage.seen.ids.insert(body.request_id()));

    stage.act("the standby is killed", |_| {
        standby.kill();
        thread::sleep(Duration::from_secs(2));
        standby.restart();
    });
    stage.act("the primary is killed, and its standby promoted", |stage| {
        stage.database.kill();
        standby.promote();
        stage.proxy.lead_to(standby.port());
    });
    stage.end();
}

/// Where that is wanted, it goes on without the standby, and says so on record.
#[test]
fn a_pair_goes_on_without_its_standby_where_that_is_wanted() {
    let primary = Server::start(Engine::Postgres, &[]);
    let mut stage = Stage::with(primary, 2, "local");
    let standby = Server::standby_of(&stage.database);
    stage.act("a standby comes", |_| ());
    stage.act("the standby is killed, and stays away", |_| standby.kill());
    standby.restart();
    let records = stage.end();
    let marked = |record: &&AuditRecord| record.durability == Some(Durability::Local);
    let decided = records.audit.iter().filter(marked).count();
    assert!(decided > 1, "{decided} of {}", records.audit.len());
    assert!(decided < records.audit.len());
}
