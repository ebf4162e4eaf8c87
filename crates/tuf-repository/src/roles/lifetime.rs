//! How long metadata lives.

use tuf_core::time::UtcTime;

/// How long a role's metadata lives and when it is renewed, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From signing to expiry.
    pub seconds: i64,
    /// The metadata is renewed when less than this remains.
    pub renew_before: i64,
}

impl Lifetime {
    /// When metadata signed at `now` expires.
    #[must_use]
    pub fn expiry(&self, now: UtcTime) -> UtcTime {
        now.plus_seconds(self.seconds)
    }

    /// Whether metadata that expires at `expires` is to be renewed at `now`.
    #[must_use]
    pub fn due(&self, expires: UtcTime, now: UtcTime) -> bool {
        expires.seconds_since(now) <= self.renew_before
    }

    /// When metadata that expires at `expires` will be renewed.
    #[must_use]
    pub fn renewal(&self, expires: UtcTime) -> UtcTime {
        expires.plus_seconds(-self.renew_before)
    }
}
