//! What the databases themselves, the way to them and the system have counted.

use std::{fs, sync::atomic::Ordering::Relaxed};

use ostrakon_testdb::{Engine, Server};

use crate::proxy::Proxy;

/// Counts so far, or from one moment to another.
#[derive(Clone, Copy)]
pub struct Counted {
    pub commits: f64,
    /// Executed, with begin and commit.
    pub statements: f64,
    pub round_trips: f64,
    pub sent: f64,
    pub received: f64,
    /// Bytes of the redo or write-ahead log.
    pub log: f64,
    /// Seconds of processor time of the database's processes.
    pub cpu: f64,
}

impl Counted {
    pub fn now(engine: Engine, server: &Server, proxy: &Proxy) -> Self {
        let [commits, statements, log] = match engine {
            Engine::MariaDb => mariadb(server),
            Engine::Postgres => postgres(server),
        };
        let seen = &proxy.seen;
        Self {
            commits,
            statements,
            round_trips: seen.turns.load(Relaxed) as f64,
            sent: seen.sent.load(Relaxed) as f64,
            received: seen.received.load(Relaxed) as f64,
            log,
            cpu: cpu_seconds(server.pid().as_raw_nonzero().get()),
        }
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            statements: self.statements - before.statements,
            round_trips: self.round_trips - before.round_trips,
            sent: self.sent - before.sent,
            received: self.received - before.received,
            log: self.log - before.log,
            cpu: self.cpu - before.cpu,
        }
    }
}

/// Commits, statements and bytes of the redo log.
fn mariadb(server: &Server) -> [f64; 3] {
    let status = server.run("SHOW GLOBAL STATUS");
    ["Com_commit", "Questions", "Innodb_os_log_written"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(f64::NAN, number)
    })
}

/// The same of PostgreSQL, whose commits are statements; its counts of rows come late.
fn postgres(server: &Server) -> [f64; 3] {
    let told = server.run(
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
         SELECT coalesce(sum(calls) FILTER (WHERE query = 'COMMIT'), 0),
                coalesce(sum(calls) FILTER (WHERE query NOT LIKE '%pg_stat_statements%'), 0),
                pg_current_wal_insert_lsn() - '0/0'::pg_lsn FROM pg_stat_statements",
    );
    let last = told.lines().last().unwrap_or_default();
    let mut numbers = last.split('|').map(number);
    std::array::from_fn(|_| numbers.next().unwrap_or(f64::NAN))
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap_or(f64::NAN)
}

pub fn version(engine: Engine, server: &Server) -> String {
    let version = match engine {
        Engine::MariaDb => server.run("SELECT version()"),
        Engine::Postgres => server.run("SHOW server_version"),
    };
    version.trim().to_owned()
}

/// The rows and bytes, indexes and all, of the tables that grow.
pub fn tables(engine: Engine, server: &Server, database: &str) -> String {
    let rows = |table: &str| {
        let count = server.run_in(Some(database), &format!("SELECT count(*) FROM {table}"));
        count.trim().to_owned()
    };
    let size = |table: &str| match engine {
        Engine::MariaDb => {
            server.run_in(Some(database), &format!("ANALYZE TABLE {table}"));
            server.run(&format!(
                "SELECT data_length + index_length FROM information_schema.tables
                 WHERE table_schema = '{database}' AND table_name = '{table}'"
            ))
        }
        Engine::Postgres => server.run_in(
            Some(database),
            &format!("SELECT pg_total_relation_size('{table}')"),
        ),
    };
    ["requests", "audit", "counters"]
        .map(|table| {
            format!(
                "{table:>10} {:>8} rows {:>12} bytes\n",
                rows(table),
                size(table).trim()
            )
        })
        .concat()
}

/// Processor time of a process and of those that it started and that run.
fn cpu_seconds(pid: i32) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ticks = processes.filter_map(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        let of = process.file_name().to_str()?.parse::<i32>().ok()?;
        let parent = fields.get(1)?.parse::<i32>().ok()?;
        let spent = |at: usize| fields.get(at)?.parse::<f64>().ok();
        (of == pid || parent == pid)
            .then(|| spent(11).zip(spent(12)).map(|(user, system)| user + system))?
    });
    ticks.sum::<f64>() / TICKS_PER_SECOND
}
