use jiff::Timestamp;
use ostrakon_server::{Clock, admin::AskError, policy_engine::Registry, quota::AtQuota, setup};
use ostrakon_types::Period;

use super::Context;
use crate::{
    cli::{Format, RemoteArgs},
    commands::{config, remote},
    error::Failure,
};

pub(super) async fn run(
    context: &Context,
    registry: &Registry,
    args: &RemoteArgs,
) -> Result<(), Failure> {
    let listed = match remote::client(context, args)?.at_quota().await {
        Ok(listed) => listed,
        Err(AskError::NotRunning) => {
            let config = config(context)?;
            setup::at_quota_stopped(&context.home, &config, &Clock::system(), registry).await?
        }
        Err(error) => return Err(error.into()),
    };
    match context.format {
        Format::Human if listed.is_empty() => println!("no profile is at quota"),
        Format::Human => listed.iter().for_each(print),
        Format::Json | Format::Cef => {
            let text = serde_json::to_string(&listed);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    Ok(())
}

fn print(at: &AtQuota) {
    let profile = match &at.profile {
        Some(profile) => format!("{profile} ({})", at.words),
        None => "all profiles".to_owned(),
    };
    let resets_at = match Timestamp::from_millisecond(at.resets_at.0) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => at.resets_at.to_string(),
    };
    println!(
        "{profile}: {} of {} {} by `{}`, until {resets_at}",
        at.count,
        at.limit,
        per(at.period),
        at.rule_id
    );
}

fn per(period: Period) -> &'static str {
    match period {
        Period::Minute => "this minute",
        Period::Hour => "this hour",
        Period::Day => "today",
        Period::SlidingMinute => "within a minute",
        Period::SlidingHour => "within an hour",
        Period::SlidingDay => "within a day",
        _ => "",
    }
}
