//! The workspace as cargo and its manifests describe it.

use std::error::Error;
use std::fs;
use std::path::Path;

use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{MetadataCommand, Package};
use toml::Table;

/// What a test or a reader of files may fail with.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// One crate of the workspace.
pub(crate) struct Member {
    /// What cargo says of it.
    pub(crate) package: Package,
    /// Its folder, seen from the root.
    pub(crate) folder: Utf8PathBuf,
    /// Its manifest as it is written.
    pub(crate) manifest: Table,
}

/// The root of the workspace.
pub(crate) fn root() -> Outcome<&'static Utf8Path> {
    let tests = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(tests.parent().ok_or("the tests' folder has no parent")?)
}

/// Reads a file of the workspace; `path` is seen from the root.
pub(crate) fn read(path: impl AsRef<Utf8Path>) -> Outcome<String> {
    let path = root()?.join(path);
    fs::read_to_string(Path::new(&path)).map_err(|error| format!("{path}: {error}").into())
}

/// All crates of the workspace.
pub(crate) fn members() -> Outcome<Vec<Member>> {
    let root = root()?;
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()?;
    metadata
        .packages
        .into_iter()
        .map(|package| {
            let folder = package
                .manifest_path
                .parent()
                .ok_or("a manifest without a folder")?;
            let folder = folder.strip_prefix(&metadata.workspace_root)?.to_owned();
            let manifest = read(folder.join("Cargo.toml"))?.parse()?;
            Ok(Member {
                package,
                folder,
                manifest,
            })
        })
        .collect()
}
