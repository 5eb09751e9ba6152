//! docs/ha.md, as it stands there, on a pair of machines: each fails in turn, is cut off, and is made again from
//! the other, while clients ask.
//!
//! Every answered request is in the log once, the quota is had to the last and not beyond, and what was refused
//! has no row.
//!
//! Seen to fail: with an instance that goes on where it finds no passive, requests that came after it are not
//! refused; with a document that leaves `synchronous_standby_names` out on `b`, the promoted `b` decides alone;
//! with one that sets `synchronous_commit` to `local`, the active goes on without its passive.

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
mod pair;
mod proxy;
mod runbook;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use cluster_of::{Cluster, Seen, check, crowd, eventually};
use ostrakon_custody::AuditRecord;
use ostrakon_storage::Durability;
use ostrakon_testkit::{
    Asked, TestUser, daily_limit,
    user::{opened, post},
};
use ostrakon_transport::message::{Item, ItemAnswer};
use ostrakon_types::RequestId;
use pair::{Machine, Pair};
use runbook::blocks;

const LIMIT: u64 = 1500;
const CLIENTS: usize = 6;

/// How many requests are asked while one thing happens: something of the quota is left for what comes after.
const AT_ONCE: usize = 300;

/// How soon something that must come by itself comes.
const SOON: Duration = Duration::from_secs(30);

/// Whoever asks hears within this time that nothing can be decided, also behind a commit that waits.
const ANSWERS_WITHIN: Duration = Duration::from_secs(25);

/// How soon a refusal comes that has waited for nobody.
const UP_FRONT: Duration = Duration::from_secs(4);

/// A pair that serves, and who asks it.
struct Stage {
    pair: Pair,
    user: TestUser,
    seen: Seen,
    /// Requests that were refused, and not sent again.
    refused: Vec<RequestId>,
}

impl Stage {
    /// Makes the pair as the document says.
    fn new() -> Self {
        let mut pair = Pair::new();
        let making = blocks(pair.section("Making the pair"));
        let [first, second, both, a, b] = &making[..] else {
            panic!("{making:?}");
        };
        for block in [first, second, both] {
            pair.follow(block);
        }
        let cluster = Cluster::at(pair.uri(), 2, &daily_limit(LIMIT));
        cluster.homes[1].write_policy(&daily_limit(LIMIT));
        pair.cluster = Some(cluster);
        pair.follow(a);
        pair.follow(b);
        let identity = pair.identity();
        let at = pair.machines[0].instance().unwrap();
        Self {
            user: TestUser::onboard(&identity, at),
            pair,
            seen: Seen::default(),
            refused: Vec::new(),
        }
    }

    /// Lets something happen while clients ask, and waits until every instance answers.
    fn act(&mut self, what: &str, happens: impl FnOnce(&mut Quiet<'_>)) {
        let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (pair, user) = (&self.pair, &self.user);
        let refused = &mut self.refused;
        let seen = thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let done = |number| {
                    asked.store(number, Ordering::Relaxed);
                    number >= AT_ONCE || over.load(Ordering::Relaxed)
                };
                crowd(user, CLIENTS, &pair.addresses, done)
            });
            let _over = Over(&over);
            let _told = Told(pair);
            eventually("some are answered before", SOON, || {
                asked.load(Ordering::Relaxed) > 4 * CLIENTS
            });
            happens(&mut Quiet {
                pair,
                user,
                refused,
            });
            for machine in &pair.machines {
                eventually(what, SOON, || answers(user, machine));
            }
            over.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        assert!(seen.longest < ANSWERS_WITHIN, "{what}: {seen:?}");
        eprintln!(
            "{what}: {} approved, longest {:?}",
            seen.approved, seen.longest
        );
        self.seen.add(seen);
    }

    /// Uses the quota up, and checks what is on record.
    fn end(mut self) {
        let _told = Told(&self.pair);
        let seen = crowd(&self.user, CLIENTS, &self.pair.addresses, |_| false);
        self.seen.add(seen);
        let count = "SELECT count(*) FROM audit";
        let [a, b] = &self.pair.machines;
        eventually("the passive has it all", SOON, || {
            let of = |machine: &Machine| machine.database.run_in(Some("kss"), count);
            of(a) == of(b)
        });
        self.pair.stop_instances();
        let records = self.pair.cluster.as_ref().unwrap().records();
        assert_eq!(records.counted(&self.user.profile), LIMIT, "all was had");
        check(&records, &self.user, &self.seen, LIMIT);
        for id in &self.refused {
            assert!(records.decisions(*id).is_empty(), "refused, and on record");
        }
        let local = |record: &&AuditRecord| record.durability == Some(Durability::Local);
        let local = records.audit.iter().filter(local).count();
        assert!(local > 1, "{local}");
        assert!(local < records.audit.len() / 2, "{local}");
        self.pair.all_was_run();
    }
}

/// Whether a machine's instance approves what may be. That counts as seen by nobody.
fn answers(user: &TestUser, machine: &Machine) -> bool {
    let file = user.file("Public/a");
    let body = user.body(vec![file.item()]);
    let asked = user.try_ask(machine.instance().unwrap(), &body);
    asked.is_ok_and(|asked| asked.is(&file))
}

/// What is looked at while clients are refused.
struct Quiet<'s> {
    pair: &'s Pair,
    user: &'s TestUser,
    refused: &'s mut Vec<RequestId>,
}

