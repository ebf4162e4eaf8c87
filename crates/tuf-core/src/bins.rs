//! Hashed bins: `targets → bins → bin_LO-HI` by `path_hash_prefixes`, named as Rugged (and python-tuf's example) name
//! them.
//!
//! A target belongs to the bin whose range holds the first hexadecimal digits of the SHA-256 of its whole path. Names
//! begin with a letter because the Composer client strips leading digits and dots from role names.

use thiserror::Error;

use crate::names::{RoleName, TargetPath};
use crate::sha256::Sha256;

/// Name of the role between `targets` and the bins.
pub const BINS_ROLE: &str = "bins";

/// Most bins of a repository. Clients read `bins.json` whole, and its size grows with the count.
pub const MAX_BINS: u32 = 16_384;

/// A number of bins that is not allowed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the number of bins must be a power of two from 2 to {MAX_BINS}, not {0}")]
pub struct InvalidBinCount(pub u32);

/// The distribution of target paths over a number of bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinLayout {
    count: u32,
    /// Hexadecimal digits of a prefix.
    digits: u32,
    /// Consecutive prefixes of one bin.
    prefixes_per_bin: u32,
}

impl BinLayout {
    /// A layout of `count` bins.
    ///
    /// # Errors
    /// [`InvalidBinCount`] unless `count` is a power of two from 2 to [`MAX_BINS`].
    pub fn new(count: u32) -> Result<Self, InvalidBinCount> {
        if !count.is_power_of_two() || !(2..=MAX_BINS).contains(&count) {
            return Err(InvalidBinCount(count));
        }
        let digits = (u32::BITS - (count - 1).leading_zeros()).div_ceil(4);
        Ok(Self { count, digits, prefixes_per_bin: (1 << (4 * digits)) / count })
    }

    /// The number of bins.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The bin that `path` belongs to.
    #[must_use]
    pub fn index_of(&self, path: &TargetPath) -> u32 {
        let [a, b, c, d, ..] = *Sha256::of(path.as_str().as_bytes()).as_bytes();
        let head = u32::from_be_bytes([a, b, c, d]);
        (head >> (32 - 4 * self.digits)) / self.prefixes_per_bin
    }

    /// The role name of a bin, e.g. `bin_984-987`, or `bin_3f` where a bin is a single prefix.
    #[must_use]
    pub fn name(&self, index: u32) -> RoleName {
        let width = self.digits as usize;
        let first = index * self.prefixes_per_bin;
        let last = first + self.prefixes_per_bin - 1;
        RoleName::from_valid(&match last - first {
            0 => format!("bin_{first:0width$x}"),
            _ => format!("bin_{first:0width$x}-{last:0width$x}"),
        })
    }

    /// Role names of all bins in order.
    pub fn names(&self) -> impl Iterator<Item = RoleName> + '_ {
        (0..self.count).map(|index| self.name(index))
    }

    /// The `path_hash_prefixes` of a bin.
    #[must_use]
    pub fn prefixes(&self, index: u32) -> Vec<String> {
        let first = index * self.prefixes_per_bin;
        let width = self.digits as usize;
        (first..first + self.prefixes_per_bin).map(|prefix| format!("{prefix:0width$x}")).collect()
    }

    /// The layout whose bins are the bins among `roles`; `None` if there are none, or no valid number of them.
    #[must_use]
    pub fn of_roles<'a>(roles: impl Iterator<Item = &'a RoleName>) -> Option<Self> {
        let count = roles.filter(|role| is_bin(role)).count();
        u32::try_from(count).ok().and_then(|count| Self::new(count).ok())
    }
}

/// Whether a role is one of the bins.
#[must_use]
pub fn is_bin(role: &RoleName) -> bool {
    role.as_str().strip_prefix("bin_").is_some_and(|range| {
        !range.is_empty() && range.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_production_target_falls_into_the_bin_its_repository_names() {
        let layout = BinLayout::new(1024).unwrap();
        let path: TargetPath = "files/packages/8/p2/drupal/eca_modeller_bpmn.json".parse().unwrap();
        assert_eq!(layout.name(layout.index_of(&path)), "bin_984-987");
        assert_eq!(layout.prefixes(layout.index_of(&path)), ["984", "985", "986", "987"]);
    }

    #[test]
    fn every_count_covers_every_prefix_once() {
        for power in 1..=14 {
            let layout = BinLayout::new(1 << power).unwrap();
            let prefixes: Vec<_> = (0..layout.count()).flat_map(|index| layout.prefixes(index)).collect();
            assert_eq!(prefixes.len(), 16usize.pow(layout.digits));
            assert!(prefixes.is_sorted() && prefixes.iter().all(|prefix| prefix.len() == layout.digits as usize));
            assert!(layout.names().all(|name| is_bin(&name)));
        }
        assert_eq!(BinLayout::new(256).unwrap().name(63), "bin_3f");
        assert_eq!(BinLayout::new(16).unwrap().name(15), "bin_f");
        assert_eq!(BinLayout::new(2).unwrap().name(1), "bin_8-f");
    }

    #[test]
    fn other_counts_are_refused() {
        for count in [0, 1, 3, 100, 32_768, u32::MAX] {
            assert_eq!(BinLayout::new(count), Err(InvalidBinCount(count)));
        }
    }
}
