use std::path::Path;

use ostrakon_client::SecureFolder;
use serde_json::json;

use crate::{
    cli::Format,
    context::Context,
    error::Failure,
    show::{line, path},
};

pub(crate) fn run(context: &Context, wanted: &str) -> Result<(), Failure> {
    let at = Path::new(wanted).canonicalize().ok();
    let mut folders = context.workstation.folders().iter();
    let folder = folders
        .find(|folder| folder.name().as_str() == wanted || at.as_deref() == Some(folder.path()));
    print(
        folder.ok_or_else(|| Failure::no_such_folder(wanted))?,
        context.format,
    );
    Ok(())
}

pub(super) fn print(folder: &SecureFolder, format: Format) {
    match format {
        Format::Human => {
            line(&format!("folder    {}", folder.name()));
            line(&format!("path      {}", path(folder.path())));
            line(&format!("location  {}", folder.location()));
            line(&format!("group     {}", folder.group()));
            line(&format!("suite     {}", folder.suite()));
            if !folder.is_registered() {
                line(&"state     not known to the key shard server yet");
            }
        }
        Format::Json => line(&json!({
            "name": folder.name(),
            "path": folder.path().to_string_lossy(),
            "location": folder.location(),
            "group": folder.group(),
            "suite": folder.suite(),
            "registered": folder.is_registered(),
        })),
    }
}
