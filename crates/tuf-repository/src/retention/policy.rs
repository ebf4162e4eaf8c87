//! How long files are kept after they went out of use.

/// The shortest time that a file is kept after it went out of use: 24 hours, in seconds.
pub const MIN_KEEP_SECONDS: i64 = 86_400;

/// How long files are kept, and how many one call deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    pub(super) keep: i64,
    pub(super) deletions: usize,
}

impl RetentionPolicy {
    /// Keeps files for `seconds` after they went out of use, and at least for the lifetime of a timestamp plus a day: that
    /// long a slow client may continue with the metadata that it has.
    #[must_use]
    pub fn new(seconds: i64, timestamp_lifetime: i64) -> Self {
        let least = timestamp_lifetime.max(0).saturating_add(MIN_KEEP_SECONDS);
        Self { keep: seconds.max(least), deletions: 5_000 }
    }

    /// Limits the deletions of one call. The next call finds the remaining files.
    #[must_use]
    pub fn with_deletions(self, deletions: usize) -> Self {
        Self { deletions: deletions.max(1), ..self }
    }

    /// How long files are kept after they went out of use, in seconds.
    #[must_use]
    pub fn keep_seconds(&self) -> i64 {
        self.keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn nothing_is_kept_for_less_than_a_timestamp_lives_and_a_day() {
        assert_eq!(RetentionPolicy::new(0, DAY).keep_seconds(), 2 * DAY);
        assert_eq!(RetentionPolicy::new(30 * DAY, DAY).keep_seconds(), 30 * DAY);
    }
}
