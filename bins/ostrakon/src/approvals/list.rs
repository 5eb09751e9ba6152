use ostrakon_client::{BaseUrl, people::PendingApproval};
use serde_json::json;

use super::show::expiry;
use crate::{
    cli::Format,
    context::Context,
    error::Failure,
    show::{aside, line},
};

pub(crate) async fn run(mut context: Context, relays: &[BaseUrl]) -> Result<(), Failure> {
    let found = context.workstation.approvals(relays).await?;
    for why in &found.refused {
        aside(&format!("warning: this device does not answer {why}"));
    }
    for waiting in &found.pending {
        one(waiting, context.format);
    }
    // What waits elsewhere is shown all the same.
    found
        .away
        .first()
        .map_or(Ok(()), |away| Err(Failure::away(away)))
}

/// One line for what waits.
pub(super) fn one(waiting: &PendingApproval, format: Format) {
    let ceremony = waiting.question.ceremony();
    let title = waiting.question.description().title;
    match format {
        Format::Json => line(&json!({
            "id": ceremony.id,
            "kind": ceremony.subject.kind(),
            "title": title,
            "expires_at": ceremony.expires_at,
        })),
        Format::Human => line(&format!(
            "{}  {title}  (until {})",
            ceremony.id,
            expiry(ceremony.expires_at)
        )),
    }
}
