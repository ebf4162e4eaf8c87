//! `policy.*` of the configuration.

use fleet::config::TargetNames;
use fleet::policy::PathPatterns;

/// Which targets a release may add, and which it may replace.
#[derive(Clone, Debug)]
pub(crate) struct ReleasePolicy {
    pub(crate) allowed: PathPatterns,
    pub(crate) overwrite: PathPatterns,
    /// Whether clients that refuse an empty target are served (`keyid_format: legacy`).
    pub(crate) legacy: bool,
    /// Which names of targets a release may have.
    pub(crate) names: TargetNames,
}
