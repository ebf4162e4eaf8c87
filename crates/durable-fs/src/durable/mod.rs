//! Sequences built on [`Fs`](crate::Fs) that end durable.
//!
//! A new file is written under a temporary name in its final directory, synced, given its final name by `link` (which
//! never overwrites, as `rename` would), and only then is the directory synced. Errors hold the action and the path, and
//! keep the [`io::ErrorKind`](std::io::ErrorKind) of the operating system's error.
//!
//! | file | holds |
//! |---|---|
//! | `create` | new files, one or many |
//! | `replace` | private files that are replaced |
//! | `read` | whole files of bounded length |
//! | `dirs` | directories made and removed with their contents |
//! | `sync` | `fsync` of directories |
//! | `write_batch` | `syncfs` of files that are written together |
//! | `lost_reply` | single operations whose reply may be lost (NFS) |
//! | `temp` | temporary files |

mod compare;
mod create;
mod dirs;
mod lost_reply;
mod path_error;
mod read;
mod replace;
mod sync;
mod temp;
mod write_batch;

pub use create::{ByteSource, CreateOutcome, FileToCreate, create, create_files, create_many};
pub use dirs::{create_dir_all, remove_tree, remove_tree_in};
pub use lost_reply::{
    is_nfs_remnant, link_new, make_dir, make_dir_in, remove_dir_if_there, remove_file_if_there, rename_dir,
    rename_over, retry_stale, stat_if_there,
};
pub use read::{read_bounded, read_bounded_in};
pub use replace::replace;
pub use sync::{sync_dir, sync_dirs};
pub use temp::{TEMP_PREFIX, TempFile, is_temp_name, temp_path};
pub use write_batch::WriteBatch;
