mod clear;
mod list;

use ostrakon_server::policy_engine::Registry;

use super::Context;
use crate::{cli::QuotaCommand, error::Failure};

pub(crate) async fn run(
    context: &Context,
    command: QuotaCommand,
    registry: &Registry,
) -> Result<(), Failure> {
    match command {
        QuotaCommand::List => list::run(context, registry).await,
        QuotaCommand::Clear { profile, .. } => clear::run(context, profile).await,
    }
}
