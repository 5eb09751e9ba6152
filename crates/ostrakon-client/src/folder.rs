//! Secure folders: where encrypted files live, and what a policy calls them.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use minicbor::{Decode, Encode};
use ostrakon_shards::{name::Name, suite::Suite};
use ostrakon_types::{LocationId, MetaItem, ProfileId, RequestId};
use unicode_normalization::UnicodeNormalization;

use crate::home::StoredPath;

/// The longest path, in bytes, that a request carries.
pub(crate) const MAX_META_LEN: usize = 4096;

/// A folder whose files are encrypted for a security group.
///
/// Its name and path are user data: `Debug` does not show them.
#[derive(Clone, Encode, Decode)]
pub struct SecureFolder {
    #[n(0)]
    location: LocationId,
    #[n(1)]
    name: Name,
    #[n(2)]
    path: StoredPath,
    #[n(3)]
    group: Name,
    #[n(4)]
    suite: Suite,
    /// The request by which the server learns of it, until it has.
    #[n(5)]
    pending: Option<RequestId>,
}

/// Profiles that files are encrypted for together.
#[derive(Clone, Encode, Decode)]
pub struct SecurityGroup {
    /// What the group is called.
    #[n(0)]
    pub name: Name,
    /// The profiles in it.
    #[n(1)]
    pub members: Vec<ProfileId>,
}

/// Why a name cannot stand in a path that a policy judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The name is not UTF-8.
    #[error("a name in its path is not valid UTF-8")]
    NotUtf8,
    /// The name has a backslash, a slash, or a NUL, or is `.` or `..`.
    #[error(
        "a name in its path is not canonical: it has a backslash, a slash or a NUL, or is `.` or `..`"
    )]
    NotCanonical,
    /// The whole is too long.
    #[error("its path is longer than {MAX_META_LEN} bytes")]
    TooLong,
    /// It is the folder itself.
    #[error("it has no name within its folder")]
    Empty,
}

impl SecureFolder {
    pub(crate) fn new(
        location: LocationId,
        name: Name,
        path: PathBuf,
        group: Name,
        suite: Suite,
        pending: Option<RequestId>,
    ) -> Self {
        let path = StoredPath(path);
        Self {
            location,
            name,
            path,
            group,
            suite,
            pending,
        }
    }

    /// Its id at the key shard server.
    #[must_use]
    pub fn location(&self) -> LocationId {
        self.location
    }

    /// Its name, with which the paths of its files begin.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where it is on this machine.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.as_ref()
    }

    /// The security group that its files are encrypted for.
    #[must_use]
    pub fn group(&self) -> &Name {
        &self.group
    }

    /// The suite with which shards of its files' keys are sealed.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Whether the key shard server knows of it, if there is one.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.pending.is_none()
    }

    pub(crate) fn pending(&self) -> Option<RequestId> {
        self.pending
    }

    pub(crate) fn registered(&mut self) {
        self.pending = None;
    }

    /// What requests call the file at `path`: the folder's name, then the path within the folder.
    ///
    /// # Errors
    /// When the path is not within the folder, or has a name that no policy could judge reliably.
    pub(crate) fn meta(&self, path: &Path) -> Result<MetaItem, PathError> {
        let within = path.strip_prefix(self.path());
        let within = within.map_err(|_| PathError::NotCanonical)?;
        if within.as_os_str().is_empty() {
            return Err(PathError::Empty);
        }
        let mut meta = canonical_component(self.name.as_str())?;
        for component in within.components() {
            let Component::Normal(name) = component else {
                return Err(PathError::NotCanonical);
            };
            let name = name.to_str().ok_or(PathError::NotUtf8)?;
            meta.push('/');
            meta.push_str(&canonical_component(name)?);
        }
        if meta.len() > MAX_META_LEN {
            return Err(PathError::TooLong);
        }
        Ok(MetaItem {
            meta,
            complete: true,
        })
    }
}

/// A name in normalisation form C, if it can be one component of a canonical path.
pub(crate) fn canonical_component(name: &str) -> Result<String, PathError> {
    let name: String = name.nfc().collect();
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err(PathError::NotCanonical);
    }
    Ok(name)
}

impl fmt::Debug for SecureFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureFolder")
            .field("location", &self.location)
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SecurityGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityGroup")
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    fn folder() -> SecureFolder {
        SecureFolder::new(
            LocationId::from_bytes([1; 16]),
            Name::new("Payroll").unwrap(),
            "/home/zoe/vault".into(),
            Name::new("Personal").unwrap(),
            Suite::X25519,
            None,
        )
    }

    #[test]
    fn paths_begin_with_the_folders_name_and_are_normalised() {
        let meta = folder().meta(Path::new("/home/zoe/vault/2026/Mu\u{308}ller.txt"));
        let meta = meta.unwrap();
        assert_eq!(meta.meta, "Payroll/2026/M\u{fc}ller.txt");
        assert!(meta.complete);
    }

    #[test]
    fn paths_that_no_policy_could_judge_are_refused() {
        let refused = |path: &str| folder().meta(Path::new(path)).unwrap_err();
        assert_eq!(refused("/home/zoe/vault/a\\b"), PathError::NotCanonical);
        assert_eq!(refused("/home/zoe/vault/../x"), PathError::NotCanonical);
        assert_eq!(refused("/home/zoe/vaults/x"), PathError::NotCanonical);
        assert_eq!(refused("/home/zoe/vault"), PathError::Empty);
        assert_eq!(
            refused(&format!("/home/zoe/vault/{}", "a/".repeat(2100))),
            PathError::TooLong
        );
        let bytes = OsStr::from_bytes(b"/home/zoe/vault/\xff");
        assert_eq!(folder().meta(Path::new(bytes)), Err(PathError::NotUtf8));
    }

    #[test]
    fn debug_output_shows_no_names() {
        let shown = format!("{:?}", folder());
        assert!(
            !shown.contains("Payroll") && !shown.contains("zoe"),
            "{shown}"
        );
    }
}
