//! Several processes, each with a writer of its own, on one database.
//!
//! Seen to fail: with what was read left out of the condition on which a counter is written. And each time
//! that it runs, processes that look first and count later are found out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use ostrakon_storage::{Counter, CounterChange, InstanceId};
use tokio::task::JoinSet;

use super::*;

/// Tells a process of this program that it is one of several: how it charges, its number, and where.
const ROLE: &str = "OSTRAKON_TEST_PROCESS";
const TEST: &str =
    "ledger::tests::processes::a_limit_holds_between_processes_and_a_read_then_write_is_found_out";
const PROCESSES: u8 = 3;
const LIMIT: u64 = 100;
const TASKS: u8 = 8;
const TRIES: u8 = 12;

/// How a process charges.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Charging {
    /// As the product does.
    Ledger,
    /// Plans with what it read before it had the database for itself, and writes on condition: what
    /// other engines than SQLite make of the same statements.
    Stale,
    /// The planted fault: looks first, counts later.
    ReadThenWrite,
}

const ALL: [Charging; 3] = [Charging::Ledger, Charging::Stale, Charging::ReadThenWrite];

fn key() -> CounterKey {
    within(1).candidates[0].charges()[0].key.clone()
}

fn counted(counters: &[Counter]) -> Option<u64> {
    counters.first().map(|counter| counter.count)
}

/// Sets the counter from what was read to one more.
async fn count(store: &Store, read: Option<u64>) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let change = CounterChange {
        key: key(),
        read,
        count: read.unwrap_or(0) + 1,
    };
    tx.count(&[change]).await?;
    tx.commit().await
}

/// Whether one try was approved.
async fn approved_once(store: &Store, ledger: &Ledger, charging: Charging, id: [u8; 3]) -> bool {
    match charging {
        Charging::Ledger => {
            let mut bytes = [0; 16];
            bytes[..3].copy_from_slice(&id);
            let ask = || {
                let mut asked = request(0, vec![item(within(LIMIT), Act::None)]);
                asked.key.request = RequestId::from_bytes(bytes);
                asked
            };
            loop {
                match ledger.settle(ask()).await {
                    Ok(verdicts) => return matches!(verdicts[..], [Verdict::Approved(None)]),
                    // Another process had the database for too long.
                    Err(LedgerError::Unavailable(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        Charging::Stale => loop {
            let read = counted(&store.counters(&PROFILE).await.unwrap());
            if read >= Some(LIMIT) {
                return false;
            }
            match count(store, read).await {
                Ok(()) => return true,
                Err(StoreError::Overtaken) => {}
                Err(error) => panic!("{error}"),
            }
        },
        Charging::ReadThenWrite => {
            let read = counted(&store.counters(&PROFILE).await.unwrap());
            if read >= Some(LIMIT) {
                return false;
            }
            loop {
                let newer = counted(&store.counters(&PROFILE).await.unwrap());
                match count(store, newer).await {
                    Ok(()) => return true,
                    Err(StoreError::Overtaken) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

/// One of the processes: tries as often as it should, and tells how many tries were approved.
async fn process(charging: Charging, number: u8, folder: &Path) {
    let protector = ProtectorKey::load(&folder.join("instance.key")).unwrap();
    let store = Arc::new(Store::open(&folder.join("db"), &protector).await.unwrap());
    let instance = InstanceId::from_bytes([number; 16]);
    let audit = Identity::load(&store, instance).await.unwrap().audit;
    let (ledger, _) = Ledger::start(Arc::clone(&store), audit, LedgerLimits::default());
    println!("\nready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, ledger) = (Arc::clone(&store), ledger.clone());
        tasks.spawn(async move {
            let mut approved = 0_u64;
            for attempt in 0..TRIES {
                let id = [number, task, attempt];
                approved += u64::from(approved_once(&store, &ledger, charging, id).await);
            }
            approved
        });
    }
    let approved: u64 = tasks.join_all().await.into_iter().sum();
    println!("\napproved {approved}");
}

/// Reads lines until one begins so, and gives the rest of it.
fn line_of(output: &mut impl std::io::BufRead, begins: &str) -> String {
    let mut lines = output.lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.strip_prefix(begins).map(str::to_owned));
    line.unwrap_or_else(|| panic!("a process ended before `{begins}`"))
}

/// How many tries were approved, over all processes.
async fn race(room: &Room, charging: Charging) -> u64 {
    let place = ALL.iter().position(|other| *other == charging).unwrap();
    let mut processes: Vec<Child> = (1..=PROCESSES)
        .map(|number| {
            let folder = room.folder.path().display();
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", TEST, "--nocapture"])
                .env(ROLE, format!("{place} {number} {folder}"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut outputs: Vec<_> = processes
        .iter_mut()
        .map(|process| BufReader::new(process.stdout.take().unwrap()))
        .collect();
    for output in &mut outputs {
        line_of(output, "ready");
    }
    for process in &mut processes {
        process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let approved = outputs
        .iter_mut()
        .map(|output| line_of(output, "approved ").parse::<u64>().unwrap())
        .sum();
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    approved
}

#[test]
fn a_limit_holds_between_processes_and_a_read_then_write_is_found_out() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if let Ok(role) = std::env::var(ROLE) {
        let mut parts = role.splitn(3, ' ');
        let charging = ALL[parts.next().unwrap().parse::<usize>().unwrap()];
        let number = parts.next().unwrap().parse().unwrap();
        return runtime.block_on(process(charging, number, Path::new(parts.next().unwrap())));
    }
    runtime.block_on(async {
        for charging in ALL {
            let room = Room::new().await;
            let approved = race(&room, charging).await;
            if charging == Charging::ReadThenWrite {
                assert!(approved > LIMIT, "the fault is not found: {approved}");
                continue;
            }
            assert_eq!(approved, LIMIT, "{charging:?}");
            assert_eq!(
                counted(&room.store.counters(&PROFILE).await.unwrap()),
                Some(LIMIT)
            );
            if charging == Charging::Ledger {
                let mut approvals = 0;
                let each = |_, _, record: &AuditRecord| {
                    approvals += u64::from(matches!(
                        &record.event,
                        AuditEvent::Decided { decision, .. } if decision.is_approved()
                    ));
                };
                let auditor = Auditor::new(&room.identity, &room.store);
                let verified = auditor.verify(Evidence::default(), std::iter::empty(), each);
                let report = verified.await.unwrap();
                assert_eq!(report.faults, Vec::new());
                for number in 1..=PROCESSES {
                    let instance = InstanceId::from_bytes([number; 16]);
                    let mut chains = report.chains.iter();
                    let chain = chains.find(|chain| chain.instance == instance).unwrap();
                    assert_eq!(chain.records, u64::from(TASKS) * u64::from(TRIES));
                }
                assert_eq!(approvals, LIMIT);
            }
        }
    });
}
