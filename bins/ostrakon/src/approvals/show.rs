use ostrakon_client::{
    BaseUrl,
    people::{Generation, PolicyChange, Question, Requester},
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
    let change = context.workstation.policy_change(&waiting.question);
    let shown = Shown {
        newer,
        unheard,
        path,
        change,
    };
    match context.format {
        Format::Json => json(&waiting.question, shown),
        Format::Human => human(&waiting.question, shown),
    }
    Ok(())
}

/// What this device knows of what is asked, beside what the question says.
struct Shown {
    newer: Option<Generation>,
    unheard: Option<Generation>,
    path: Option<String>,
    change: Option<PolicyChange>,
}

fn human(question: &Question, known: Shown) {
    let ceremony = question.ceremony();
    let shown = question.description();
    line(&format!("asks to    {}", shown.title));
    for (label, text) in &shown.details {
        line(&format!("{label:<10} {text}"));
    }
    if let Some(path) = known.path {
        // It is text from a file: no sign of it may move the cursor.
        line(&format!("path       {}", path.escape_debug()));
    }
    line(&format!("profile    {}", question.profile().version().name));
    line(&format!("asked by   {}", requester(question)));
    line(&format!("needs      {} approvals", ceremony.threshold));
    line(&format!("until      {}", expiry(ceremony.expires_at)));
    line(&format!("id         {}", ceremony.id));
    if let Some(newer) = known.newer {
        line(&format!("OUT OF DATE: a newer one was made, {newer}"));
    } else if let Some(unheard) = known.unheard {
        line(&format!(
            "MAY BE OUT OF DATE: this device approved a newer one, {unheard}, and has not heard whether it was made"
        ));
    }
    if question.must_compare() {
        line(&"NOBODY KNOWS WHO ASKS: the machine shows eight words; give them with `--words`");
    }
    if let Some(change) = known.change {
        policy(&change);
    }
}

/// The lines by which a policy differs from the one in force.
fn policy(change: &PolicyChange) {
    match change {
        PolicyChange::Shown { lines, left_out } => {
            if lines.is_empty() && *left_out == 0 {
                line(&"the policy has the text that is in force");
            }
            for changed in lines {
                line(changed);
            }
            if *left_out > 0 {
                line(&format!(
                    "NOT ALL IS SHOWN: {left_out} more lines differ; compare the SHA-256 with that of a file that \
                     you have read, and approve with `--sha256`"
                ));
            }
        }
        _ => line(
            &"THE POLICY IS NOT SHOWN: it is too long; compare the SHA-256 with that of a file that you have read, and \
              approve with `--sha256`",
        ),
    }
}

fn json(question: &Question, known: Shown) {
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
        "path": known.path,
        "policy": known.change.map(|change| match change {
            PolicyChange::Shown { lines, left_out } => json!({ "lines": lines, "left_out": left_out }),
            _ => json!({ "lines": null, "left_out": null }),
        }),
        "profile": ceremony.profile,
        "requester": requester(question),
        "needed": ceremony.threshold,
        "newer_backup": known.newer.map(|newer| newer.to_string()),
        "unheard_backup": known.unheard.map(|unheard| unheard.to_string()),
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
