use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;
use ostrakon_server::{
    Clock,
    policy_engine::{Explanation, Policy, Registry, suite::Question},
    read_text,
    setup::{self, AuditedRequest},
};
use ostrakon_types::{RequestId, UnixMillis};

use super::{Context, policy_in, zone};
use crate::{
    cli::Format,
    error::{FAILED, Failure},
};

pub(super) async fn run(
    context: &Context,
    policy: Option<&Path>,
    request: &str,
    registry: &Registry,
) -> Result<(), Failure> {
    let file = Path::new(request);
    let questions = if file.exists() {
        vec![question(file)?]
    } else if let Ok(id) = request.parse::<RequestId>() {
        recorded(context, id).await?
    } else {
        let message = format!("`{request}` is neither a file nor the id of a request");
        return Err(
            Failure::new(message).hint("the lines of the server's log show ids of requests")
        );
    };
    let policy = match policy {
        Some(file) => policy_in(file, &zone(context)?, registry)?,
        None => of_the_home(context, registry)?,
    };
    let mut explanations = Vec::new();
    for question in questions {
        explanations.push(explain(context, &policy, question).await?);
    }
    match context.format {
        Format::Human => explanations.iter().for_each(|each| println!("{each}")),
        Format::Json | Format::Cef => {
            let text = serde_json::to_string(&explanations);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    Ok(())
}

fn of_the_home(context: &Context, registry: &Registry) -> Result<Policy, Failure> {
    let file = context.home.policy();
    if file.exists() {
        policy_in(&file, &zone(context)?, registry)
    } else {
        let message = format!("there is no policy `{}`", file.display());
        Err(Failure::new(message).hint("name one with `--policy`, or the server with `--home`"))
    }
}

/// A question about another time than now is answered without counts: they are not those of that time.
async fn explain(
    context: &Context,
    policy: &Policy,
    question: Question,
) -> Result<Explanation, Failure> {
    let Question { at, request, .. } = question;
    if let Some(at) = at {
        return Ok(policy.explain(&request, at));
    }
    let now = Timestamp::from_millisecond(Clock::system().now().0)
        .map_err(|error| Failure::new(error.to_string()))?;
    let explanation = policy.explain(&request, now);
    if !context.home.has_database() {
        return Ok(explanation);
    }
    let counts = setup::quota_counts(&context.home, &request.profile.id).await?;
    let counts: BTreeMap<_, _> = counts.into_iter().collect();
    Ok(explanation.with_counts(|key| counts.get(key).copied().unwrap_or(0)))
}

fn question(file: &Path) -> Result<Question, Failure> {
    let text = read_text(file).map_err(Failure::file(file))?;
    Question::from_str(&file.display().to_string(), &text).map_err(|error| {
        eprintln!("{error}");
        Failure::Printed { code: FAILED }
    })
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
