//! Each mount full, and each read-only, while three drops are posted: nothing is rejected, nothing is lost, and the fleet
//! goes on by itself when the mount takes writes again.

use std::io::ErrorKind;
use std::path::PathBuf;

use celery_runtime::broker::memory::Duplicates;
use fleet::Config;

use crate::rules;
use crate::simulated::Simulated;

fn refusing(kind: ErrorKind, mount: impl Fn(&Config) -> PathBuf) {
    for consistent_snapshot in [true, false] {
        let base = Simulated::new(consistent_snapshot, Duplicates::Off);
        let mount = mount(&base.config);
        let context = format!("consistent={consistent_snapshot} {kind} {}", mount.display());
        let finished = base.run_refusing(&mount, kind, &context, |machine| rules::check_refused(machine, &context));
        rules::check_after(&finished, &base, &base.fs.files(), &context);
    }
}

macro_rules! mounts {
    ($($full:ident, $read_only:ident: $mount:expr;)*) => {$(
        #[test]
        fn $full() {
            refusing(ErrorKind::StorageFull, $mount);
        }

        #[test]
        fn $read_only() {
            refusing(ErrorKind::ReadOnlyFilesystem, $mount);
        }
    )*};
}

mounts! {
    a_full_drop_directory_delays_receipts_and_loses_nothing,
    a_read_only_drop_directory_delays_everything_and_loses_nothing: |config| config.post_to_tuf_path.clone();
    a_full_inbound_directory_holds_drops_back, a_read_only_inbound_directory_holds_drops_back:
        |config| config.inbound_targets_path.clone();
    a_full_metadata_directory_delays_releases, a_read_only_metadata_directory_delays_releases: Config::metadata_path;
    a_full_targets_directory_delays_releases, a_read_only_targets_directory_delays_releases: Config::targets_path;
    a_full_log_directory_delays_releases, a_read_only_log_directory_delays_releases: Config::log_path;
    a_full_state_of_the_monitor_loses_nothing, a_read_only_state_of_the_monitor_loses_nothing:
        |config| config.state_of("monitor");
    a_full_state_of_targets_loses_nothing, a_read_only_state_of_targets_loses_nothing: |config| config.state_of("targets");
    a_full_state_of_the_snapshot_loses_nothing, a_read_only_state_of_the_snapshot_loses_nothing:
        |config| config.state_of("snapshot");
    a_full_state_of_the_timestamp_loses_nothing, a_read_only_state_of_the_timestamp_loses_nothing:
        |config| config.state_of("timestamp");
}
