//! A key shard server that knows one rule more than the bundled ones.
//!
//! Make its home with `keyserver --home HOME create`, and name the rule in `HOME/keyserver.yml`.

use std::{env, error::Error};

use ostrakon_server::{Clock, Config, Home, Server, policy_engine::Registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let home = Home::new(
        env::args_os()
            .nth(1)
            .ok_or("usage: server-with-rule HOME")?,
    );
    let config = Config::load(&home.read_config()?, |name| env::var(name).ok())?;
    let mut registry = Registry::bundled();
    custom_rule::register(&mut registry)?;
    let server = Server::build_with(home, &config, Clock::system(), registry).await?;
    eprintln!("serving on {}", server.address()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    server.run(stop).await;
    Ok(())
}
