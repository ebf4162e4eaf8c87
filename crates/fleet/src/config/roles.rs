//! Thresholds, lifetimes and key names per role.

/// Threshold and lifetime of one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleConfig {
    /// How many distinct keys must sign.
    pub threshold: u32,
    /// Lifetime in seconds.
    pub expiry_seconds: i64,
    /// Seconds before the expiry at which the role is renewed; a third of the lifetime where the configuration says 0.
    pub renew_before_seconds: i64,
}

/// The roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// `roles.root`; never renewed without a ceremony.
    pub root: RoleConfig,
    /// `roles.targets`.
    pub targets: RoleConfig,
    /// `roles.snapshot`.
    pub snapshot: RoleConfig,
    /// `roles.timestamp`.
    pub timestamp: RoleConfig,
    /// `roles.bins`: the hashed bins and the role that delegates to them.
    pub bins: RoleConfig,
}

/// Names of the keys of each role; an empty list means every key in the role's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyNames {
    /// `keys.root`.
    pub root: Vec<String>,
    /// `keys.targets`.
    pub targets: Vec<String>,
    /// `keys.snapshot`.
    pub snapshot: Vec<String>,
    /// `keys.timestamp`.
    pub timestamp: Vec<String>,
}
