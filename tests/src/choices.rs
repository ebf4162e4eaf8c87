//! Choices at random that can be made again.

use std::hash::{BuildHasher as _, RandomState};

/// A choice that can be repeated: `TUF_FLEET_TEST_SEED` takes what a failed run has printed.
#[derive(Debug)]
pub struct Choices(u64);

impl Choices {
    /// Prints the seed.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it prints")]
    pub fn new() -> Self {
        let given = std::env::var("TUF_FLEET_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
        eprintln!("TUF_FLEET_TEST_SEED={seed}");
        Self(seed)
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = usize::try_from(self.next()).unwrap_or_default() % choices.len();
        choices[at]
    }

    /// A number below `end`.
    ///
    /// # Panics
    ///
    /// If that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
