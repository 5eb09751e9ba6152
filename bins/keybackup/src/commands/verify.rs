use ostrakon_backup::archive::Contents;

use super::drill::{check_log, scratch, unpack};
use crate::{aside, cli::VerifyArgs, context, error::Failure, print};

/// Reads every byte of an archive, and checks what its maker signed, and its audit log.
pub(crate) async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let scratch = scratch(&std::env::temp_dir())?;
    let (verified, restored) = unpack(&args.archive, &args.open, scratch.path(), true).await?;
    let log = if restored.has_database {
        Some(check_log(&scratch.path().join("home")).await?)
    } else {
        None
    };
    drop(scratch);
    let header = &verified.header;
    print(&format!("whole {}", header.archive))?;
    aside(&format!(
        "made {} on {} by {}",
        context::shown(header.created_at),
        header.host,
        verified.voucher
    ));
    let files = verified.manifest.files.len();
    let rows = verified.manifest.database.as_ref();
    let rows = rows.map(|database| database.rows.values().sum::<u64>());
    match (rows, log) {
        (Some(rows), Some(records)) => aside(&format!(
            "{files} files, {rows} rows; the audit log of {records} records is whole"
        )),
        (Some(rows), None) => {
            aside(&format!("{files} files, {rows} rows"));
            aside(
                "The audit log was not checked: that needs the instance's key file, `--instance-key FILE`.",
            );
        }
        _ => aside(&format!("{files} files")),
    }
    if args.open.kss_id.is_none() && header.contents == Contents::Keyserver {
        aside(
            "Compare the id: whoever has made an archive of his own signs it with his own server.",
        );
    }
    Ok(())
}
