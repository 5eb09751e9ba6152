use ostrakon_server::{
    Clock,
    admin::{AskError, Client},
    setup,
};
use serde_json::json;

use super::Context;
use crate::{cli::Format, error::Failure};

pub(crate) async fn run(context: &Context, enabled: bool) -> Result<(), Failure> {
    let running = match Client::new(&context.home).set_enabled(enabled).await {
        Ok(()) => true,
        Err(AskError::NotRunning) => {
            setup::set_enabled_stopped(&context.home, enabled, &Clock::system()).await?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Json | Format::Cef => {
            println!("{}", json!({ "enabled": enabled, "running": running }))
        }
        Format::Human => {
            println!(
                "key shard server {}",
                if enabled { "enabled" } else { "disabled" }
            );
        }
    }
    if !running {
        eprintln!("It does not run now; this holds from its next start.");
    }
    Ok(())
}
