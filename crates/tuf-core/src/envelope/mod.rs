//! The envelope around signed metadata: `{"signatures":[…],"signed":…}` (specification §4.2).

mod error;
mod signature;
mod signed_file;

pub use error::ParseError;
pub use signature::{MAX_SIGNATURES, Signature, sign};
pub use signed_file::{Envelope, SUFFIX};

pub(crate) use signed_file::roomy;
