use ostrakon_server::{
    Clock,
    admin::{AskError, Client},
    quota::ProfileName,
    setup,
};
use serde_json::json;

use super::Context;
use crate::{cli::Format, error::Failure};

/// Clears the quotas of these profiles, or of all where none is named.
pub(super) async fn run(context: &Context, profiles: Vec<ProfileName>) -> Result<(), Failure> {
    let client = Client::new(&context.home);
    let counters = match client.clear_quota(profiles.clone()).await {
        Ok(counters) => counters,
        Err(AskError::NotRunning) => {
            setup::clear_quota_stopped(&context.home, &profiles, &Clock::system()).await?
        }
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Human => println!("{counters} counters are at zero"),
        Format::Json | Format::Cef => println!("{}", json!({ "counters": counters })),
    }
    Ok(())
}
