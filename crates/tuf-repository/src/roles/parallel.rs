//! Work on many roles at once: a batch may touch thousands of bins, each to be read, hashed, edited and signed.

use std::num::NonZero;
use std::thread;

/// Below this many items a thread costs more than it saves.
const WORTH_A_THREAD: usize = 32;
/// Hashing less than this many bytes is done before a thread has started.
const WORTH_HASHING_ASIDE: usize = 256 << 10;

/// Runs `aside`, which must be computation alone, beside `here` if it works on many `bytes`, else after it.
pub(super) fn beside<T, U: Send>(bytes: usize, here: impl FnOnce() -> T, aside: impl FnOnce() -> U + Send) -> (T, U) {
    if bytes < WORTH_HASHING_ASIDE {
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
    let worth = items.len() / WORTH_A_THREAD;
    // Asked last: it reads the limits of the control group, every time.
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
