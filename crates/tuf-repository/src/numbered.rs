//! Files whose names start with a number.
//!
//! Everyone who can write to a shared directory can create any name. So a number comes from verified state alone: the next
//! one is the verified one plus one, and names that other files hold are stepped over one by one, up to a limit.

/// The highest number that is ever used, 2^53 - 1: JSON readers that store numbers as floating point know no higher one.
pub(crate) const MAX_NUMBER: u64 = (1 << 53) - 1;
/// The most names in a row that are stepped over because other files hold them.
pub(crate) const MAX_SQUATTED_NAMES: u64 = 64;

/// The number of `N` + `suffix`, in its one spelling: no sign, no leading zero, not 0. It may be above [`MAX_NUMBER`].
pub(crate) fn number_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let number = digits.parse::<u64>().ok()?;
    (number >= 1 && number.to_string() == digits).then_some(number)
}

/// Whether releases can have brought a number this far. A stolen key, or an earlier version of this software that trusted
/// names, may have brought it further.
pub(crate) fn is_reachable(number: u64) -> bool {
    number <= MAX_NUMBER / 2
}
