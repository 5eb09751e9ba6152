use ostrakon_client::{
    BaseUrl,
    people::{Generation, Question, Requester},
};
use ostrakon_types::{ErrorChain, UnixMillis};
use serde_json::json;

use super::find;
use crate::{
    cli::Format,
    context::Context,
    error::{Failure, local_time},
    show::line,
};

pub(crate) async fn run(mut context: Context, id: &str, relays: &[BaseUrl]) -> Result<(), Failure> {
    let waiting = find(&mut context, id, relays).await?;
    let newer = context.workstation.newer_backup(&waiting.question);
    let unheard = context.workstation.unheard_backup(&waiting.question);
    let path = context.workstation.asked_path(&waiting.question);
    let path =
        path.map(|path| path.unwrap_or_else(|error| format!("UNKNOWN: {}", ErrorChain(&error))));
    match context.format {
        Format::Json => json(&waiting.question, newer, unheard, path),
        Format::Human => human(&waiting.question, newer, unheard, path),
    }
    Ok(())
}

fn human(
    question: &Question,
    newer: Option<Generation>,
    unheard: Option<Generation>,
    path: Option<String>,
) {
    let ceremony = question.ceremony();
    let shown = question.description();
    line(&format!("asks to    {}", shown.title));
    for (label, text) in &shown.details {
        line(&format!("{label:<10} {text}"));
    }
    if let Some(path) = path {
        // It is text from a file: no sign of it may move the cursor.
        line(&format!("path       {}", path.escape_debug()));
    }
    line(&format!("profile    {}", question.profile().version().name));
    line(&format!("asked by   {}", requester(question)));
    line(&format!("needs      {} approvals", ceremony.threshold));
    line(&format!("until      {}", expiry(ceremony.expires_at)));
    line(&format!("id         {}", ceremony.id));
    if let Some(newer) = newer {
        line(&format!("OUT OF DATE: a newer one was made, {newer}"));
    } else if let Some(unheard) = unheard {
        line(&format!(
            "MAY BE OUT OF DATE: this device approved a newer one, {unheard}, and has not heard whether it was made"
        ));
    }
    if question.must_compare() {
        line(&"NOBODY KNOWS WHO ASKS: the machine shows eight words; give them with `--words`");
    }
}

fn json(
    question: &Question,
    newer: Option<Generation>,
    unheard: Option<Generation>,
    path: Option<String>,
) {
    let ceremony = question.ceremony();
    let shown = question.description();
    let details = shown
        .details
        .iter()
        .map(|(label, text)| json!([label, text]));
    line(&json!({
        "id": ceremony.id,
        "kind": ceremony.subject.kind(),
        "title": shown.title,
        "details": details.collect::<Vec<_>>(),
        "path": path,
        "profile": ceremony.profile,
        "requester": requester(question),
        "needed": ceremony.threshold,
        "newer_backup": newer.map(|newer| newer.to_string()),
        "unheard_backup": unheard.map(|unheard| unheard.to_string()),
        "must_compare": question.must_compare(),
        "opened_at": ceremony.opened_at,
        "expires_at": ceremony.expires_at,
    }));
}

fn requester(question: &Question) -> String {
    match &question.ceremony().requester {
        Requester::Device(id) => match question.profile().member(id) {
            Some(card) => format!("{} ({id})", card.name),
            None => id.to_string(),
        },
        Requester::Server(record) => format!("key shard server {}", record.kss_id()),
        Requester::Machine(card) => format!("unknown machine {} ({})", card.name, card.id()),
    }
}

pub(super) fn expiry(at: UnixMillis) -> String {
    local_time(at)
}
