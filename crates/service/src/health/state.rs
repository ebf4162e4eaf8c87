//! The states of a worker.

/// The state of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// It has not finished its first piece of work.
    Starting,
    /// It waits for something that is not wrong but missing (no root, no record); the text names it.
    Waiting(String),
    /// It is idle.
    Ready,
    /// It has a piece of work in hand.
    Working,
    /// It refuses to work until an operator acts; the text says why.
    Alarm(String),
}

impl HealthState {
    /// The word for this state in `/status`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting(_) => "waiting",
            Self::Ready => "ready",
            Self::Working => "working",
            Self::Alarm(_) => "alarm",
        }
    }

    pub(super) fn detail(&self) -> Option<&str> {
        match self {
            Self::Waiting(detail) | Self::Alarm(detail) => Some(detail),
            Self::Starting | Self::Ready | Self::Working => None,
        }
    }
}
