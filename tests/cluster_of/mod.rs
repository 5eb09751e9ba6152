//! Several instances of one server on a shared database, made with the commands that people type.

#![allow(clippy::disallowed_methods, reason = "faults last for a time")]
#![allow(dead_code, reason = "each test uses a part")]

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ostrakon_testdb::Server;
use ostrakon_testkit::{
    Asked as Answer, Keyserver, Ran, Records, Serve, TestHome, TestUser, keyserver_command, run,
};
use ostrakon_types::{Denial, RequestId};
use serde_json::Value;

use crate::devices::{Administrators, Asked};

/// A cluster that does not run yet.
pub(crate) struct Cluster {
    pub(crate) uri: String,
    pub(crate) homes: Vec<TestHome>,
    pub(crate) administrators: Administrators,
}

impl Cluster {
    /// Makes a server in a fresh database, and lets `instances - 1` more machines in.
    pub(crate) fn new(database: &Server, instances: usize, policy: &str) -> Self {
        Self::at(database.database(), instances, policy)
    }

    /// The same in the database at a URI, which must be empty.
    pub(crate) fn at(uri: String, instances: usize, policy: &str) -> Self {
        let administrators = Administrators::new();
        let first = TestHome::empty();
        let (backup, card) = (first.path().join("backup.txt"), administrators.card());
        let backup = backup.to_str().unwrap();
        let args = ["create", "--db-uri", &uri, "--backup-path", backup];
        let args = [&args[..], &["--profile", &card]].concat();
        Asked::start(&first, &args).approved_by(&administrators.three());
        first.write_policy(policy);
        let mut cluster = Self {
            uri,
            homes: vec![first],
            administrators,
        };
        for _ in 1..instances {
            cluster.grow();
        }
        cluster
    }

    /// Lets one more machine in.
    pub(crate) fn grow(&mut self) {
        let home = TestHome::empty();
        let args = ["initialize", "--db-uri", &self.uri];
        Asked::start(&home, &args).approved_by(&self.administrators.three());
        self.homes.push(home);
    }

    /// Starts one instance.
    pub(crate) fn serve(&self, number: usize) -> Keyserver {
        Serve::on(&self.homes[number]).start()
    }

    /// Starts all instances.
    pub(crate) fn serve_all(&self) -> Vec<Keyserver> {
        (0..self.homes.len())
            .map(|number| self.serve(number))
            .collect()
    }

    pub(crate) fn keyserver(&self, number: usize, args: &[&str]) -> Ran {
        run(keyserver_command(self.homes[number].path()).args(args))
    }

    /// A command that must succeed.
    pub(crate) fn done(&self, number: usize, args: &[&str]) -> Ran {
        let ran = self.keyserver(number, args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran
    }

    /// How many instances are said to be online.
    pub(crate) fn online(&self) -> usize {
        let ran = self.done(0, &["instance", "list", "--format", "json"]);
        let listed: Value = serde_json::from_str(&ran.stdout).unwrap();
        let listed = listed["instances"].as_array().unwrap();
        listed.iter().filter(|of| of["online"] == true).count()
    }

    /// What the database says once all instances have ended. Every chain must be whole.
    pub(crate) fn records(&self) -> Records {
        self.homes[0].records()
    }
}

/// Waits until something holds, which must be soon.
pub(crate) fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < until, "it never holds: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a crowd of clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) approved: usize,
    pub(crate) denied: usize,
    /// The requests that were approved.
    pub(crate) ids: HashSet<RequestId>,
    /// The longest that one try took, whatever came of it.
    pub(crate) longest: Duration,
}

impl Seen {
    /// Takes in what another crowd saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.approved += other.approved;
        self.denied += other.denied;
        self.ids.extend(other.ids);
        self.longest = self.longest.max(other.longest);
    }
}

