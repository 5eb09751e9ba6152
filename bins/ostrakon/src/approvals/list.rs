use ostrakon_client::{BaseUrl, people::PendingApproval};
use serde_json::json;

use super::{pending, show::expiry};
use crate::{cli::Format, context::Context, error::Failure, show::line};

pub(crate) async fn run(mut context: Context, relays: &[BaseUrl]) -> Result<(), Failure> {
    for waiting in pending(&mut context, relays).await? {
        one(&waiting, context.format);
    }
    Ok(())
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
