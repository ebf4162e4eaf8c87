//! Parallel work on many roles: a batch may change thousands of bins, each to be read, hashed, edited and signed.

use std::num::NonZero;
use std::thread;

/// Below this many items a thread costs more than it saves.
const MIN_ITEMS_PER_THREAD: usize = 32;
/// Hashing less than this many bytes ends before a thread has started.
const MIN_BYTES_FOR_A_THREAD: usize = 256 << 10;

/// Runs `aside`, which must be pure computation, in parallel with `here` if it works on many `bytes`, otherwise after it.
pub(super) fn beside<T, U: Send>(bytes: usize, here: impl FnOnce() -> T, aside: impl FnOnce() -> U + Send) -> (T, U) {
    if bytes < MIN_BYTES_FOR_A_THREAD {
        return (here(), aside());
    }
    thread::scope(|scope| {
        let aside = scope.spawn(aside);
        let here = here();
        (here, aside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Maps in parallel, keeping the order. The first error (in that order) wins.
pub(super) fn try_map<T, U, E>(items: Vec<T>, map: impl Fn(T) -> Result<U, E> + Sync) -> Result<Vec<U>, E>
where
    T: Send,
    U: Send,
    E: Send,
{
    let worth = items.len() / MIN_ITEMS_PER_THREAD;
    // Called last: it reads the limits of the control group each time.
    let threads = if worth > 1 { thread::available_parallelism().map_or(1, NonZero::get).min(worth) } else { 1 };
    if threads <= 1 {
        return items.into_iter().map(map).collect();
    }
    let size = items.len().div_ceil(threads);
    let mut chunks = Vec::with_capacity(threads);
    let mut items = items.into_iter();
    for _ in 0..threads {
        chunks.push(items.by_ref().take(size).collect::<Vec<_>>());
    }
    let map = &map;
    let results: Vec<Result<Vec<U>, E>> = thread::scope(|scope| {
        let handles: Vec<_> = chunks
            .into_iter()
            .map(|chunk| scope.spawn(move || chunk.into_iter().map(map).collect::<Result<Vec<_>, E>>()))
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut all = Vec::new();
    for result in results {
        all.extend(result?);
    }
    Ok(all)
}
