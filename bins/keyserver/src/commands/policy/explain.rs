use std::path::Path;

use jiff::Timestamp;
use ostrakon_server::{
    Clock,
    policy_engine::suite::Question,
    read_text,
    setup::{self, AuditedRequest},
};
use ostrakon_types::{RequestId, UnixMillis};

use super::{Context, policy_in, zone};
use crate::{cli::Format, error::Failure};

pub(super) async fn run(
    context: Result<Context, Failure>,
    policy: Option<&Path>,
    request: &str,
    format: Format,
) -> Result<(), Failure> {
    let context = context?;
    let file = Path::new(request);
    let questions = if file.exists() {
        vec![question(file)?]
    } else if let Ok(id) = request.parse::<RequestId>() {
        recorded(&context, id).await?
    } else {
        let message = format!("`{request}` is neither a file nor the id of a request");
        return Err(Failure::new(message));
    };
    let home = context.home.policy();
    let policy = policy_in(policy.unwrap_or(&home), &zone(&context)?)?;
    let mut explanations = Vec::new();
    for Question { at, request, .. } in questions {
        let now = Timestamp::from_millisecond(Clock::system().now().0);
        let now = at.map_or(now, Ok);
        let now = now.map_err(|error| Failure::new(error.to_string()))?;
        explanations.push(policy.explain(&request, now));
    }
    match format {
        Format::Human => explanations.iter().for_each(|each| println!("{each}")),
        Format::Json | Format::Cef => {
            let text = serde_json::to_string(&explanations);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    Ok(())
}

fn question(file: &Path) -> Result<Question, Failure> {
    let text = read_text(file).map_err(Failure::file(file))?;
    Question::from_str(&file.display().to_string(), &text)
        .map_err(|error| Failure::new(error.to_string()))
}

/// The items of a request in the audit log. What was recorded of a denial is printed to standard error.
async fn recorded(context: &Context, id: RequestId) -> Result<Vec<Question>, Failure> {
    let requests = setup::recorded_requests(&context.home, UnixMillis(0)).await?;
    let items = requests.into_iter().filter(|request| request.id == id);
    let questions: Vec<Question> = items
        .map(
            |AuditedRequest {
                 recorded,
                 explanation,
                 ..
             }| {
                let decided = if recorded.approved {
                    "approved"
                } else {
                    "denied"
                };
                eprintln!(
                    "{} at {}: {decided} then",
                    recorded.request.kind, recorded.at
                );
                if let Some(explanation) = explanation {
                    eprintln!("{explanation}");
                }
                Question::new(Some(recorded.at), recorded.request)
            },
        )
        .collect();
    if questions.is_empty() {
        return Err(Failure::new("the audit log has no request of that id"));
    }
    Ok(questions)
}
