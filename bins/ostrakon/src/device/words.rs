use ostrakon_client::people::{ChangeOptions, RecoveryWords};
use serde_json::json;

use crate::{
    cli::Format,
    context::Context,
    error::Failure,
    person::{Terminal, read_line},
    show::{aside, line},
};

pub(crate) async fn add(context: Context, options: &ChangeOptions) -> Result<(), Failure> {
    let mut context = context.with_profile().await?;
    let mut person = Terminal::new(context.format);
    let words = context.workstation.add_words(options, &mut person).await?;
    let text = words.to_text();
    match context.format {
        Format::Json => line(&json!({ "device": words.card().id(), "words": &**text })),
        Format::Human => {
            aside(
                "note: write these words down now. They are stored nowhere, and whoever has them is",
            );
            aside("note: this device of your profile.");
            line(&*text);
        }
    }
    Ok(())
}

pub(crate) fn load(mut context: Context) -> Result<(), Failure> {
    aside("enter the 24 words, on one line:");
    let text = read_line().map_err(|error| Failure::input(&error))?;
    let words = RecoveryWords::parse(&text)?;
    context.workstation.load_words(&words)?;
    let card = words.card();
    match context.format {
        Format::Json => line(&json!({ "id": card.id(), "name": card.name })),
        Format::Human => {
            line(&format!("{}  {}", card.id(), card.name));
            aside(
                "hint: `ostrakon device link` on another device of the profile, then `ostrakon device join` here",
            );
        }
    }
    Ok(())
}
