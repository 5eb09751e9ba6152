//! What a decision costs the database that instances share.

mod counted;
mod proxy;
mod room;

use std::error::Error;

use clap::Parser;
use ostrakon_testdb::{Engine, Server};

use crate::{counted::Counted, proxy::Proxy, room::Room};

pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Counts what decisions cost a shared database.
#[derive(Parser)]
struct Options {
    /// How many requests of one item are asked for at once.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,256")]
    batch: Vec<usize>,
    /// How often, for each of these numbers.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Over how many profiles, with a quota each, the requests are spread.
    #[arg(long, default_value_t = 10_000)]
    profiles: u64,
}

fn main() -> Outcome {
    let options = Options::parse();
    for (engine, name, settings) in [
        (Engine::MariaDb, "MariaDB", &[][..]),
        (
            Engine::Postgres,
            "PostgreSQL",
            &["shared_preload_libraries=pg_stat_statements"][..],
        ),
    ] {
        let server = Server::start(engine, settings);
        println!("{name}, {}", counted::version(engine, &server));
        println!(
            "{:>7} {:>12} {:>11} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "waiting",
            "commits",
            "statements",
            "round trips",
            "sent",
            "received",
            "log",
            "CPU",
            "each"
        );
        for &batch in &options.batch {
            row(engine, &server, &options, batch)?;
        }
        println!();
    }
    Ok(())
}

/// Measures one size in a database of its own, and the tables that it leaves.
fn row(engine: Engine, server: &Server, options: &Options, batch: usize) -> Outcome {
    let uri = server.database();
    let database = uri.rsplit(['=', '/']).next().ok_or("no name")?;
    let proxy = Proxy::to(server.port())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let room = Room::create(&server.uri_at(database, proxy.port())).await?;
        // Connections, prepared statements, and a counter for most of the profiles.
        room.settle(batch, 20, options.profiles).await?;
        let before = Counted::now(engine, server, &proxy);
        // Looking costs something, too.
        let looked = Counted::now(engine, server, &proxy).since(&before);
        let start = Counted::now(engine, server, &proxy);
        let seconds = room.settle(batch, options.rounds, options.profiles).await?;
        let counted = Counted::now(engine, server, &proxy).since(&start).since(&looked);
        let decisions = (batch * options.rounds) as f64;
        let rounds = options.rounds as f64;
        println!(
            "{batch:>7} {:>12.2} {:>11.2} {:>12.2} {:>10.0} {:>10.0} {:>10.0} {:>7.0} µs {:>7.0} µs",
            counted.commits / rounds,
            counted.statements / rounds,
            counted.round_trips / rounds,
            counted.sent / decisions,
            counted.received / decisions,
            counted.log / decisions,
            counted.cpu * 1e6 / decisions,
            seconds * 1e6 / decisions,
        );
        room.close().await;
        Outcome::Ok(())
    })?;
    if Some(&batch) == options.batch.last() {
        let decisions = batch * (options.rounds + 20);
        println!("tables after {decisions} decisions:");
        print!("{}", counted::tables(engine, server, database));
    }
    Ok(())
}
