mod archive;
mod export;
mod tail;
mod verify;

use super::{Context, config};
use crate::{cli::AuditCommand, error::Failure};

pub(crate) async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Tail { lines, follow } => tail::run(context, lines, follow).await,
        AuditCommand::Export { since, until, file } => {
            export::run(context, since, until, file.as_deref()).await
        }
        AuditCommand::Verify {
            checkpoints,
            archive,
            quotas,
        } => {
            let checkpoints = match checkpoints {
                Some(file) => Some(file),
                None => configured(context)?,
            };
            verify::run(context, checkpoints, archive, quotas).await
        }
        AuditCommand::Archive { before, file } => archive::run(context, before, &file).await,
    }
}

/// The checkpoint file that the server writes, where there is one.
fn configured(context: &Context) -> Result<Option<std::path::PathBuf>, Failure> {
    let file = config(context)?.audit.checkpoint_file;
    Ok((!file.is_empty()).then(|| file.into()))
}
