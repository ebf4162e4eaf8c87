//! Each mount full, and each read-only, while three drops are posted: nothing is rejected, nothing is lost, and the fleet
//! continues without any command when the mount accepts writes again.

use super::BINS;
use std::io::ErrorKind;
use std::path::PathBuf;

use celery_runtime::broker::memory::Duplicates;
use fleet::{Config, WorkerRole};

use crate::rules;
use crate::simulated::Simulated;

/// `shown`: clients see the drops meanwhile, and only their receipts wait.
fn refusing(kind: ErrorKind, shown: bool, mount: impl Fn(&Config) -> PathBuf) {
    for consistent_snapshot in [true, false] {
        let base = Simulated::new(consistent_snapshot, BINS, Duplicates::Off);
        let mount = mount(&base.config);
        let context = format!("consistent={consistent_snapshot} {kind} {}", mount.display());
        let finished = base.run_refusing(&mount, kind, &context, |machine| {
            rules::check_refused(machine, &context);
            assert_eq!(rules::shows_the_drops(machine), shown, "{context}: whether clients see the drops");
        });
        rules::check_after(&finished, &base, &base.fs.files(), &context);
    }
}

#[test]
fn a_full_drop_directory_delays_receipts_alone() {
    refusing(ErrorKind::StorageFull, true, |config| config.post_to_tuf_path.clone());
}

#[test]
fn a_read_only_drop_directory_delays_everything() {
    refusing(ErrorKind::ReadOnlyFilesystem, false, |config| config.post_to_tuf_path.clone());
}

/// A full and a read-only mount, where both have the same effect.
macro_rules! both {
    ($($name:ident, $read_only:ident, $shown:literal: $mount:expr;)*) => {$(
        #[test]
        fn $name() {
            refusing(ErrorKind::StorageFull, $shown, $mount);
        }

        #[test]
        fn $read_only() {
            refusing(ErrorKind::ReadOnlyFilesystem, $shown, $mount);
        }
    )*};
}

both! {
    a_full_inbound_directory_holds_drops_back, a_read_only_inbound_directory_holds_drops_back, false:
        |config| config.inbound_targets_path.clone();
    a_full_metadata_directory_delays_releases, a_read_only_metadata_directory_delays_releases, false:
        Config::metadata_path;
    a_full_targets_directory_delays_releases, a_read_only_targets_directory_delays_releases, false:
        Config::targets_path;
    a_full_log_directory_delays_releases, a_read_only_log_directory_delays_releases, false: Config::log_path;
    a_full_state_of_the_monitor_delays_receipts_alone, a_read_only_state_of_the_monitor_delays_receipts_alone, true:
        |config| config.state_of(WorkerRole::Monitor);
    a_full_state_of_targets_stops_what_it_cannot_note, a_read_only_state_of_targets_stops_what_it_cannot_note, false:
        |config| config.state_of(WorkerRole::Targets);
    a_full_state_of_the_snapshot_stops_what_it_cannot_note, a_read_only_state_of_the_snapshot_stops_what_it_cannot_note,
        false: |config| config.state_of(WorkerRole::Snapshot);
    a_full_state_of_the_timestamp_delays_receipts_once, a_read_only_state_of_the_timestamp_delays_receipts_once, true:
        |config| config.state_of(WorkerRole::Timestamp);
}
