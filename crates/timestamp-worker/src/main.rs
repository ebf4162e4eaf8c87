//! The `timestamp-worker` process.

use std::process::ExitCode;

use timestamp_worker::{WORKER, run};

fn main() -> ExitCode {
    fleet::process::main(WORKER, |context| async {
        // A process of its own holds one key; processes that host several workers say so instead.
        fleet::preflight::one_key_per_process(context.fs.as_ref(), &context.config, WORKER.role)?;
        run(context).await
    })
}
