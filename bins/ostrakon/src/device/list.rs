use ostrakon_client::people::Card;
use serde_json::json;

use crate::{cli::Format, context::Context, error::Failure, profile::show::kind, show::line};

pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let context = context.with_profile().await?;
    let view = context.workstation.profile();
    let view = view.ok_or_else(Failure::no_profile)?;
    for card in &view.profile.version().devices {
        one(&context, card);
    }
    Ok(())
}

/// One device, as all commands on devices show it.
pub(super) fn one(context: &Context, card: &Card) {
    let view = context.workstation.profile();
    let this = view.is_some_and(|view| view.device == card);
    let (id, kind) = (card.id(), kind(card.kind));
    match context.format {
        Format::Json => line(&json!({ "id": id, "kind": kind, "name": card.name, "this": this })),
        Format::Human => {
            let this = if this { " (this device)" } else { "" };
            line(&format!("{id}  {kind:<11}  {}{this}", card.name));
        }
    }
}
