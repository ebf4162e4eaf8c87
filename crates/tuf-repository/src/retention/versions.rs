//! The versioned metadata files of the targets role.

use tuf_core::names::RoleName;

use crate::numbered::number_of;

/// The files `N.ROLE.json` in `metadata/` below the version that `first` returns for their role. The oldest come first, so
/// that an interrupted deletion leaves no gap.
pub(crate) fn versions_below(names: &[String], first: impl Fn(&RoleName) -> Option<u64>) -> Vec<(u64, &str)> {
    let mut found: Vec<(u64, &str)> = names
        .iter()
        .filter_map(|name| {
            let (version, role) = versioned_role(name)?;
            (version < first(&role)?).then_some((version, name.as_str()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Version and role of a file in `metadata/` that the targets role writes: `targets` and the roles delegated from it.
pub(crate) fn versioned_role(name: &str) -> Option<(u64, RoleName)> {
    let (digits, rest) = name.split_once('.')?;
    let role = rest.strip_suffix(".json")?;
    let version = number_of(name, &name[digits.len()..])?;
    if matches!(role, "root" | "snapshot" | "timestamp") {
        return None;
    }
    Some((version, RoleName::new(role).ok().filter(RoleName::is_plain)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_below_the_first_one_in_use_are_planned_for() {
        let names = [
            "1.root.json",
            "1.snapshot.json",
            "1.targets.json",
            "10.targets.json",
            "2.bin_0.json",
            "2.targets.json",
            "03.targets.json",
            "targets.json",
            "timestamp.json",
            ".1.timestamp.json",
            "1.other.json",
        ]
        .map(str::to_owned);
        let plan = versions_below(&names, |role| match role.as_str() {
            "targets" => Some(10),
            "bin_0" => Some(2),
            "root" | "snapshot" | "timestamp" => Some(100),
            _ => None,
        });
        assert_eq!(plan, [(1, "1.targets.json"), (2, "2.targets.json")]);
    }
}
