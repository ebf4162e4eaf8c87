//! Connections that only listen.

use std::time::Duration;

use redis::aio::PubSubSink;

use crate::connection::ConnectionError;

/// Returns when Redis no longer answers on a listening connection.
pub(crate) async fn silence(mut sink: PubSubSink, answer_timeout: Duration) -> ConnectionError {
    loop {
        tokio::time::sleep(answer_timeout / 2).await;
        match tokio::time::timeout(answer_timeout, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) => return ConnectionError::NoAnswer(answer_timeout),
        }
    }
}
