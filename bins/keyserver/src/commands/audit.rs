mod archive;
mod export;
mod tail;
mod verify;

use ostrakon_server::Clock;
use ostrakon_types::UnixMillis;

use super::{Context, config, zone};
use crate::{cli::AuditCommand, error::Failure, moment::Moment};

pub(crate) async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Tail {
            lines,
            follow,
            remote,
        } => tail::run(context, lines, follow, &remote).await,
        AuditCommand::Export { since, until, file } => {
            let (since, until) = (instant(context, since)?, instant(context, until)?);
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
        AuditCommand::Archive { before, file } => {
            archive::run(context, instant(context, before)?, &file).await
        }
    }
}

/// The instant that is meant, on the server's clock and in its time zone.
fn instant(context: &Context, moment: Option<Moment>) -> Result<Option<UnixMillis>, Failure> {
    let Some(moment) = moment else {
        return Ok(None);
    };
    Ok(Some(moment.instant(Clock::system().now(), &zone(context)?)))
}

/// The checkpoint file that the server writes, where there is one.
fn configured(context: &Context) -> Result<Option<std::path::PathBuf>, Failure> {
    let file = config(context)?.audit.checkpoint_file;
    Ok((!file.is_empty()).then(|| file.into()))
}
