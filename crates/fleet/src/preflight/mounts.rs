//! Mounts and their options, from `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use durable_fs::{Fs, durable};

use super::finding::Findings;
use crate::places::{PlaceUse, RolePlace};

const MOUNTINFO: &str = "/proc/self/mountinfo";
const MAX_MOUNTINFO: u64 = 16 << 20;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its mount point.
    pub point: PathBuf,
    /// The file system's type, such as `ext4` or `nfs4`.
    pub kind: String,
    /// Options of the mount and of its file system.
    pub options: Vec<String>,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }

    fn is_nfs(&self) -> bool {
        matches!(self.kind.as_str(), "nfs" | "nfs4")
    }
}

/// All mounts a process sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// The mounts of this process; `None` where the system does not list them.
    #[must_use]
    pub fn of_this_process(fs: &dyn Fs) -> Option<Self> {
        let bytes = durable::read_bounded(fs, Path::new(MOUNTINFO), MAX_MOUNTINFO).ok()?;
        Some(Self::parse(&bytes))
    }

    /// Reads the lines of a `mountinfo`; malformed lines are skipped.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// The mount that holds `path`. Links in the path are not followed.
    #[must_use]
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        // Of mounts on one point the later hides the earlier, which is the one `max_by_key` gives.
        self.0
            .iter()
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.components().count())
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (own, of_fs) = (text(fields.get(5)?), text(fields.get(dash + 3)?));
    Some(Mount {
        point: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        kind: text(fields.get(dash + 1)?),
        options: own.split(',').chain(of_fs.split(',')).map(str::to_owned).collect(),
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) if first == b'\\' => {
                let value = digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                out.push(u8::try_from(value).unwrap_or(b'?'));
                rest = &after[3..];
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

/// Reports options that break an assumption of the fleet.
pub(super) fn check(mount: &Mount, place: &RolePlace, findings: &mut Findings) {
    let path = place.path.as_path();
    if mount.is_nfs() && (mount.has("soft") || mount.has("softerr")) {
        findings.warn(
            "mount",
            path,
            "mounted over NFS with `soft`: with a slow server a write may fail although the server completes it",
            "mount it with `hard`",
        );
    }
    if mount.is_nfs() && mount.has("nocto") {
        findings.warn(
            "mount",
            path,
            "mounted over NFS with `nocto`: this host may not see the writes of another host",
            "mount it without `nocto`",
        );
    }
    if place.usage == PlaceUse::Write && mount.has("ro") {
        findings.warn("mount", path, "mounted read-only, and the role has to write there", "mount it read-write");
    }
    if place.usage == PlaceUse::Write && matches!(mount.kind.as_str(), "tmpfs" | "ramfs") {
        findings.warn("mount", path, "kept in memory: it does not survive a reboot", "use a disk, except in tests");
    }
    if place.usage == PlaceUse::Write && mount.kind == "overlay" {
        findings.warn(
            "mount",
            path,
            "it is in the container's own layer: it does not survive the container",
            "mount a volume there",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{FindingScope, FindingSeverity};
    use super::*;
    use crate::places::PlaceKind;
    use crate::roles::WorkerRole;

    const INFO: &str = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 22 0:26 / /srv/a\\040b rw,relatime shared:7 - nfs4 host:/x rw,vers=4.2,soft,nocto\n\
        31 22 0:27 / /srv/a\\040b/log ro,relatime - nfs4 host:/y rw,hard\n\
        nonsense\n";

    fn found(path: &str, usage: PlaceUse) -> Vec<String> {
        let mounts = Mounts::parse(INFO.as_bytes());
        let place = RolePlace { path: path.into(), kind: PlaceKind::Repository, usage, shared: true, needed: true };
        let mut findings = Findings::new(FindingScope::Role(WorkerRole::Targets));
        check(mounts.of(&place.path).unwrap(), &place, &mut findings);
        assert!(
            findings.all.iter().all(|finding| finding.severity == FindingSeverity::Warn && !finding.advice.is_empty())
        );
        findings.all.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn soft_and_nocto_nfs_mounts_are_reported() {
        let messages = found("/srv/a b/metadata", PlaceUse::Write);
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].contains("`soft`") && messages[1].contains("`nocto`"));
    }

    #[test]
    fn a_read_only_mount_is_reported_where_the_role_has_to_write() {
        assert!(found("/srv/a b/log", PlaceUse::Write)[0].contains("read-only"));
        assert_eq!(found("/srv/a b/log", PlaceUse::Read), [""; 0]);
        assert_eq!(found("/var/lib", PlaceUse::Write), [""; 0]);
    }
}
