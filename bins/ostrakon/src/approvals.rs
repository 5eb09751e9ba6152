mod answer;
mod list;
mod show;
mod watch;

use ostrakon_client::{
    BaseUrl,
    people::{Approvals, ApproveOptions, PendingApproval},
};

use crate::{cli::ApprovalsCommand, context::Context, error::Failure};

pub(crate) async fn run(context: Context, command: ApprovalsCommand) -> Result<(), Failure> {
    let context = context.with_profile().await?;
    match command {
        ApprovalsCommand::List { relays } => list::run(context, &relays.relay).await,
        ApprovalsCommand::Show { id, relays } => show::run(context, &id, &relays.relay).await,
        ApprovalsCommand::Approve {
            id,
            words,
            old_backup,
            sha256,
            relays,
        } => {
            let options = ApproveOptions {
                words,
                old_backup,
                policy: sha256,
            };
            answer::approve(context, &id, &options, &relays.relay).await
        }
        ApprovalsCommand::Deny { id, relays } => answer::deny(context, &id, &relays.relay).await,
        ApprovalsCommand::Watch { relays } => watch::run(context, &relays.relay).await,
    }
}

/// The one whose id begins so.
async fn find(
    context: &mut Context,
    id: &str,
    relays: &[BaseUrl],
) -> Result<PendingApproval, Failure> {
    let Approvals {
        pending,
        refused,
        away,
        ..
    } = context.workstation.approvals(relays).await?;
    let fits = |waiting: &PendingApproval| waiting.id().to_string().starts_with(id);
    let mut fitting = pending.into_iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) if !id.is_empty() => Ok(only),
        (Some(_), _) => Err(Failure::ambiguous_approval(id)),
        (None, _) if context.workstation.has_answered(id) => Err(Failure::already_answered(id)),
        (None, _) => Err(
            match refused
                .iter()
                .find(|why| why.starts_with(id) && !id.is_empty())
            {
                Some(why) => Failure::refused_approval(why),
                // What is asked about may wait there.
                None => match away.into_iter().next() {
                    Some(away) => Failure::away(&away),
                    None => Failure::no_such_approval(id),
                },
            },
        ),
    }
}
