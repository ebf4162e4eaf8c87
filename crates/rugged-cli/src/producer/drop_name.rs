//! Names of drops.

use monitor_worker::drop_dir::DropName;
use ring::rand::{SecureRandom as _, SystemRandom};
use service::clock::{Clock as _, SystemClock};

use crate::error::CliError;

/// Makes a unique name for a drop: the time, so that names sort in order, and random digits.
///
/// # Errors
/// When the system has no random numbers.
pub fn new_drop_name() -> Result<DropName, CliError> {
    let now = SystemClock.now();
    let stamp: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let mut random = [0_u8; 4];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| CliError::local_failure("cannot name the drop: the system has no random numbers"))?;
    DropName::new(&format!("{stamp}-{}", hex::encode(random)))
        .map_err(|error| CliError::local_failure(error).during("cannot name the drop"))
}
