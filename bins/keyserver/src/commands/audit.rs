use ostrakon_server::setup;

use super::Context;
use crate::{cli::Format, error::Failure};

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let summary = setup::verify_audit(&context.home).await?;
    match context.format {
        Format::Human => println!(
            "{} records, each linked to the one before: {} approvals, {} denials",
            summary.records, summary.approved, summary.denied
        ),
        Format::Json => {
            let text = serde_json::to_string(&summary);
            println!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
        }
    }
    Ok(())
}