/// How long one client goes on trying for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has `clients` ask for files of `user`, until `enough` says so or the quota is used up. Each request goes
/// to one of the addresses, and its retries, under the same id, to the others in turn.
pub(crate) fn crowd(
    user: &TestUser,
    clients: usize,
    addresses: &Mutex<Vec<SocketAddr>>,
    enough: impl Fn(usize) -> bool + Sync,
) -> Seen {
    let seen = Mutex::new(Seen::default());
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for client in 0..clients {
            let (seen, asked, enough) = (&seen, &asked, &enough);
            scope.spawn(move || {
                loop {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    if enough(number) {
                        return;
                    }
                    let file = user.file("Public/a");
                    let mut body = user.body(vec![file.item()]);
                    let begun = Instant::now();
                    let mut tried = client + number;
                    let mut longest = Duration::ZERO;
                    let answer = loop {
                        assert!(begun.elapsed() < PATIENCE, "no answer in time");
                        let at = {
                            let all = addresses.lock().unwrap();
                            all[tried % all.len()]
                        };
                        tried += 1;
                        let sent = Instant::now();
                        let answer = user.try_ask(at, &body);
                        longest = longest.max(sent.elapsed());
                        match answer {
                            Ok(answer @ Answer::Items(_)) => break answer,
                            // A retry after the envelope has expired is a fresh one with the same id.
                            Ok(Answer::Refused(_)) => body = user.again(&body),
                            Ok(_) | Err(_) => {}
                        }
                        thread::sleep(Duration::from_millis(50));
                    };
                    let mut seen = seen.lock().unwrap();
                    seen.longest = seen.longest.max(longest);
                    match answer.denial() {
                        None => {
                            assert!(answer.is(&file), "{answer:?}");
                            seen.approved += 1;
                            assert!(seen.ids.insert(body.request_id()));
                        }
                        Some(denial) => {
                            assert!(matches!(denial, Denial::Quota { .. }), "{denial:?}");
                            seen.denied += 1;
                            return;
                        }
                    }
                }
            });
        }
    });
    seen.into_inner().unwrap()
}

/// Lets something happen while `clients` of the first user ask, and waits until all instances answer the second
/// one as before. Returns what the clients saw.
pub(crate) fn under_load(
    what: &str,
    [user, waiting]: [&TestUser; 2],
    clients: usize,
    addresses: &Mutex<Vec<SocketAddr>>,
    happens: impl FnOnce(),
) -> Seen {
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let asking =
            scope.spawn(|| crowd(user, clients, addresses, |_| over.load(Ordering::Relaxed)));
        let ended = Over(&over);
        // Some are answered before.
        thread::sleep(Duration::from_millis(400));
        happens();
        let all = addresses.lock().unwrap().clone();
        for at in all {
            eventually(what, Duration::from_secs(40), || answers(waiting, at));
        }
        drop(ended);
        asking.join().unwrap()
    });
    eprintln!(
        "{what}: {} approved, longest {:?}",
        seen.approved, seen.longest
    );
    seen
}

/// Whether an instance releases what it is asked for. One that is answered after all counts as seen by nobody.
pub(crate) fn answers(user: &TestUser, at: SocketAddr) -> bool {
    let file = user.file("Public/a");
    let asked = user.try_ask(at, &user.body(vec![file.item()]));
    asked.is_ok_and(|asked| asked.is(&file))
}

/// Ends the clients also when something failed.
pub(crate) struct Over<'o>(pub(crate) &'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every approval that a client saw is counted and on record once, and nothing beyond the limit is.
pub(crate) fn check(records: &Records, user: &TestUser, seen: &Seen, limit: u64) {
    let counted = records.counted(&user.profile);
    let released: Vec<_> = records.released();
    let released: Vec<_> = released
        .iter()
        .filter(|of| of.profile == user.profile)
        .collect();
    let ids: HashSet<_> = released.iter().map(|of| of.request).collect();
    assert_eq!(ids.len(), released.len(), "each approval is on record once");
    assert!(
        released.len() as u64 >= counted,
        "what is counted is on record"
    );
    assert!(
        seen.approved as u64 <= counted,
        "what was answered is counted"
    );
    assert!(counted <= limit, "{counted} of {limit}");
    assert!(seen.ids.is_subset(&ids), "what was answered is on record");
}
