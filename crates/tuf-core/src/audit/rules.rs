//! The rules, each with its place in the specification. Ids are stable: scripts may rely on them.

/// A rule of the repository side of the specification, or one that clients in the field impose.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable identifier.
    pub id: &'static str,
    /// Where the specification (1.0.34) says so; `clients` where it is what clients insist on.
    pub section: &'static str,
    /// The rule itself.
    pub title: &'static str,
}

macro_rules! rules {
    ($($name:ident $section:literal $title:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: &Rule = &Rule { id: stringify!($name), section: $section, title: $title };
        )*

        /// Every rule there is.
        pub const ALL: &[&Rule] = &[$($name),*];
    };
}

rules! {
    J1 "§4.2" "Signed metadata is JSON with a canonical form: no fractions, no integers of 2^53 or more, no key twice.";
    J2 "§4.2" "Strings are in Unicode normalization form C.";
    C1 "§4.2" "`_type` is the kind of the role.";
    C2 "§4.2" "`spec_version` is a version 1.x.y of the specification.";
    C3 "§4.2" "`version` is an integer of at least 1.";
    C4 "§4.4" "The version in a file is the one in its name and the one that is listed.";
    C5 "§4.1" "`expires` has the form YYYY-MM-DDTHH:MM:SSZ.";
    C6 "§5.3.10" "Metadata is not expired.";
    C7 "§4" "Members are there and have the types the specification gives them.";
    S1 "§4.2" "Key ids are unique in a list of signatures.";
    S2 "§4.2" "A signature is a key id and hexadecimal digits.";
    S3 "§5.4.2" "A threshold of the role's keys signed the metadata.";
    S4 "§5.3.4" "A root is signed by a threshold of its own keys and of the keys of the root before it.";
    S5 "§4.3" "A threshold is at least 1 and no more than the number of distinct keys.";
    S6 "§4.3" "No key counts twice: key ids of a role are unique, and no two of them are the same key.";
    S7 "§5.4.2" "Signatures by the role's keys are valid, also those beyond the threshold.";
    K1 "§4.3" "A role's keys are defined where the role is.";
    K2 "§4.3" "Keys that are defined are used.";
    K3 "§4.2" "Keys have a type and a scheme that clients know.";
    K4 "§4.2" "A key id is the sha256 of the canonical form of its key.";
    K5 "clients" "RSA keys have at least 2048 bits.";
    K6 "§4.2" "The public key is one of its type.";
    R1 "§6.1" "Roots are there from version 1 to the newest, without a gap.";
    R2 "clients" "There are no more than 256 roots, which is as far as clients follow in one run.";
    R3 "§4.3" "Root lists root, timestamp, snapshot and targets.";
    R4 "§5.3" "The trusted root is one of the repository's.";
    L1 "clients" "Metadata without a listed length is no larger than what clients read.";
    L2 "clients" "Metadata without a listed length is at most 100,000 bytes, which is what php-tuf reads.";
    T1 "§4.6" "Timestamp lists snapshot.json and nothing else.";
    T2 "§5.4.1" "timestamp.json is there, under that very name.";
    T3 "clients" "Timestamp lists length and hashes of the snapshot.";
    N1 "§4.4" "Snapshot lists the top-level targets role.";
    N2 "§4.4" "Snapshot lists every delegated role.";
    N3 "§5.6" "Every listed metadata file is there.";
    N4 "§5.6.2" "Metadata files have the listed length and hashes.";
    N5 "§5.5.5" "Versions in the snapshot never go back.";
    N6 "§5.5.5" "A role that was listed once stays listed.";
    N7 "§4.4" "Roles that are listed are delegated to.";
    N8 "§6.2" "No snapshot on disk is newer than the one clients see.";
    D1 "§4.5" "A role lists only targets that it is trusted with.";
    D2 "§5.6.7" "No terminating delegation ends the search before a listed target is found.";
    D3 "§4.5" "Names of delegated roles are unique.";
    D4 "§5.6.7" "Roles that list the same target say the same of it.";
    D5 "§4.5" "A delegation says whether it is terminating.";
    D6 "§4.5" "Patterns and hash prefixes are well formed.";
    D7 "§4.5" "A delegation has exactly one of paths and path_hash_prefixes.";
    D8 "clients" "A target is found within 32 delegations, which is as many as python-tuf and go-tuf visit.";
    D9 "clients" "Role names are ASCII, begin with a letter and can be file names.";
    D10 "clients" "Delegations have no members beyond those of the specification, which tough and php-tuf drop.";
    D11 "clients" "Delegated roles are listed rather than succinct (TAP 15), which tough and php-tuf cannot read.";
    P1 "§4.5" "Target paths are relative, use `/`, and stay below the targets directory.";
    P2 "clients" "Target paths are ASCII.";
    P3 "clients" "sha256 is among the hashes of every target.";
    P4 "clients" "Targets are not empty, which php-tuf refuses.";
    P5 "§4.5" "Length and hashes of a target are well formed.";
    P6 "§6.2" "Every target file is there, with consistent snapshots once for each hash.";
    P7 "§5.7.3" "Target files have the listed length and hashes.";
    P8 "§6.2" "Target files are where every client looks: dir/HASH.name.";
    P9 "clients" "`custom` is left out rather than empty, which tough drops.";
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
