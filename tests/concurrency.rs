//! A limit holds, however many ask at once.
//!
//! Seen to fail: with the limit dropped from the statement that counts, 192 of 100 are approved; with
//! the context left out of what a shard is sealed to, the item under another name has its shard.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::thread;

use ostrakon_testkit::{Keyserver, TestHome, TestUser, daily_limit};
use ostrakon_transport::message::{Item, ItemAnswer};
use ostrakon_types::{Decision, Denial};

#[test]
fn sixty_four_clients_share_a_limit_of_a_hundred() {
    let home = TestHome::create(&daily_limit(100));
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let neighbour = TestUser::onboard(&server.identity, at);
    let approved: usize = thread::scope(|scope| {
        let asking: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut approved = 0;
                    for _ in 0..3 {
                        let file = user.file("Public/a");
                        let asked = user.decrypt(at, &file);
                        match asked.denial() {
                            None => {
                                assert!(asked.is(&file), "{asked:?}");
                                approved += 1;
                            }
                            Some(denial) => assert!(matches!(denial, Denial::Quota { .. })),
                        }
                    }
                    approved
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|asking| asking.join().unwrap())
            .sum()
    });
    assert_eq!(approved, 100);
    // Each profile has a quota of its own.
    let file = neighbour.file("Public/a");
    assert!(neighbour.decrypt(at, &file).is(&file));
    server.stop();
    let records = home.records();
    assert_eq!(records.counted(&user.profile), 100);
    assert_eq!(records.counted(&neighbour.profile), 1);
    assert_eq!(records.released().len(), 101);
    // 192 requests, 1 of the neighbour's, 2 new profiles, the policy, the start and the stop.
    assert_eq!(records.audit.len(), 192 + 1 + 2 + 1 + 2);
}

#[test]
fn each_item_of_an_envelope_is_judged_charged_and_logged_alone() {
    let policy = "decrypt:\n\
        - - {rule: meta-rule, paths: [/Public]}\n\
        \x20 - {rule: per-profile-throttle-rule, rule_id: public, per_day: 4}\n\
        - - {rule: meta-rule, paths: [/Free]}\n\
        rename: []\n";
    let home = TestHome::create(policy);
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let paths = [
        "Public/1", "Secret/2", "Public/3", "Free/4", "Public/5", "Public/6", "Public/7", "Free/8",
        "Secret/9",
    ];
    let files = paths.map(|path| user.file(path));
    let mut items: Vec<Item> = files.iter().map(|file| file.item()).collect();
    // A shard that does not open uses its approval up; the one that comes after it has what is left.
    let mut wrong = files[0].context.clone();
    wrong.meta.meta = "Public/0".into();
    items.insert(0, files[0].item_in(wrong));
    items.push(Item::ListLocations);
    let body = user.body(items);
    let check = || {
        let answers = user.ask(at, &body).items();
        assert_eq!(answers.len(), 11);
        assert!(matches!(answers[0], ItemAnswer::Failed(_)));
        assert!(matches!(answers[10], ItemAnswer::Locations(ref list) if list.is_empty()));
        for ((path, file), answer) in paths.iter().zip(&files).zip(&answers[1..]) {
            match (*path, answer) {
                ("Public/6" | "Public/7", ItemAnswer::Denied(Denial::Quota { .. })) => {}
                ("Secret/2" | "Secret/9", ItemAnswer::Denied(Denial::Policy)) => {}
                ("Public/6" | "Public/7" | "Secret/2" | "Secret/9", _) => {
                    panic!("{path} is not denied")
                }
                (_, answer) => assert!(file.is_in(answer), "{path}"),
            }
        }
    };
    check();
    // And again the same, at no charge.
    check();
    server.stop();
    let records = home.records();
    assert_eq!(records.counted(&user.profile), 4);
    let decisions = records.decisions(body.request_id());
    // One for each item that needs a decision, in order.
    let expected = [
        Some(0),
        Some(0),
        None,
        Some(0),
        Some(1),
        Some(0),
        None,
        None,
        Some(1),
        None,
    ];
    let sets: Vec<_> = decisions
        .iter()
        .map(|decision| match decision {
            Decision::Approve { rule_set } => *rule_set,
            Decision::Deny { .. } => None,
        })
        .collect();
    assert_eq!(sets, expected, "{decisions:?}");
}

#[test]
fn many_envelopes_of_many_items_share_a_limit() {
    let home = TestHome::create(&daily_limit(100));
    let server = Keyserver::start(&home);
    let at = server.address;
    let user = TestUser::onboard(&server.identity, at);
    let released: usize = thread::scope(|scope| {
        let asking: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let files: Vec<_> =
                        (0..10).map(|n| user.file(&format!("Public/{n}"))).collect();
                    let body = user.body(files.iter().map(|file| file.item()).collect());
                    let answers = user.ask(at, &body).items();
                    assert_eq!(answers.len(), 10);
                    files
                        .iter()
                        .zip(&answers)
                        .filter(|(file, answer)| file.is_in(answer))
                        .count()
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|asking| asking.join().unwrap())
            .sum()
    });
    assert_eq!(released, 100);
    server.stop();
    let records = home.records();
    assert_eq!(records.counted(&user.profile), 100);
    assert_eq!(records.released().len(), 100);
}
