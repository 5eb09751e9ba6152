//! Waiting for a profile's devices, and what waits.

mod list;
mod show;

use std::{
    collections::HashSet,
    fmt::Display,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_client::people::{Relay, RelayedCeremony};
use ostrakon_server::{
    Clock,
    admin::{AskError, Client},
    ceremony::{
        Administer, Administered, Ask, Asking, ConveneError, Convened, Fulfilled, Listed, OfServer,
        Operation, Progress, Stand, cancel, cancel_at, list, list_at,
    },
};
use ostrakon_types::{ErrorChain, UnixMillis};
use serde_json::json;
use tokio::time::sleep;

use super::{Context, administrators, remote, serve::told_to_stop};
use crate::{
    cli::{AskArgs, CeremonyCommand, Format, RemoteArgs},
    error::{DENIED, Failure},
};

/// How often it is looked whether the time is up.
const TICK: Duration = Duration::from_secs(1);

/// Shows or ends what waits at the server of this home.
pub(crate) async fn run(context: &Context, command: CeremonyCommand) -> Result<(), Failure> {
    match command {
        CeremonyCommand::List { remote } => {
            list::run(&all(context, &remote).await?, context.format)
        }
        CeremonyCommand::Show { id, remote } => {
            show::run(&find(context, &remote, &id).await?, context.format)
        }
        CeremonyCommand::Cancel { id, remote } => {
            let found = find(context, &remote, &id).await?;
            match remote.server {
                Some(_) => cancel_at(&remote::client(context, &remote)?, found.id).await?,
                None => cancel(&context.home, &Clock::system(), found.id).await?,
            }
            match context.format {
                Format::Human => println!("cancelled  {}", found.id),
                _ => println!("{}", json!({ "id": found.id, "cancelled": true })),
            }
            Ok(())
        }
    }
}

/// All that wait, here or far away.
async fn all(context: &Context, args: &RemoteArgs) -> Result<Vec<Listed>, Failure> {
    Ok(match args.server {
        Some(_) => list_at(&remote::client(context, args)?).await?,
        None => list(&context.home, &Clock::system()).await?,
    })
}

/// The one whose id begins so.
async fn find(context: &Context, args: &RemoteArgs, id: &str) -> Result<Listed, Failure> {
    let all = all(context, args).await?;
    let mut fitting = all
        .into_iter()
        .filter(|listed| listed.id.to_string().starts_with(id));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) if !id.is_empty() => Ok(only),
        (Some(_), _) => Err(Failure::new(format!("more than one id begins with `{id}`"))),
        (None, _) => Err(
            Failure::new(format!("no ceremony that waits has the id `{id}`"))
                .hint("`keyserver ceremony list` lists what waits"),
        ),
    }
}

/// Relays the ceremony to the profile's devices, and waits until it is approved or over. Where a running
/// server relays it, too, this command's own relay may be missing.
pub(crate) async fn hold(
    asking: &mut impl Asking,
    args: &AskArgs,
    format: Format,
) -> Result<Stand, Failure> {
    let stop = told_to_stop()?;
    let relay = match Relay::open(args.wait.listen, now).await {
        Ok(relay) => Some(relay),
        Err(_) if asking.is_served() => None,
        Err(error) => {
            return Err(Failure::new(ErrorChain(&error).to_string())
                .hint("`--listen IP:PORT` takes another address"));
        }
    };
    let held = tokio::select! {
        held = wait(asking, relay.as_ref(), format) => held,
        () = stop => Err(Failure::new("interrupted: nobody is asked any more")),
    };
    if let Some(relay) = relay {
        relay.close().await;
    }
    held
}

