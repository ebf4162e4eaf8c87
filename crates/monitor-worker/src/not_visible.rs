//! Why clients do not see a batch yet.

/// Why clients do not see a batch yet, although each role has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotVisible {
    /// A worker answers without the number that shows what clients see.
    #[error("{queue} does not say {missing}, so no release can be called published: upgrade the {queue}")]
    WorkerTooOld {
        /// The worker.
        queue: &'static str,
        /// What its answer lacks.
        missing: &'static str,
    },
    /// The snapshot-worker has not found the record yet, or another replica answered.
    #[error("snapshot {snapshot} covers the commit log up to record {covered}, and the batch is in record {record}")]
    RecordNotCovered {
        /// The snapshot.
        snapshot: u64,
        /// The newest record that it covers.
        covered: u64,
        /// The record of the batch.
        record: u64,
    },
    /// The timestamp-worker has not found the snapshot yet, or another process showed an older one.
    #[error("the served timestamp {timestamp} names snapshot {shown}, and the batch is in snapshot {snapshot}")]
    SnapshotNotShown {
        /// The served timestamp.
        timestamp: u64,
        /// The snapshot that it names.
        shown: u64,
        /// The snapshot that covers the batch.
        snapshot: u64,
    },
}
