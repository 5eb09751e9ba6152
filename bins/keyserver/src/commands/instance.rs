use jiff::Timestamp;
use ostrakon_server::instances::{self, Instance};

use serde_json::json;

use super::Context;
use crate::{
    cli::{Format, InstanceCommand},
    error::Failure,
};

pub(crate) async fn run(context: &Context, command: InstanceCommand) -> Result<(), Failure> {
    match command {
        InstanceCommand::List => list(context).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let listed = instances::list(&context.home).await?;
    match context.format {
        Format::Json | Format::Cef => println!("{}", json!({ "instances": listed })),
        Format::Human if listed.is_empty() => {
            eprintln!("The database is a file of this machine: there is one instance, this one.");
        }
        Format::Human => {
            println!(
                "{:<32}  {:<7}  {:<10}  {:>6}  {:<23}  NAME",
                "INSTANCE", "STATE", "VERSION", "POLICY", "LAST SEEN"
            );
            for instance in &listed {
                print(instance);
            }
        }
    }
    Ok(())
}

fn print(instance: &Instance) {
    let Instance {
        id,
        name,
        online,
        version,
        policy_version,
        last_seen,
        ..
    } = instance;
    let state = if *online { "Online" } else { "Offline" };
    let seen = match Timestamp::from_millisecond(last_seen.0) {
        Ok(seen) => seen.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => "never".to_owned(),
    };
    println!("{id}  {state:<7}  {version:<10}  {policy_version:>6}  {seen:<23}  {name}");
}
