//! The two kinds of documents.

/// The type of a document, which determines its one large member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentType {
    /// `targets` and every delegated role; the large member is `targets`.
    Targets,
    /// `snapshot`; the large member is `meta`.
    Snapshot,
}

impl DocumentType {
    /// The value of `_type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
        }
    }

    /// The member that is indexed.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Snapshot => "meta",
        }
    }
}