impl Quiet<'_> {
    /// The instances of these machines decide and change nothing, and say so at once; what can be read is read.
    fn refuses(&mut self, machines: &[usize]) {
        let all: Vec<SocketAddr> = machines
            .iter()
            .map(|number| {
                let machine = &self.pair.machines[*number];
                eventually("it says why it is not ready", SOON, || {
                    machine.unready().contains("no durable replica")
                });
                machine.instance().unwrap()
            })
            .collect();
        // What was in a commit when the other one went waits for it, for a while, and what came then behind that.
        for at in &all {
            eventually("it refuses at once", SOON, || {
                self.is_refused(*at).is_some()
            });
        }
        let before = self.requests();
        for number in 0..6 {
            let refused = self.is_refused(all[number % all.len()]);
            self.refused
                .push(refused.expect("it has waited for nobody"));
        }
        assert_eq!(self.requests(), before);
    }

    /// What else is refused at a machine that has no passive, and what goes on.
    fn reads(&self, number: usize) {
        let at = self.pair.machines[number].instance().unwrap();
        let stranger = TestUser::new(&self.user.server);
        let body = stranger.body(vec![stranger.founding()]);
        let (envelope, pending) = stranger.first_contact(&body);
        let asked = opened(&post(at, &envelope), &pending);
        assert!(!matches!(asked, Asked::Items(_)), "{asked:?}");
        // A device reads what it may.
        let head = self.user.ask(at, &self.user.body(vec![Item::ProfileHead]));
        assert!(matches!(head.only(), ItemAnswer::Head { .. }));
        for args in [
            &["status"][..],
            &["quota", "list"],
            &["policy", "--dump"],
            &["audit", "tail"],
            &["instance", "list"],
        ] {
            let said = self.pair.keyserver(number, args).stdout;
            let says_why = said.contains("no durable replica");
            assert_eq!(says_why, args == ["status"], "{args:?}: {said}");
        }
        let cluster = self.pair.cluster.as_ref().unwrap();
        let loaded = cluster.keyserver(number, &["policy", "--load"]);
        let is_said = loaded.stderr.contains("no durable replica");
        assert!(loaded.code == Some(1) && is_said, "{loaded:?}");
    }

    /// Asks, and gives the request if it was refused without a wait. It must not be answered.
    fn is_refused(&self, at: SocketAddr) -> Option<RequestId> {
        let file = self.user.file("Public/a");
        let body = self.user.body(vec![file.item()]);
        let begun = Instant::now();
        let asked = self.user.try_ask(at, &body);
        assert!(!matches!(asked, Ok(Asked::Items(_))), "{asked:?}");
        let at_once = asked.is_ok() && begun.elapsed() < UP_FRONT;
        at_once.then(|| body.request_id())
    }

    /// How many requests are on record where the address leads.
    fn requests(&self) -> String {
        let active = &self.pair.active().database;
        active.run_in(Some("kss"), "SELECT count(*) FROM requests")
    }
}

/// Ends the clients also when something failed.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says what the programs wrote when the test fails.
struct Told<'p>(&'p Pair);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for machine in &self.0.machines {
                eprintln!("{}", machine.wrote());
            }
        }
    }
}

#[test]
fn each_of_a_pair_is_lost_and_made_again_from_the_other() {
    let mut stage = Stage::new();
    let of = |heading: &str| blocks(stage.pair.section(heading));
    let passive = of("When the passive fails");
    let active = of("When the active fails");
    let alone = of("Going on with one machine");
    let rebuilding = of("Rebuilding the failed one");
    let ([start], [fence, promote]) = (&passive[..], &active[..]) else {
        panic!("{passive:?} {active:?}");
    };
    let ([local, replicated], [copy, is_there, rewind]) = (&alone[..], &rebuilding[..]) else {
        panic!("{alone:?} {rebuilding:?}");
    };

    stage.act("the passive fails", |quiet| {
        quiet.pair.machines[1].fail();
        quiet.refuses(&[0]);
        quiet.reads(0);
        quiet.pair.follow(start);
    });
    stage.act("the way between them fails", |quiet| {
        quiet.pair.cut(true);
        quiet.refuses(&[0, 1]);
        quiet.pair.cut(false);
    });
    stage.act(
        "the active fails, and the other one goes on alone",
        |quiet| {
            let pair = quiet.pair;
            pair.machines[0].fail();
            eventually("it says why it is not ready", SOON, || {
                pair.machines[1]
                    .unready()
                    .contains("database does not answer")
            });
            assert!(!answers(quiet.user, &pair.machines[1]));
            pair.follow(fence);
            pair.follow(promote);
            quiet.refuses(&[1]);
            quiet.reads(1);
            pair.follow(local);
            eventually("it goes on", SOON, || {
                answers(quiet.user, &pair.machines[1])
            });
            pair.follow(copy);
            pair.follow(is_there);
            pair.follow(replicated);
        },
    );
    // What is active is `b` now.
    stage.act(
        "the way fails, and the passive is promoted beside the active",
        |quiet| {
            let pair = quiet.pair;
            pair.cut(true);
            quiet.refuses(&[0, 1]);
            let (up, down): (Vec<_>, Vec<_>) = promote
                .iter()
                .cloned()
                .partition(|(_, line)| line.starts_with("psql"));
            pair.follow_swapped(&up);
            // Both are primaries. The address leads to one, and then to the other.
            quiet.refuses(&[0, 1]);
            pair.lead_to(0);
            quiet.refuses(&[0, 1]);
            pair.machines[1].fail();
            pair.follow_swapped(fence);
            pair.follow_swapped(&down);
            pair.cut(false);
            pair.follow(rewind);
        },
    );
    stage.end();
}
