//! The chain of root metadata (specification §5.3).

use crate::envelope::{Envelope, ParseError};
use crate::names::RoleName;
use crate::schema::{Metadata, RoleKeys, Root};
use crate::time::UtcTime;
use crate::verify::{self, VerifyError};

/// Largest root file accepted unless a caller sets another limit, in bytes: the limit of python-tuf and go-tuf.
pub const MAX_ROOT_BYTES: u64 = 512_000;
/// Most steps in one walk.
pub const MAX_STEPS: u64 = 1024;

/// A refused root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// Larger than permitted.
    #[error("root metadata is larger than {max} bytes")]
    TooLarge {
        /// The permitted length in bytes.
        max: u64,
    },
    /// Not root metadata.
    #[error("malformed root metadata: {0}")]
    Parse(#[from] ParseError),
    /// Not exactly the next version.
    #[error("root metadata has version {found}, expected {expected}")]
    Version {
        /// The version in the file.
        found: u64,
        /// The next version.
        expected: u64,
    },
    /// Too few signatures by the keys of the root before.
    #[error("root version {version}, by the keys of the version before: {error}")]
    NotSignedByPrevious {
        /// The version refused.
        version: u64,
        /// The number of valid signatures.
        #[source]
        error: VerifyError,
    },
    /// Too few signatures by its own keys.
    #[error("root version {version}, by its own keys: {error}")]
    NotSignedByItself {
        /// The version refused.
        version: u64,
        /// The number of valid signatures.
        #[source]
        error: VerifyError,
    },
    /// More than [`MAX_STEPS`] in one walk.
    #[error("more than {MAX_STEPS} root versions in one walk")]
    TooManySteps,
    /// The root is expired.
    #[error("root version {version} expired at {expires}")]
    Expired {
        /// Its version.
        version: u64,
        /// When it expired.
        expires: UtcTime,
    },
}

/// A walk that ended early. The chain keeps the roots it had verified by then.
#[derive(Debug, thiserror::Error)]
pub enum WalkError<E> {
    /// A root was refused.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The next root could not be fetched.
    #[error("cannot read root version {version}: {error}")]
    Fetch {
        /// The version.
        version: u64,
        /// The reason.
        #[source]
        error: E,
    },
}

/// A trusted root, moved forward one verified version at a time.
#[derive(Debug, Clone)]
pub struct RootChain {
    root: Root,
    file: Vec<u8>,
    max_bytes: u64,
}

fn parse(file: &[u8], max: u64) -> Result<(Envelope, Root), RootError> {
    if file.len() as u64 > max {
        return Err(RootError::TooLarge { max });
    }
    let envelope = Envelope::parse(file)?;
    let root = Root::from_envelope(&envelope)?;
    Ok((envelope, root))
}

fn signed_by(envelope: &Envelope, signer: &Root) -> Result<(), VerifyError> {
    match signer.roles.get(&RoleName::root()) {
        Some(role) => verify::envelope(envelope, &signer.keys, role),
        // Parsed root metadata always lists the role.
        None => Err(VerifyError { valid: 0, threshold: 1, refused: None }),
    }
}

impl RootChain {
    /// Starts from a pinned root. The caller vouches for it, so its version and expiry do not matter.
    ///
    /// # Errors
    /// [`RootError`] if it is not root metadata, larger than [`MAX_ROOT_BYTES`], or not signed by its own keys.
    pub fn from_pinned(file: &[u8]) -> Result<Self, RootError> {
        Self::from_pinned_within(file, MAX_ROOT_BYTES)
    }

    /// As [`RootChain::from_pinned`], with another limit for the size of every root of the chain, in bytes.
    ///
    /// # Errors
    /// As [`RootChain::from_pinned`].
    pub fn from_pinned_within(file: &[u8], max_bytes: u64) -> Result<Self, RootError> {
        let (envelope, root) = parse(file, max_bytes)?;
        signed_by(&envelope, &root).map_err(|error| RootError::NotSignedByItself { version: root.version, error })?;
        Ok(Self { root, file: envelope.into_file(), max_bytes })
    }

    /// Moves to the next version, which must be signed by a threshold of the keys of this version and of its own.
    /// Expiry does not matter on the way (§5.3.4 to §5.3.6).
    ///
    /// # Errors
    /// [`RootError`]; the chain stays where it was.
    pub fn advance(&mut self, file: &[u8]) -> Result<(), RootError> {
        let (envelope, root) = parse(file, self.max_bytes)?;
        let expected = self.root.version + 1;
        if root.version != expected {
            return Err(RootError::Version { found: root.version, expected });
        }
        signed_by(&envelope, &self.root)
            .map_err(|error| RootError::NotSignedByPrevious { version: expected, error })?;
        signed_by(&envelope, &root).map_err(|error| RootError::NotSignedByItself { version: expected, error })?;
        (self.root, self.file) = (root, envelope.into_file());
        Ok(())
    }

    /// Moves forward until `fetch` returns no next version, and returns the number of steps.
    ///
    /// `fetch` is asked for the content of `VERSION.root.json`; it should not read more than [`MAX_ROOT_BYTES`] + 1.
    ///
    /// # Errors
    /// [`WalkError`] from `fetch`, at a root that is refused, or after [`MAX_STEPS`].
    pub fn walk<E>(&mut self, fetch: &mut dyn FnMut(u64) -> Result<Option<Vec<u8>>, E>) -> Result<u64, WalkError<E>> {
        let mut steps = 0;
        loop {
            let version = self.root.version + 1;
            let Some(file) = fetch(version).map_err(|error| WalkError::Fetch { version, error })? else {
                return Ok(steps);
            };
            if steps == MAX_STEPS {
                return Err(RootError::TooManySteps.into());
            }
            self.advance(&file)?;
            steps += 1;
        }
    }

    /// The trusted root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The file of the trusted root.
    #[must_use]
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The version of the trusted root.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.root.version
    }

    /// Keys and threshold of a role.
    #[must_use]
    pub fn keys_for(&self, role: &RoleName) -> Option<&RoleKeys> {
        self.root.roles.get(role)
    }

    /// Checks that the trusted root is not expired at `now` (§5.3.10).
    ///
    /// # Errors
    /// [`RootError::Expired`].
    pub fn check_expiry(&self, now: UtcTime) -> Result<(), RootError> {
        if self.root.is_expired(now) {
            return Err(RootError::Expired { version: self.root.version, expires: self.root.expires });
        }
        Ok(())
    }

    /// Checks that a threshold of the keys of `role` signed `envelope`. A role that root does not list has no valid
    /// signature.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify(&self, role: &RoleName, envelope: &Envelope) -> Result<(), VerifyError> {
        match self.keys_for(role) {
            Some(keys) => verify::envelope(envelope, &self.root.keys, keys),
            None => Err(VerifyError { valid: 0, threshold: 1, refused: None }),
        }
    }
}
