//! The body of an answer, which keeps its request in hand until it has been sent or dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;

use super::connections::RequestInHand;

/// A body and the request that it answers.
struct GuardedBody {
    body: Body,
    _request: RequestInHand,
}

/// The answer, whose request ends together with its body.
pub(super) fn guarded(response: Response, request: RequestInHand) -> Response {
    response.map(|body| Body::new(GuardedBody { body, _request: request }))
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
