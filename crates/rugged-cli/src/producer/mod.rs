//! The pipeline's side of a drop: collect, copy, sync, rename, wait for the receipt. Needs nothing but the drop directory.

mod collect;
mod receipt;
mod write;

pub use collect::{Content, Item, collect};
pub use receipt::{Awaited, Before, await_receipt};
pub use write::{Posted, post};

use std::io;

use ring::rand::{SecureRandom as _, SystemRandom};
use service::clock::{Clock as _, SystemClock};

/// A name for a drop that nobody else takes: the time, for people and for the order of names, and random digits.
///
/// # Errors
/// When the system has no random numbers.
pub fn new_name() -> io::Result<String> {
    let now = SystemClock.now();
    let stamp: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let mut random = [0_u8; 4];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(format!("{stamp}-{}", hex::encode(random)))
}
