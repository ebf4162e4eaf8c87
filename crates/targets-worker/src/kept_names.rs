//! The names of a target file in the targets directory.

use tuf_core::names::TargetPath;
use tuf_core::store::{FileName, InvalidFileName, Store};

use crate::fault::TargetFault;

/// The names of a target file with this hash: `dir/HASH.name`, and `HASH.dir/name` for clients of tough.
pub(crate) fn names_of(path: &TargetPath, hash: &str) -> Result<Vec<FileName>, InvalidFileName> {
    let mut names = vec![FileName::new(path.hash_prefixed(hash))?];
    let other = format!("{hash}.{path}");
    if names[0].as_str() != other {
        names.push(FileName::new(other)?);
    }
    Ok(names)
}

/// Why files cannot have these names, if one of them is a directory or lies below a file: an earlier release has a path
/// that would have to be file and directory at the same time. That stays so, so it is the release's fault.
pub(crate) fn clash(store: &dyn Store, names: &[Vec<FileName>]) -> Option<TargetFault> {
    names.iter().flatten().find_map(|name| {
        let is_dir = store.list_dirs(name.dir()).is_ok_and(|dirs| dirs.iter().any(|dir| dir == name.base()));
        let above = ancestors(name.as_str())
            .filter_map(|above| FileName::new(above).ok())
            .find(|above| store.stat(above).is_ok_and(|stat| stat.is_some()));
        let name = name.clone();
        match above {
            Some(above) => Some(TargetFault::NameBelowFile { name, above }),
            None => is_dir.then_some(TargetFault::NameIsDirectory { name }),
        }
    })
}

/// The directories in which a path lies, from the top.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
