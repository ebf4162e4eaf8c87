//! Pairs of targets that tough sorts differently, and the submissions that would bring them into one role.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use tuf_core::document::Document;
use tuf_core::names::{TargetPath, sorted_apart};

use super::request::{Submission, TargetChange};

/// A submission after which tough would refuse a role: it adds a target beside which tough sorts another of the same role
/// differently ([`sorted_apart`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} cannot be a target beside {other}: tough sorts the two names differently and so refuses the whole role"
)]
pub struct SortedApart {
    /// The id of the request.
    pub request: String,
    /// The target that it adds.
    pub path: TargetPath,
    /// The other target.
    pub other: String,
}

/// A target of a pair.
#[derive(Debug)]
pub(super) struct PairedTarget {
    path: String,
    /// Whether the version before has it.
    signed: bool,
}

/// The pairs in `new` that `old` does not have, for an edit that put `entries`. Where `old` has pairs already, further targets
/// that belong to one of them may be missed: tough refuses that role anyway.
pub(super) fn new_pairs(
    old: &Document,
    new: &Document,
    entries: &BTreeMap<String, Option<Vec<u8>>>,
) -> Vec<[PairedTarget; 2]> {
    let mut pairs: BTreeSet<[Cow<'_, str>; 2]> = BTreeSet::new();
    for (path, _) in entries.iter().filter(|(_, entry)| entry.is_some()) {
        let [before, after] = new.neighbours(path);
        if let Some(before) = before.and_then(text).filter(|before| sorted_apart(before, path)) {
            pairs.insert([before, path.as_str().into()]);
        }
        if let Some(after) = after.and_then(text).filter(|after| sorted_apart(path, after)) {
            pairs.insert([path.as_str().into(), after]);
        }
    }
    let paired = |path: Cow<'_, str>| PairedTarget { signed: old.get(&path).is_some(), path: path.into_owned() };
    pairs.into_iter().map(|pair| pair.map(paired)).filter(|pair| !pair.iter().all(|target| target.signed)).collect()
}

fn text(key: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match key {
        Cow::Borrowed(key) => std::str::from_utf8(key).ok().map(Cow::Borrowed),
        Cow::Owned(key) => String::from_utf8(key).ok().map(Cow::Owned),
    }
}

/// The submissions that cannot be applied because of `pairs`: of a pair, the later one is refused, but not because of another
/// that is refused itself. At least one where there are pairs.
pub(super) fn refused(pending: &[&Submission], pairs: &[[PairedTarget; 2]]) -> Vec<SortedApart> {
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for [one, other] in pairs {
        others.entry(&one.path).or_default().push(&other.path);
        others.entry(&other.path).or_default().push(&one.path);
    }
    let mut held: BTreeSet<&str> =
        pairs.iter().flatten().filter(|target| target.signed).map(|target| target.path.as_str()).collect();
    let mut refused = Vec::new();
    for submission in pending {
        let puts = submission.changes.iter().filter(|(_, change)| matches!(change, TargetChange::Put(_)));
        let own: BTreeMap<&str, &TargetPath> = puts
            .filter(|(path, _)| others.contains_key(path.as_str()))
            .map(|(path, _)| (path.as_str(), path))
            .collect();
        let found = own.iter().find_map(|(name, path)| {
            let other = others[name].iter().find(|other| held.contains(*other) || own.contains_key(*other))?;
            Some(SortedApart {
                request: submission.request.clone(),
                path: TargetPath::clone(path),
                other: (*other).to_owned(),
            })
        });
        match found {
            Some(apart) => refused.push(apart),
            None => held.extend(own.into_keys()),
        }
    }
    refused
}
