//! The pipeline's side of a drop: collect, copy, sync, rename, wait for the receipt. It needs the drop directory only.

mod collect;
mod drop_item;
mod drop_name;
mod receipt;
mod rejected_dir;
mod write;

pub use collect::collect;
pub use drop_item::{DropItem, ItemContent};
pub use drop_name::new_drop_name;
pub use receipt::{EarlierReceipt, ReceiptWait, await_receipt};
pub use rejected_dir::rejected_dir;
pub use write::{PostedDrop, post};
