//! The layer that writes each event as one line.

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields::LineFields;
use super::format::LogFormat;
use super::worker::process_worker;
use crate::clock::{Clock as _, SystemClock};

/// Writes each event as one line.
pub(super) struct LineLayer<W> {
    pub(super) format: LogFormat,
    pub(super) write: W,
}

impl<S, W> Layer<S> for LineLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(String) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = LineFields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<LineFields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut all = LineFields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<LineFields>() {
                for (name, value) in &fields.fields {
                    all.put(name, value.clone());
                }
            }
        }
        if let Some(worker) = process_worker()
            && !all.fields.iter().any(|(name, _)| *name == "worker")
        {
            all.put("worker", worker.into());
        }
        event.record(&mut all);
        let millis = SystemClock.unix_millis();
        let metadata = event.metadata();
        let line = self.format.line(millis, *metadata.level(), metadata.target(), all);
        (self.write)(line);
    }
}
