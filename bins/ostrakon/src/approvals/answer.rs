use ostrakon_client::{BaseUrl, people::ApproveOptions};
use ostrakon_types::CeremonyId;
use serde_json::json;

use super::find;
use crate::{cli::Format, context::Context, error::Failure, show::line};

pub(crate) async fn approve(
    mut context: Context,
    id: &str,
    options: &ApproveOptions,
    relays: &[BaseUrl],
) -> Result<(), Failure> {
    let waiting = find(&mut context, id, relays).await?;
    context.workstation.approve(&waiting, options).await?;
    said(&context, waiting.id(), "approved");
    Ok(())
}

pub(crate) async fn deny(
    mut context: Context,
    id: &str,
    relays: &[BaseUrl],
) -> Result<(), Failure> {
    let waiting = find(&mut context, id, relays).await?;
    context.workstation.deny(&waiting).await?;
    said(&context, waiting.id(), "denied");
    Ok(())
}

fn said(context: &Context, id: CeremonyId, answer: &str) {
    match context.format {
        Format::Json => line(&json!({ "id": id, "answer": answer })),
        Format::Human => line(&format!("{answer}  {id}")),
    }
}
