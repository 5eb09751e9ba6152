use std::{fs, net::Ipv4Addr};

use ostrakon_server::{Clock, Config, Home, Name, Server, setup};

use super::serve::told_to_stop;
use crate::error::Failure;

/// Approves everything: what a developer wants first.
const POLICY: &str = "\
decrypt: [[{rule: approve-rule}]]
search: [[{rule: approve-rule}]]
rename: [[{rule: approve-rule}]]
secure_export: [[{rule: approve-rule}]]
start_session: [[{rule: approve-rule}]]
";

pub(crate) async fn run() -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("keyserver-dev-")
        .tempdir()
        .map_err(|error| Failure::new(format!("cannot make a folder: {error}")))?;
    let home = Home::new(folder.path());
    let name = Name::new("dev").map_err(|error| Failure::new(error.to_string()))?;
    let keyserver = setup::create(&home, name, None, &Clock::system()).await?;
    fs::write(home.policy(), POLICY).map_err(Failure::file(&home.policy()))?;
    let mut config = Config::default();
    config.listen = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Server::build(home.clone(), &config, Clock::system()).await?;
    let address = server
        .address()
        .map_err(|error| Failure::new(error.to_string()))?;
    let id = keyserver.kss_id();
    // Before anybody is told that it serves: who hears that may stop it.
    let stop = told_to_stop()?;
    println!("A throw-away key shard server that approves everything. Ctrl-C ends and removes it.");
    println!();
    println!("  id    {id}");
    println!("  url   http://{address}");
    println!("  home  {}", folder.path().display());
    println!();
    println!("Try it from another terminal:");
    println!();
    println!("  export OSTRAKON_HOME=$(mktemp -d)");
    println!(
        "  ostrakon profile keyserver-onboard --keyserver-id {id} --keyserver-url http://{address}"
    );
    println!("  vault=$(mktemp -d) && echo hello > $vault/hello.txt");
    println!("  ostrakon folder create $vault --name vault");
    println!("  ostrakon encrypt --remove $vault/hello.txt");
    println!("  ostrakon decrypt $vault/hello.txt.age");
    println!();
    println!("Its policy, state and audit log are in its home; for its commands:");
    println!();
    println!("  keyserver --home {} status", folder.path().display());
    server.run(stop).await;
    Ok(())
}
