//! The waits between attempts.

use std::time::Duration;

use super::options::ConnectOptions;

/// Waits that double up to a limit, each shortened by up to half at random.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(options: &ConnectOptions) -> Self {
        Self { first: options.first_retry, max: options.max_retry, next: options.first_retry }
    }

    pub fn next(&mut self) -> Duration {
        let wait = self.next.min(self.max);
        self.next = wait.saturating_mul(2).min(self.max);
        // Half fixed, half random, so that a fleet does not reconnect in step.
        let random = (uuid::Uuid::new_v4().as_u128() % 1024) as u32;
        wait / 2 + (wait / 2) * random / 1024
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_again() {
        let options = ConnectOptions::default();
        let mut backoff = Backoff::new(&options);
        for exponent in 0..20 {
            let full = (options.first_retry * 2u32.pow(exponent.min(10))).min(options.max_retry);
            let wait = backoff.next();
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= options.first_retry);
    }
}
