//! Role names and key ids that our types refuse and other publishers use.

use crate::names::{KeyId, RoleName, percent_encode};
use crate::sha256::Sha256;

const KEY_ALIAS: &str = "odd";

/// How the audit calls a role whose name cannot be a file name: percent-encoded, which most clients ask for.
pub(super) fn role_alias(name: &str) -> Option<RoleName> {
    let mut alias = percent_encoded(name);
    if let Some(rest) = alias.strip_prefix('.') {
        alias = format!("%2E{rest}");
    }
    RoleName::new(&alias).or_else(|_| RoleName::new(&format!("odd-{}", Sha256::of(name.as_bytes())))).ok()
}

/// How the audit calls a key whose id is not made of letters and digits.
pub(super) fn key_alias(keyid: &str) -> Option<KeyId> {
    KeyId::new(&format!("{KEY_ALIAS}{}", Sha256::of(keyid.as_bytes()))).ok()
}

/// Whether the id is one of [`key_alias`].
pub(super) fn is_key_alias(keyid: &KeyId) -> bool {
    keyid.as_str().strip_prefix(KEY_ALIAS).is_some_and(|rest| rest.len() == 64)
}

/// The names under which clients find the file of a role that is `published` under any name: as a server decodes what they ask for, and as they ask.
pub(super) fn file_names(published: &str) -> Vec<String> {
    let mut names = vec![format!("{published}.json")];
    let encoded = percent_encoded(published);
    if encoded != published {
        names.push(format!("{encoded}.json"));
    }
    names
}

/// Whether no component of the path leads elsewhere.
pub(super) fn stays_below(path: &str) -> bool {
    path.split('/').all(|component| !matches!(component, "" | "." | ".."))
}

/// The name as clients percent-encode role names.
pub(super) fn percent_encoded(name: &str) -> String {
    percent_encode(name, "")
}
