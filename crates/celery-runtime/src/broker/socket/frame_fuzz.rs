//! Fuzzes the frames of a socket: takes any bytes and panics if a promise is broken.
//!
//! Compiled for the tests, which replay the corpus, and for the fuzzer (`fuzz/`).

use celery_protocol::Message;
use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use super::frame::{SocketAnswer, SocketCall, SocketRequest, WireMessage, encode, read};

/// Frames of a client.
pub(crate) fn request(stream: &[u8]) {
    each(stream, |request: &SocketRequest| {
        if let SocketCall::Publish { message, .. } = &request.call {
            passes_on(message);
        }
    });
}

/// Frames of a server.
pub(crate) fn answer(stream: &[u8]) {
    each(stream, |answer: &SocketAnswer| {
        if let SocketAnswer::Delivery { message, .. } = answer {
            passes_on(message);
        }
    });
}

/// Each frame is refused, or is read back as it is written.
fn each<T: Serialize + DeserializeOwned>(stream: &[u8], look: impl Fn(&T)) {
    let mut rest = stream;
    while let Some(frame) = next::<T>(&mut rest) {
        look(&frame);
        let Ok(written) = encode(&frame) else { return };
        let again = next::<T>(&mut written.as_slice());
        assert_eq!(again.map(|frame| encode(&frame).ok()), Some(Some(written)));
    }
}

/// Nothing is waited for: the bytes are all there.
fn next<T: DeserializeOwned>(stream: &mut &[u8]) -> Option<T> {
    let read = read(stream).now_or_never();
    assert!(read.is_some(), "it waits for bytes that are there");
    read.and_then(Result::ok).flatten()
}

/// A message that is taken from the socket is the same when it crosses another.
fn passes_on(message: &WireMessage) {
    let taken = |message: &WireMessage| Message::try_from(message.clone()).ok();
    if let Some(first) = taken(message) {
        assert_eq!(taken(&WireMessage::from(&first)), Some(first));
    }
}
