use std::path::Path;

use jiff::Timestamp;
use ostrakon_server::{
    Clock,
    policy_engine::{Registry, simulate::simulate},
    setup,
};

use super::{Context, policy_in, zone};
use crate::{cli::Format, error::Failure, moment::Moment};

/// How far back quotas reach, in milliseconds: a sliding day, and the clock's longest.
const BEFORE: i64 = 26 * 60 * 60 * 1000;

pub(super) async fn run(
    context: &Context,
    file: &Path,
    since: Moment,
    registry: &Registry,
) -> Result<(), Failure> {
    let zone = zone(context)?;
    let policy = policy_in(file, &zone, registry)?;
    let since = since.instant(Clock::system().now(), &zone);
    let requests = setup::recorded_requests(&context.home, since.plus(-BEFORE)).await?;
    let since = Timestamp::from_millisecond(since.0).unwrap_or(Timestamp::MAX);
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
