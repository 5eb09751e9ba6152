use std::path::PathBuf;

use crate::error::Failure;

pub(crate) async fn run(_path: Option<PathBuf>) -> Result<(), Failure> {
    Err(Failure::new("not there yet"))
}
