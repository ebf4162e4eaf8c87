//! How much a worker allows by remote control.

use std::fmt;

/// How much a worker allows by remote control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoteControl {
    /// Nothing: it does not listen.
    Off,
    /// It shows its state, arguments only as the text that monitors show, and refuses every command that would change it:
    /// `shutdown`, `revoke`, `terminate`, `rate_limit`, `time_limit`, `add_consumer`, `cancel_consumer`, `pool_*`,
    /// `autoscale`.
    #[default]
    Inspect,
    /// Everything a Python worker allows.
    Full,
}

impl fmt::Display for RemoteControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Inspect => "inspect",
            Self::Full => "full",
        })
    }
}
