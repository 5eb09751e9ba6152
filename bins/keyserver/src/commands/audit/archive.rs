use std::path::Path;

use ostrakon_server::{Clock, audit::archive};
use ostrakon_types::UnixMillis;
use serde_json::json;

use super::Context;
use crate::{cli::Format, error::Failure};

pub(super) async fn run(
    context: &Context,
    before: Option<UnixMillis>,
    file: &Path,
) -> Result<(), Failure> {
    let before = before.unwrap_or(UnixMillis(i64::MAX));
    let archived = archive(&context.home, before, file, &Clock::system()).await?;
    match (context.format, archived) {
        (Format::Json | Format::Cef, archived) => println!("{}", json!({ "archived": archived })),
        (Format::Human, None) => println!("nothing to archive"),
        (Format::Human, Some(archived)) => println!(
            "archive {}: {} records up to checkpoint {} are in `{}`",
            archived.number,
            archived.records,
            archived.checkpoint,
            file.display()
        ),
    }
    Ok(())
}
