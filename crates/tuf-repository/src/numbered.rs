//! Files whose names start with a number.

/// The number of `N` + `suffix`, in its one spelling: no sign, no leading zero, not 0.
pub(crate) fn number_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let number = digits.parse::<u64>().ok()?;
    (number >= 1 && number.to_string() == digits).then_some(number)
}
