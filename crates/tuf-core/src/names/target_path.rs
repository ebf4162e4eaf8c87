//! Paths of targets.

use std::sync::Arc;

use super::check::check_text;
use super::text_type::name_type;

/// Longest component of a target path in bytes (`NAME_MAX` of every common file system).
pub const MAX_COMPONENT_BYTES: usize = 255;
/// Longest target path in bytes.
pub const MAX_TARGET_PATH_BYTES: usize = 4096;

/// The path of a target below the targets directory (TUF specification §4.5 TARGETPATH), safe on every file system.
///
/// Relative, `/`-separated, without empty, `.` or `..` components, without control characters or backslashes, in
/// Unicode normalization form C; at most [`MAX_COMPONENT_BYTES`] a component and [`MAX_TARGET_PATH_BYTES`] in all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPath(Arc<str>);

name_type!(TargetPath, "target path");

impl TargetPath {
    fn check(name: &str) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("is empty");
        }
        if name.len() > MAX_TARGET_PATH_BYTES {
            return Err("is longer than 4096 bytes");
        }
        if name.starts_with('/') {
            return Err("is absolute");
        }
        check_text(name)?;
        for component in name.split('/') {
            match component {
                "" => return Err("has an empty component"),
                "." | ".." => return Err("has a `.` or `..` component"),
                _ if component.len() > MAX_COMPONENT_BYTES => {
                    return Err("has a component longer than 255 bytes");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The directory part without the last `/`, or `None` for a path of one component.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(dir, _)| dir)
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The path under which a client asks for this target with consistent snapshots: `dir/HASH.name`
    /// (specification §6.2.3).
    #[must_use]
    pub fn hash_prefixed(&self, hash: &str) -> String {
        match self.0.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/{hash}.{name}"),
            None => format!("{hash}.{}", self.0),
        }
    }
}
