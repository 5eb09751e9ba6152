use ostrakon_server::{
    Clock,
    admin::AskError,
    ceremony::{Administer, Administered},
    quota::ProfileName,
    setup,
};
use serde_json::json;

use super::Context;
use crate::{
    cli::{AskArgs, Format, RemoteArgs},
    commands::{ceremony, config, remote},
    error::Failure,
};

/// Clears the quotas of these profiles, or of all where none is named.
pub(super) async fn run(
    context: &Context,
    profiles: Vec<ProfileName>,
    ask: &AskArgs,
    args: &RemoteArgs,
) -> Result<(), Failure> {
    let client = remote::client(context, args)?;
    let counters = match client.clear_quota(profiles.clone()).await {
        Ok(counters) => counters,
        Err(AskError::NotRunning) if !config(context)?.admin_quorum => {
            setup::clear_quota_stopped(&context.home, &profiles, &Clock::system()).await?
        }
        Err(error) if error.may_be_approved() => {
            let asked = Administer::ClearQuota { profiles };
            match ceremony::administer(context, client, asked, ask).await? {
                Administered::QuotaCleared { counters } => counters,
                _ => return Err(ceremony::another()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Human => println!("{counters} counters are at zero"),
        Format::Json | Format::Cef => println!("{}", json!({ "counters": counters })),
    }
    Ok(())
}
