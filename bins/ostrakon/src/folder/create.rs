use std::path::Path;

use ostrakon_client::Suite;

use super::show;
use crate::{context::Context, error::Failure};

pub(crate) async fn run(
    mut context: Context,
    path: &Path,
    name: Option<&str>,
    suite: Suite,
) -> Result<(), Failure> {
    let folder = context.workstation.create_folder(path, name, suite).await?;
    show::print(&folder, context.format);
    Ok(())
}
