//! Waiting for a profile's devices.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_client::people::{Relay, RelayedCeremony};
use ostrakon_server::{
    Clock,
    ceremony::{Ask, Asking, Convened, Fulfilled, OfServer, Progress, Stand},
};
use ostrakon_types::{ErrorChain, UnixMillis};
use serde_json::json;

use super::{Context, serve::told_to_stop};
use crate::{
    cli::{AskArgs, Format},
    error::{DENIED, Failure},
};

/// How often it is looked whether the time is up.
const TICK: Duration = Duration::from_secs(1);

/// Relays the ceremony to the profile's devices, and waits until it is approved or over.
pub(crate) async fn hold(
    asking: &mut impl Asking,
    args: &AskArgs,
    format: Format,
) -> Result<Stand, Failure> {
    let stop = told_to_stop()?;
    let relay = Relay::open(args.listen, now).await;
    let relay = relay.map_err(|error| {
        Failure::new(ErrorChain(&error).to_string())
            .hint("`--listen IP:PORT` takes another address")
    })?;
    let held = tokio::select! {
        held = wait(asking, &relay, format) => held,
        () = stop => Err(Failure::new("interrupted: nobody is asked any more")),
    };
    relay.close().await;
    held
}

async fn wait(asking: &mut impl Asking, relay: &Relay, format: Format) -> Result<Stand, Failure> {
    let convened = asking.convened().clone();
    let carried = relay.carry(RelayedCeremony {
        versions: convened.versions.clone(),
        id: convened.id,
        expires_at: convened.expires_at,
        notices: convened.notices.clone(),
    });
    carried.map_err(|error| Failure::new(error.to_string()))?;
    tell(&convened, relay, format);
    let mut taken = HashSet::new();
    loop {
        let answers = relay.answers().into_iter();
        let new = answers.filter(|answer| taken.insert(answer.to_bytes()));
        let progress = asking.take(new.collect()).await?;
        tell_progress(&progress, format);
        if !matches!(progress.stand, Stand::Open { .. }) {
            return Ok(progress.stand);
        }
        relay.changed(TICK).await;
    }
}

/// Has the server, running or not, ask its administrators' devices, and do what they approve. A backup key
/// counts once `keep` has kept it.
pub(crate) async fn of_server(
    context: &Context,
    ask: Ask,
    args: &AskArgs,
    keep: impl FnOnce(&Fulfilled) -> Result<(), Failure>,
) -> Result<Fulfilled, Failure> {
    let mut asking = OfServer::open(&context.home, &Clock::system(), ask).await?;
    let failure = match hold(&mut asking, args, context.format).await {
        Ok(Stand::Approved) => return asking.finish(keep).await,
        Ok(stand) => not_approved(stand),
        Err(failure) => failure,
    };
    // For the record alone.
    let _ = asking.give_up().await;
    Err(failure)
}

/// What a command fails with when its ceremony ended so.
pub(crate) fn not_approved(stand: Stand) -> Failure {
    match stand {
        Stand::Denied { by } => Failure::new(format!("device {by} denied it")).code(DENIED),
        _ => Failure::new("not enough devices approved in time").hint(
            "`ostrakon approvals list` on each device shows what waits, while the command waits",
        ),
    }
}

fn tell(convened: &Convened, relay: &Relay, format: Format) {
    let url = format!("http://{}", relay.address());
    if format != Format::Human {
        println!(
            "{}",
            json!({
                "event": "opened",
                "ceremony": convened.id,
                "title": convened.title,
                "needed": convened.needed,
                "expires_at": convened.expires_at,
                "words": convened.words,
                "relay": url,
            })
        );
        return;
    }
    eprintln!("waiting for approvals: {}", convened.title);
    for (label, text) in &convened.details {
        eprintln!("  {label:<10} {text}");
    }
    eprintln!("  {:<10} {}", "needs", convened.needed);
    let until = Timestamp::from_millisecond(convened.expires_at.0).unwrap_or_default();
    let until = until.to_zoned(TimeZone::system());
    eprintln!(
        "  {:<10} {}",
        "until",
        until.strftime("%Y-%m-%d %H:%M:%S %Z")
    );
    let id = convened.id;
    match &convened.words {
        Some(words) => {
            eprintln!("nobody can know who asks: each person must give these words, as shown here");
            eprintln!(
                "on each device: ostrakon approvals approve {id} --relay {url} --words '{words}'"
            );
        }
        None => eprintln!("on each device: ostrakon approvals approve {id} --relay {url}"),
    }
}

fn tell_progress(progress: &Progress, format: Format) {
    for device in &progress.answered {
        match format {
            Format::Human => eprintln!("answered: {device}"),
            _ => println!("{}", json!({ "event": "answered", "device": device })),
        }
    }
    for why in &progress.refused {
        eprintln!("warning: an answer does not count: {why}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a binary is where the wall clock is read"
)]
fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
