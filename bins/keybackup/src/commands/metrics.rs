//! What happened, for Prometheus' textfile collector: a file that is replaced whole.

use std::{fmt::Write as _, fs, io::Write as _, path::Path};

use ostrakon_backup::catalogue::Entry;
use ostrakon_types::UnixMillis;

use crate::error::Failure;

const MADE: &str = "kss_backup_last_made_timestamp_seconds";
const SIZE: &str = "kss_backup_last_size_bytes";
const PROVEN: &str = "kss_backup_last_proven_timestamp_seconds";

/// Tells of an archive that was made.
pub(crate) fn made(file: &Path, entry: &Entry) -> Result<(), Failure> {
    let mut lines = vec![
        (MADE, entry.created_at.0 / 1000),
        (SIZE, i64::try_from(entry.size).unwrap_or(i64::MAX)),
    ];
    if let Some(at) = entry.proven_at {
        lines.push((PROVEN, at.0 / 1000));
    }
    write(file, &lines)
}

/// Tells of an archive that was proven to restore.
pub(crate) fn proven(file: &Path, at: UnixMillis) -> Result<(), Failure> {
    write(file, &[(PROVEN, at.0 / 1000)])
}

/// Replaces the lines of these names, and leaves the others.
fn write(file: &Path, lines: &[(&str, i64)]) -> Result<(), Failure> {
    let replace = || {
        let mut values: Vec<(&str, String)> = Vec::new();
        let old = fs::read_to_string(file).unwrap_or_default();
        for name in [MADE, SIZE, PROVEN] {
            let new = lines.iter().find(|(line, _)| *line == name);
            let kept = old
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            if let Some(value) = new
                .map(|(_, value)| value.to_string())
                .or(kept.map(str::to_owned))
            {
                values.push((name, value));
            }
        }
        let mut text = String::new();
        for (name, value) in values {
            let help = match name {
                MADE => "When the last archive was made.",
                SIZE => "Its length.",
                _ => "When an archive was last proven to restore.",
            };
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"
            );
        }
        let folder = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let mut new = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        new.write_all(text.as_bytes())?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        new.as_file().set_permissions(readable)?;
        new.persist(file).map_err(|error| error.error)?;
        Ok(())
    };
    replace().map_err(Failure::file(file))
}
