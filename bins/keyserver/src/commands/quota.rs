mod clear;
mod list;

use super::Context;
use crate::{cli::QuotaCommand, error::Failure};

pub(crate) async fn run(context: &Context, command: QuotaCommand) -> Result<(), Failure> {
    match command {
        QuotaCommand::List => list::run(context).await,
        QuotaCommand::Clear { profile, .. } => clear::run(context, profile).await,
    }
}
