//! Whether others can read the files that a worker writes for them: other workers, the web server, the pipeline.

use durable_fs::Fs;

use super::finding::Findings;
use crate::Config;
use crate::places::RolePlace;

/// Read permission for the group, or for all.
const GROUP_READS: u32 = 0o040;
const ALL_READ: u32 = 0o004;

/// Reports a umask that hides new files in a shared place from everyone else. `mode` is that of a file which was created
/// for all to read. A umask that leaves the group is a choice: the web server may be in it.
pub(super) fn check_new(mode: u32, place: &RolePlace, findings: &mut Findings) {
    if mode & (GROUP_READS | ALL_READ) == 0 {
        findings.warn(
            "umask",
            &place.path,
            format!(
                "new files there get mode {mode:04o}: other workers, the web server and the pipeline cannot read them"
            ),
            "start the worker with umask 022 (`UMask=0022` in a systemd unit)",
        );
    }
}

/// Reports served metadata that no one but its owner can read.
pub(super) fn check_served(fs: &dyn Fs, config: &Config, findings: &mut Findings) {
    let path = config.metadata_path().join("timestamp.json");
    if let Ok(stat) = fs.stat(&path)
        && stat.mode & (GROUP_READS | ALL_READ) == 0
    {
        findings.warn(
            "mode",
            &path,
            format!("the web server cannot read it (mode {:04o}, owner {}:{})", stat.mode, stat.uid, stat.gid),
            "start the workers with umask 022, and run `chmod -R a+rX` on the repository's metadata and targets",
        );
    }
}
