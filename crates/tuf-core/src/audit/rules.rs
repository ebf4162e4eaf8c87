//! The rules, each with its section of the specification. Ids are stable: scripts may rely on them.

/// A rule for repositories: one of the specification, one that clients in the field impose, or advice.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable identifier.
    pub id: &'static str,
    /// The section of the specification (1.0.34) that asks for it; `clients` if only clients in the field ask for it;
    /// `advice` if neither does.
    pub section: &'static str,
    /// The rule, as a statement that holds in a sound repository.
    pub title: &'static str,
}

macro_rules! rules {
    ($($name:ident $section:literal $title:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: &Rule = &Rule { id: stringify!($name), section: $section, title: $title };
        )*

        /// All rules.
        pub const ALL: &[&Rule] = &[$($name),*];
    };
}

rules! {
    J1 "§4.1" "Signed metadata is JSON with a canonical form: no fractions, no duplicate keys.";
    J2 "clients" "Strings are in Unicode normalization form C; tough and php-tuf compute other canonical bytes.";
    J3 "clients" "Integers are smaller than 2^53; tuf-js, like every client in JavaScript, rounds larger ones.";
    J4 "clients" "JSON is nested at most 64 levels deep; clients differ in how deep they read.";
    C1 "§4.2" "`_type` is the kind of the role.";
    C2 "§4.3" "`spec_version` is a version 1.x.y of the specification.";
    C3 "§4.3" "`version` is an integer of at least 1.";
    C4 "§4.4" "The version in a file equals the version in its name and the listed version.";
    C5 "§4.2" "`expires` has the form YYYY-MM-DDTHH:MM:SSZ.";
    C6 "§5.3.10" "Metadata is not expired.";
    C7 "§4" "Required members are present, and members have the types that the specification gives them.";
    S1 "§4.2" "Each key id occurs once in a list of signatures.";
    S2 "§4.2" "A signature is a key id and hexadecimal digits.";
    S3 "§5.4.2" "A threshold of the role's keys signed the metadata.";
    S4 "§5.3.4" "A root is signed by a threshold of its own keys and of the keys of the root before it.";
    S5 "§4.3" "A threshold is at least 1 and no more than the number of distinct keys.";
    S6 "clients" "No key counts twice: a role lists each key id once, and no key under two ids.";
    S7 "clients" "All signatures by the role's keys are valid, including those beyond the threshold.";
    K1 "clients" "A role's keys are defined in the file that defines the role.";
    K2 "advice" "Every defined key is used.";
    K3 "clients" "Keys have a type and a scheme that clients know.";
    K4 "§4.2" "A key id is the sha256 of the canonical form of its key.";
    K5 "§4.2" "RSA keys have at least 2048 bits.";
    K6 "§4.2" "A public key has the form that its key type requires.";
    R1 "§6.2" "Every root from version 1 to the newest is present.";
    R2 "clients" "There are at most 256 roots, the most that clients follow in one run.";
    R3 "§4.3" "Root lists the roles root, timestamp, snapshot and targets.";
    R4 "§5.3" "The trusted root is one of the repository's roots.";
    R5 "clients" "Root has `consistent_snapshot`; tough and tuf-js refuse a root without it.";
    L1 "clients" "Metadata without a listed length is within the size that clients read.";
    L2 "clients" "Metadata without a listed length has at most 100,000 bytes, the most that php-tuf reads.";
    T1 "§4.6" "Timestamp lists snapshot.json and nothing else.";
    T2 "§5.4.1" "timestamp.json is present under exactly this name.";
    T3 "clients" "Timestamp lists the length and hashes of the snapshot.";
    N1 "§4.4" "Snapshot lists the top-level targets role.";
    N2 "§4.4" "Snapshot lists every delegated role.";
    N3 "§5.6" "Every listed metadata file is present.";
    N4 "§5.6.2" "Metadata files have the listed lengths and hashes.";
    N5 "§5.5.5" "Versions in the snapshot never decrease.";
    N6 "§5.5.5" "A role that was ever listed stays listed.";
    N7 "advice" "Every listed role is delegated to.";
    N8 "advice" "No snapshot on disk is newer than the current one.";
    D1 "§4.5" "A role lists only targets that are delegated to it.";
    D2 "§5.6.7" "No terminating delegation hides a listed target.";
    D3 "§4.5" "Names of delegated roles are unique.";
    D4 "§5.6.7" "Roles that list the same target agree on its length and hashes.";
    D5 "§4.5" "A delegation says whether it is terminating.";
    D6 "§4.5" "Patterns and hash prefixes are well formed.";
    D7 "§4.5" "A delegation has exactly one of paths and path_hash_prefixes.";
    D8 "clients" "A target is found within 32 delegations, the most that python-tuf and go-tuf visit.";
    D9 "clients" "Role names are ASCII, begin with a letter and need no percent-encoding in a URL.";
    D10 "clients" "Delegations have only the members of the specification; tough and php-tuf discard others.";
    D11 "clients" "Delegated roles are listed one by one, not as succinct roles (TAP 15), which tough and php-tuf cannot read.";
    P1 "§4.5" "Target paths are relative, use `/`, and stay below the targets directory.";
    P2 "clients" "Target paths are ASCII.";
    P3 "clients" "sha256 is among the hashes of every target.";
    P4 "clients" "No target is empty; php-tuf refuses empty targets.";
    P5 "§4.5" "The length and hashes of a target are well formed.";
    P6 "§6.2" "Every target file is present; with consistent snapshots, once for each hash.";
    P7 "§5.7.3" "Target files have the listed lengths and hashes.";
    P8 "§6.2" "Target files have the names that all clients request: dir/HASH.name.";
    P9 "clients" "`custom` is absent rather than empty; tough discards an empty one.";
    P10 "clients" "Target paths hold nothing that a client cannot fetch or sort, such as `?`, `#` or a percent-escape.";
    P11 "clients" "No target path of a role is another one followed by a space or `!`; tough sorts the two differently.";
    O1 "clients" "Targets are delegated by `paths`; go-tuf up to August 2026 finds none behind `path_hash_prefixes`.";
    O2 "clients" "Key ids have the legacy form and keys are Ed25519; php-tuf reads nothing else.";
    O3 "clients" "`spec_version` is 1.0.0, keys are Ed25519, delegations have `paths`; rust-tuf reads nothing else.";
    O4 "clients" "There are fewer than 4,096 targets roles; tough reads all of them at its start, and tuf-js is slow.";
    X1 "clients" "A second client, tough, verifies and downloads everything.";
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_unique() {
        let ids: std::collections::BTreeSet<_> = super::ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), super::ALL.len());
    }
}