async fn wait(
    asking: &mut impl Asking,
    relay: Option<&Relay>,
    format: Format,
) -> Result<Stand, Failure> {
    let convened = asking.convened().clone();
    if let Some(relay) = relay {
        let carried = relay.carry(RelayedCeremony {
            versions: convened.versions.clone(),
            id: convened.id,
            expires_at: convened.expires_at,
            notices: convened.notices.clone(),
        });
        carried.map_err(|error| Failure::new(error.to_string()))?;
    }
    tell(&convened, relay, asking.is_served(), format);
    let mut taken = HashSet::new();
    loop {
        let answers = relay.map(Relay::answers).unwrap_or_default().into_iter();
        let new = answers.filter(|answer| taken.insert(answer.to_bytes()));
        let progress = asking.take(new.collect()).await?;
        tell_progress(&progress, format);
        if !matches!(progress.stand, Stand::Open { .. }) {
            return Ok(progress.stand);
        }
        match relay {
            Some(relay) => relay.changed(TICK).await,
            None => sleep(TICK).await,
        }
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
    let asking = OfServer::open(&context.home, &Clock::system(), ask).await?;
    carry(context, asking, args, keep).await
}

/// Has a server do what its operator may not do alone: the one that `client` asks or, where none runs, the
/// one in the home.
pub(crate) async fn administer(
    context: &Context,
    client: Client,
    asked: Administer,
    args: &AskArgs,
) -> Result<Administered, Failure> {
    let mut ask = Ask {
        operation: Operation::Administer(asked),
        profile: administrators::profile(args)?,
        wait_ms: args.wait.wait_ms(),
    };
    let opened = match open(context, &client, &ask).await {
        // The workstation here is nobody's who decides there. Whose devices do, the server knows.
        Err(error) if args.profile.is_none() && error.is_of_another_profile() => {
            ask.profile.clear();
            open(context, &client, &ask).await
        }
        opened => opened,
    };
    match carry(context, opened?, args, |_| Ok(())).await? {
        Fulfilled::Administered(done) => Ok(done),
        _ => Err(another()),
    }
}

async fn open(context: &Context, client: &Client, ask: &Ask) -> Result<OfServer, ConveneError> {
    match OfServer::open_at(client.clone(), ask).await {
        Err(ConveneError::Ask(AskError::NotRunning)) => {
            OfServer::open(&context.home, &Clock::system(), ask.clone()).await
        }
        opened => opened,
    }
}

/// What is said when the server did something else than was asked.
pub(crate) fn another() -> Failure {
    Failure::new("the server did something else than was asked")
}

async fn carry(
    context: &Context,
    mut asking: OfServer,
    args: &AskArgs,
    keep: impl FnOnce(&Fulfilled) -> Result<(), Failure>,
) -> Result<Fulfilled, Failure> {
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
        Stand::Cancelled => {
            Failure::new("it was cancelled, by `keyserver ceremony cancel` or `keyserver disable`")
                .code(DENIED)
        }
        _ => Failure::new("not enough devices approved in time").hint(
            "`ostrakon approvals list` on each device shows what waits, while the command waits; where the \
             profile has changed since, name it as it is now with `--profile CARD`",
        ),
    }
}

fn tell(convened: &Convened, relay: Option<&Relay>, served: bool, format: Format) {
    let url = relay.map(|relay| format!("http://{}", relay.address()));
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
                "served": served,
            })
        );
        return;
    }
    eprintln!("waiting for approvals: {}", convened.title);
    for (label, text) in &convened.details {
        eprintln!("  {label:<10} {text}");
    }
    eprintln!("  {:<10} {}", "needs", convened.needed);
    eprintln!("  {:<10} {}", "until", local_time(convened.expires_at));
    let words = convened.words.as_ref().map_or_else(String::new, |words| {
        eprintln!("nobody can know who asks: each person must give these words, as shown here");
        format!(" --words '{words}'")
    });
    let id = convened.id;
    let at = url.map_or_else(String::new, |url| format!(" --relay {url}"));
    if served && !at.is_empty() {
        eprintln!("(without `--relay` on a device that knows this server)");
    }
    eprintln!("on each device: ostrakon approvals approve {id}{at}{words}");
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

/// A time as people here read it.
pub(crate) fn local_time(at: UnixMillis) -> impl Display {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %Z")
        .to_string()
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
