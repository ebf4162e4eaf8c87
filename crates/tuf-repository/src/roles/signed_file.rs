//! A role's next version, signed and not yet under its name.

use std::borrow::Cow;

use super::error::RoleError;
use super::parallel::beside;
use super::trust::Trust;
use tuf_core::canonical::to_json;
use tuf_core::envelope::{Envelope, SUFFIX};
use tuf_core::names::RoleName;
use tuf_core::store::{FileName, NewFile, StagedTail, Store};

/// Signed bytes with their signatures, as the pieces of a file.
pub(super) struct SignedFile<'a> {
    head: Vec<u8>,
    body: Cow<'a, [u8]>,
    behind: Option<StagedTail>,
}

/// When the bytes behind the signatures of a file are written.
#[derive(Clone, Copy)]
pub(super) enum TailWriting {
    /// While it is signed: for a single file.
    WhileSigning,
    /// With its signatures: for one of many files, which are written together.
    Later,
}

impl<'a> SignedFile<'a> {
    /// Signs `signed` with the keys of `role`.
    ///
    /// With [`TailWriting::WhileSigning`] the file is written to `metadata` while it is signed, if the length of its
    /// signatures is known in advance: an Ed25519 signature reads the bytes twice, which takes longer than writing them.
    ///
    /// # Errors
    /// As [`Trust::sign`]; [`RoleError::Store`].
    pub fn sign(
        metadata: &dyn Store,
        trust: &Trust,
        role: &RoleName,
        signed: &'a [u8],
        writing: TailWriting,
    ) -> Result<Self, RoleError> {
        let body = to_json(signed);
        let room = match writing {
            TailWriting::WhileSigning => trust.head_length(role)?,
            TailWriting::Later => None,
        };
        let Some(room) = room else {
            return Ok(Self { head: Envelope::prefix(&trust.signatures(role, signed)?), body, behind: None });
        };
        let (behind, signatures) =
            beside(signed.len(), || metadata.stage_tail("", room, &[&body, SUFFIX]), || trust.signatures(role, signed));
        let (head, behind) = (Envelope::prefix(&signatures?), behind?);
        // The signer announced another length: the whole file is written again.
        let behind = Some(behind).filter(|_| head.len() == room);
        Ok(Self { head, body, behind })
    }

    /// The whole file, in pieces.
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.head, &self.body, SUFFIX]
    }

    /// The file, to be created under `name` in the store passed to [`SignedFile::sign`]. Hands over the staged bytes, once.
    pub fn file(&mut self, name: FileName) -> NewFile<'static> {
        match self.behind.take() {
            Some(behind) => NewFile::head_and_tail(name, self.head.clone(), behind),
            None => NewFile::bytes(name, self.pieces().concat()),
        }
    }
}

/// Length of a file in pieces.
pub(super) fn length(pieces: [&[u8]; 3]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}
