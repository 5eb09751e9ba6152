mod clear;
mod list;

use ostrakon_server::policy_engine::Registry;

use super::Context;
use crate::{
    cli::{AskArgs, QuotaCommand},
    error::Failure,
};

pub(crate) async fn run(
    context: &Context,
    command: QuotaCommand,
    registry: &Registry,
) -> Result<(), Failure> {
    match command {
        QuotaCommand::List { remote } => list::run(context, registry, &remote).await,
        QuotaCommand::Clear {
            profile,
            administrators,
            wait,
            remote,
            ..
        } => {
            let ask = AskArgs {
                profile: administrators,
                wait,
            };
            clear::run(context, profile, &ask, &remote).await
        }
    }
}
