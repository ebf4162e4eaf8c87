//! Receipts: how drops ended, for their producers and for the monitor itself.
//!
//! In the private state, `receipts/X.DIGEST16.json` remembers every drop that ended, and `rejections/X.json` is the
//! journal of a rejection whose directory is not yet renamed. In the drop directory, `tuf_receipt_X.json` is for the
//! producer; a later drop of the same name replaces it.

mod format;
mod public;
mod state;
mod write_files;

pub use format::{DropOutcome, MAX_RECEIPT_BYTES, RECEIPT_FORMAT, Receipt};
pub use public::write_public;
pub use state::StateReceipts;
