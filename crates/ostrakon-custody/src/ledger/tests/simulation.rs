//! The ledger itself, in hundreds of instances, over a database, a network and clocks that chance has in its
//! hands: one seed, one run, event by event.
//!
//! What runs is the product's: [`Ledger`], its writer with its plans, batches, retries and pauses, and the
//! [`Settling`](ostrakon_types::Settling) that they drive. Only what is around them is made here: a
//! [`Database`](super::super::database::Database) in memory with the semantics on which the ledger relies,
//! and beside it the loop in which an instance judges a request anew. There is one thread, and time passes
//! when nobody has anything to do: tokio's clock stands still and jumps to whatever is next, which is always
//! a way, a wait or a mishap whose length the seed decides.
//!
//! Every transaction that becomes durable is judged from its audit records alone: each decision is made again
//! by the policy that it names, in their order, on the counters that were durable before. So an approval over
//! a limit, a denial under it, a charge without its record, a decision by what was replaced before the
//! transaction began, a request that is decided twice and a gap in a chain end a run at that event; and every
//! answer is compared with what is durable when it is given. Once nothing goes wrong any more, every client
//! must get its answer.
//!
//! Left out: what only one kind of job does in a database (its contract is tested on each kind of
//! database), and clients' clocks, which decide nothing: windows come from the clocks of instances.
//!
//! Seen to fail, beside the bugs that are planted below: with a plan, and with a batch, written whatever has
//! changed since its requests were judged; with counters for which somebody is denied left out of what is
//! written; with earlier tries left out of what a batch reads; with refunds left out; with a plan written
//! though the batch before it failed.

mod asks;
mod chance;
mod cluster;
mod database;
mod world;

use std::time::Duration;

use ostrakon_types::LocationId;
use tokio::{runtime, time};

use self::{
    cluster::{Cluster, Size},
    world::{Tally, World},
};
use super::*;

/// What a database may do wrong; one of them is to be caught at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Counters are written whatever they hold.
    CountedBlindly,
    /// A counter for which somebody is denied is not looked at again.
    DeniedBlindly,
    /// No earlier try is found, and its record is replaced.
    NothingRecalled,
    /// Nobody learns that a policy was replaced.
    BasisUnchecked,
    /// A commit that did not become durable is answered for.
    CommitLost,
}

const SMALL: Size = Size {
    instances: 4,
    clients: 12,
    requests: 10,
    mishaps: 20,
};

/// With so many requests that each instance comes to plan ahead.
const LONG: Size = Size {
    instances: 2,
    clients: 16,
    requests: 40,
    mishaps: 60,
};

const LARGE: Size = Size {
    instances: 240,
    clients: 300,
    requests: 8,
    mishaps: 150,
};

/// A run, or what went wrong in it and what happened before.
fn run(seed: u64, size: Size, bug: Bug) -> Result<Tally, String> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::new(seed, bug));
        let life = Cluster::live(&world, size);
        if time::timeout(Duration::from_secs(3600), life)
            .await
            .is_err()
        {
            world.broken("nothing happens any more".to_owned());
        }
        let outcome = world.outcome();
        outcome.map_err(|broken| format!("seed {seed} of {size:?}, {bug:?}: {broken}"))
    })
}

fn holds(seed: u64, size: Size) -> Tally {
    run(seed, size, Bug::None).unwrap_or_else(|broken| panic!("{broken}"))
}

#[test]
fn whatever_happens_to_a_few_instances_no_promise_is_broken() {
    for seed in 0..24 {
        let _ = holds(seed, SMALL);
    }
    for seed in 0..8 {
        let _ = holds(seed, LONG);
    }
}

#[test]
fn hundreds_of_instances_keep_every_promise() {
    let tally = holds(1, LARGE);
    // Everything that a run is made for did happen.
    assert!(tally.approved > 500, "{tally:?}");
    assert!(tally.denied_by_quota > 100, "{tally:?}");
    assert!(tally.conflicts > 0 && tally.repeated > 10, "{tally:?}");
    assert!(tally.outdated > 50 && tally.changes > 5, "{tally:?}");
    assert!(tally.unknown_commits > 10, "{tally:?}");
    assert!(tally.overtaken > 50 && tally.deadlocks > 5, "{tally:?}");
    assert!(tally.crashes > 20, "{tally:?}");
}

#[test]
fn one_seed_is_one_run() {
    let first = holds(7, SMALL);
    assert_eq!(first, holds(7, SMALL));
    assert_ne!(first.trace, holds(8, SMALL).trace);
}

/// What the first run tells that shows the bug.
fn caught(bug: Bug) -> String {
    let broken = (0..40).find_map(|seed| run(seed, LONG, bug).err());
    broken.unwrap_or_else(|| panic!("{bug:?} shows in no run"))
}

#[test]
fn counters_that_are_written_whatever_they_hold_are_caught() {
    let broken = caught(Bug::CountedBlindly);
    assert!(
        broken.contains("by the log") || broken.contains("where the first that fits"),
        "{broken}"
    );
}

#[test]
fn a_denial_for_what_is_not_so_any_more_is_caught() {
    let broken = caught(Bug::DeniedBlindly);
    assert!(broken.contains("where the first that fits"), "{broken}");
}

#[test]
fn an_earlier_try_that_is_not_recalled_is_caught() {
    let broken = caught(Bug::NothingRecalled);
    assert!(broken.contains("was decided twice"), "{broken}");
}

#[test]
fn a_decision_by_a_policy_that_was_replaced_is_caught() {
    let broken = caught(Bug::BasisUnchecked);
    assert!(broken.contains("was in force"), "{broken}");
}

#[test]
fn an_answer_for_what_is_not_durable_is_caught() {
    let broken = caught(Bug::CommitLost);
    // Told to a client, or relied on for what came next.
    let shows = ["is not on record", "was next", "is to hold"];
    assert!(shows.iter().any(|it| broken.contains(it)), "{broken}");
}
