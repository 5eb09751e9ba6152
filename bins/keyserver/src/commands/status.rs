use ostrakon_server::{
    admin::{AskError, Client, RunState, Status},
    setup,
};

use super::Context;
use crate::{cli::Format, error::Failure};

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let status = match Client::new(&context.home).status().await {
        Ok(status) => status,
        Err(AskError::NotRunning) => setup::stopped_status(&context.home).await?,
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Human => print(&status),
        Format::Json => {
            let text = serde_json::to_string(&status);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    Ok(())
}

fn print(status: &Status) {
    let state = match status.state {
        RunState::Enabled => "enabled",
        RunState::Disabled => "disabled",
        RunState::Stopped => "stopped",
    };
    println!("id         {}", status.kss_id);
    println!("name       {}", status.name);
    println!("state      {state}");
    if let Some(reason) = &status.not_ready {
        println!("not ready  {reason}");
    }
    match status.policy_version {
        Some(version) => println!("policy     version {version}"),
        None => println!("policy     none yet: `keyserver.yml` is loaded when the server starts"),
    }
    println!("profiles   {}", status.profiles);
    println!("database   {}", status.database);
    println!("protector  {}", status.protector);
    if let Some(generation) = &status.generation {
        println!("generation {generation}");
    }
    println!("instance   {}", status.instance);
    println!("version    {}", status.version);
}
