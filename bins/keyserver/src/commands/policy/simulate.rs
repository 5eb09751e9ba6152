use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use ostrakon_server::{
    policy_engine::{Registry, simulate::simulate},
    setup,
};
use ostrakon_types::UnixMillis;

use super::{Context, policy_in, zone};
use crate::{cli::Format, error::Failure, since::Since};

/// How far back quotas reach: a sliding day, and the clock's longest.
const BEFORE: SignedDuration = SignedDuration::from_hours(26);

pub(super) async fn run(
    context: &Context,
    file: &Path,
    since: Since,
    registry: &Registry,
) -> Result<(), Failure> {
    let zone = zone(context)?;
    let policy = policy_in(file, &zone, registry)?;
    let since = since.instant(&zone);
    let from = since.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
    let requests =
        setup::recorded_requests(&context.home, UnixMillis(from.as_millisecond())).await?;
    let requests = requests.into_iter().map(|request| request.recorded);
    let simulation = simulate(&policy, requests, since);
    match context.format {
        Format::Human => println!("{simulation}"),
        Format::Json | Format::Cef => {
            let text = serde_json::to_string(&simulation);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    Ok(())
}
