//! A repository as clients see it: through our own client, and through tough.

mod local_directory;
mod location;
mod own_client;
mod repository_directory;
mod repository_paths;
mod tough_client;

pub use local_directory::is_directory;
pub use location::RepositoryLocation;
pub use own_client::{OwnClient, RepositoryCheck, VisibleRole, check_repository, visible_roles};
pub use repository_directory::RepositoryDirectory;
pub use repository_paths::RepositoryPaths;
pub use tough_client::{DownloadedTargets, ToughError, download_all_with_tough, download_with_tough};
