//! A batch: drops that are signed together. The monitor makes its directory, the targets-worker reads it, and `rugged post`
//! computes the same digest of a drop.

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};
use tuf_core::sha256::{Sha256, Sha256Hasher};

/// Deepest directory of a drop: one directly in the drop is at depth 1. Deeper ones are refused.
pub const MAX_DROP_DEPTH: usize = 64;

/// Name of the file that describes a batch, in its directory.
pub const BATCH_FILE: &str = "BATCH.json";
/// Prefix of a batch directory in the inbound directory; the batch's id follows.
pub const BATCH_PREFIX: &str = "batch_";
/// The format version of [`BATCH_FILE`] that is written.
pub const BATCH_FORMAT: u64 = 1;
/// Largest [`BATCH_FILE`] read, in bytes.
pub const MAX_BATCH_FILE: u64 = 64 << 20;

/// The contents of a batch directory, as [`BATCH_FILE`] lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Format version, [`BATCH_FORMAT`].
    pub format: u64,
    /// The batch's id.
    pub id: String,
    /// The drops, in the order in which they apply: of two files with the same path, the later one wins.
    pub drops: Vec<BatchDrop>,
}

/// One drop of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchDrop {
    /// Directory of its files, relative to the batch directory.
    pub dir: String,
    /// The drop's name.
    pub name: String,
    /// The [`drop_digest`] of its files.
    pub digest: String,
    /// Number of files.
    pub files: u64,
    /// Number of bytes in these files.
    pub bytes: u64,
    /// Which post of the drop this is: equal for every attempt at one post, and another for the same files posted again (which
    /// may have been replaced or removed in between). Absent in the batches of older monitors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
}

impl Batch {
    /// A batch of `drops`, in this order. Its id depends neither on the monitor nor on the order.
    #[must_use]
    pub fn new(drops: Vec<BatchDrop>) -> Self {
        let id = batch_id(drops.iter().map(|drop| (drop.name.as_str(), drop.digest.as_str(), drop.post.as_deref())));
        Self { format: BATCH_FORMAT, id, drops }
    }

    /// The name of its directory below the inbound directory.
    #[must_use]
    pub fn dir_name(&self) -> String {
        format!("{BATCH_PREFIX}{}", self.id)
    }
}

/// Whether `name` is one that [`Batch::dir_name`] gives. No other directory has such a name by chance.
#[must_use]
pub fn is_dir_name(name: &OsStr) -> bool {
    let id = name.to_str().and_then(|name| name.strip_prefix(BATCH_PREFIX));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// Whether a task may name this batch directory: also the ids that another version of the monitor may give, and never a
/// path to another place.
#[must_use]
pub fn may_be_dir_name(name: &str) -> bool {
    name.strip_prefix(BATCH_PREFIX).is_some_and(|id| {
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    })
}

/// Whether a batch may name this post ([`BatchDrop::post`]): it becomes a part of a request's id.
#[must_use]
pub fn may_be_post(post: &str) -> bool {
    !post.is_empty() && post.len() <= 64 && post.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The digest that, with its name, is a drop's identity, hex: SHA-256 over the lines `<sha256> <length> <path>\n`, sorted by
/// path. `files` are the path, hash and length of each file, in any order.
#[must_use]
pub fn drop_digest<'a>(files: impl Iterator<Item = (&'a str, Sha256, u64)>) -> String {
    let mut files: Vec<_> = files.collect();
    files.sort_unstable_by_key(|(path, ..)| *path);
    let mut hasher = Sha256Hasher::new();
    for (path, sha256, length) in files {
        hasher.update(format!("{sha256} {length} {path}\n").as_bytes());
    }
    hasher.finish().to_string()
}

/// The id of a set of drops `(name, digest, post)`.
fn batch_id<'a>(drops: impl Iterator<Item = (&'a str, &'a str, Option<&'a str>)>) -> String {
    let mut drops: Vec<_> = drops.collect();
    drops.sort_unstable();
    let mut hasher = Sha256Hasher::new();
    for (name, digest, post) in drops {
        hasher.update(name.as_bytes());
        hasher.update(b"\0");
        hasher.update(digest.as_bytes());
        if let Some(post) = post {
            hasher.update(b"\0");
            hasher.update(post.as_bytes());
        }
        hasher.update(b"\n");
    }
    let mut id = hasher.finish().to_string();
    id.truncate(32);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_depends_on_the_set_and_not_on_the_order() {
        let ab = batch_id([("a", "1", None), ("b", "2", None)].into_iter());
        assert_eq!(ab.len(), 32);
        assert_eq!(ab, batch_id([("b", "2", None), ("a", "1", None)].into_iter()));
        assert_ne!(ab, batch_id([("a", "2", None), ("b", "1", None)].into_iter()));
        assert_ne!(ab, batch_id([("a", "1", None)].into_iter()));
        let posted = |post| batch_id([("a", "1", Some(post)), ("b", "2", None)].into_iter());
        assert_ne!(ab, posted("1"), "another post");
        assert_ne!(posted("1"), posted("2"), "the same drop posted again");
    }

    #[test]
    fn the_description_is_written_as_documented() {
        let drop = BatchDrop { dir: "0".into(), name: "X".into(), digest: "d".into(), files: 1, bytes: 2, post: None };
        let posted = BatchDrop { post: Some("7-8-9".into()), ..drop.clone() };
        assert!(serde_json::to_string(&posted).unwrap().ends_with(r#","bytes":2,"post":"7-8-9"}"#));
        let batch = Batch::new(vec![drop]);
        assert_eq!(
            serde_json::to_string(&batch).unwrap(),
            format!(
                r#"{{"format":1,"id":"{}","drops":[{{"dir":"0","name":"X","digest":"d","files":1,"bytes":2}}]}}"#,
                batch.id
            )
        );
    }
}
