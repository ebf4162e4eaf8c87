//! The stores of a repository.

use std::sync::Arc;

use tuf_core::store::Store;

/// The stores of a repository's files.
#[derive(Clone, Debug)]
pub struct RepositoryStores {
    /// `metadata/`: served.
    pub metadata: Arc<dyn Store>,
    /// `targets/`: served.
    pub targets: Arc<dyn Store>,
    /// `log/`: never served.
    pub log: Arc<dyn Store>,
}
