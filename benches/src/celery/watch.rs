//! What the kernel says about a process and its descendants.

use std::time::Duration;

use crate::Result;

/// Resident memory in MiB, of all processes together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// As each process sees it.
    pub rss_mib: f64,
    /// Pages they share counted once.
    pub pss_mib: f64,
    /// The largest each has had.
    pub peak_mib: f64,
}

/// Their memory now.
///
/// # Errors
/// When the process is gone.
pub fn memory(process: u32) -> Result<Memory> {
    let mut memory = Memory::default();
    for process in tree(process) {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let shared = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        memory.rss_mib += mib(&status, "VmRSS:");
        memory.peak_mib += mib(&status, "VmHWM:");
        memory.pss_mib += mib(&shared, "Pss:");
    }
    Ok(memory)
}

fn mib(text: &str, field: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// User and system time they have used so far, threads that have ended included.
///
/// # Errors
/// When the process is gone.
pub fn cpu(process: u32) -> Result<Duration> {
    let mut ticks = 0;
    for process in tree(process) {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // Behind the name, which may hold anything: state is the first field, user and system time the 12th and 13th.
        let fields =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).ok_or("a stat file without a name")?;
        ticks += fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    // The kernel reports hundredths of a second to programs on every machine Linux runs on.
    Ok(Duration::from_millis(ticks * 10))
}

fn tree(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut at = 0;
    while let Some(process) = found.get(at) {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        found.extend(children.unwrap_or_default().split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        at += 1;
    }
    found
}
