//! The rules given to the kernel.

use std::path::PathBuf;

use durable_fs::{FileKind, Fs};
use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope,
};

use super::place::SandboxPlace;
use crate::error::SandboxGap;

/// The rights the kernel is asked to control, fixed so that a newer kernel does not change what a worker may do.
const CONTROLLED: ABI = ABI::V6;

/// Files of the system a worker may read: name resolution, certificates, time zones, shared libraries that the C library
/// loads late, and the number of processors. None of them is secret, and none is written.
const SYSTEM_FILES: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/proc/self",
    "/proc/stat",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/urandom",
];
/// Files of [`SYSTEM_FILES`] that are replaced under a running worker.
pub(super) const REPLACED_FILES: &[&str] = &["/etc/resolv.conf", "/etc/hosts"];

/// Confines the calling thread, and every thread it starts from now on, to `places` and the readable `credentials`.
///
/// # Errors
/// The gap, when the kernel does not enforce all of it; the enforced part stays.
pub(super) fn restrict(fs: &dyn Fs, places: &[SandboxPlace], credentials: &[PathBuf]) -> Result<(), SandboxGap> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        // Linking and renaming between directories of one place.
        | AccessFs::Refer;
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(CONTROLLED))?
        .scope(Scope::from_all(CONTROLLED))?
        .create()?;
    let own = std::env::current_exe().ok();
    let system =
        SYSTEM_FILES.iter().map(PathBuf::from).chain(own).chain(credentials.iter().cloned()).map(|path| (path, read));
    let null = std::iter::once((PathBuf::from("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile));
    let own = places.iter().map(|place| (place.path.clone(), if place.writable { write } else { read }));
    for (path, rights) in system.chain(null).chain(own) {
        // A path that does not exist cannot be reached either.
        let Ok(opened) = PathFd::new(&path) else { continue };
        let is_dir = fs.stat(&path.join("")).is_ok_and(|stat| stat.kind == FileKind::Dir);
        let rights: BitFlags<AccessFs> = if is_dir { rights } else { rights & AccessFs::from_file(CONTROLLED) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights))?;
    }
    let status = ruleset.restrict_self()?;
    match status.ruleset {
        RulesetStatus::FullyEnforced if status.no_new_privs => Ok(()),
        RulesetStatus::FullyEnforced => Err(SandboxGap::NewPrivileges),
        RulesetStatus::PartiallyEnforced => Err(SandboxGap::OldKernel),
        RulesetStatus::NotEnforced => Err(SandboxGap::NoLandlock),
    }
}
