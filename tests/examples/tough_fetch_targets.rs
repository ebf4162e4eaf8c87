//! Downloads targets with tough, as an application that embeds it does.
//!
//! ```text
//! tough_fetch_targets REPOSITORY ROOT STATE LIST
//! ```
//!
//! Arguments and output are those of `tests/python/fetch_targets.py`.
#![allow(clippy::disallowed_methods, reason = "a helper of tests: it reads and writes no file of the fleet's")]

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

#[path = "../tests/tough_over_http/mod.rs"]
mod tough_over_http;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tough_fetch_targets: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [repository, root, state, list] = words.as_slice() else { return Err("REPOSITORY ROOT STATE LIST".into()) };
    let names: Vec<String> = serde_json::from_slice(&std::fs::read(list)?)?;
    std::fs::create_dir_all(state)?;
    let fetched = tough_over_http::fetch_each(repository, &std::fs::read(root)?, Path::new(state), &names);
    let refused = fetched.as_ref().err().cloned();
    let outcome = |fetched: Result<Vec<u8>, String>| match fetched {
        Ok(content) => json!({"sha256": hex::encode(ring::digest::digest(&ring::digest::SHA256, &content))}),
        Err(error) => json!({"error": error}),
    };
    let targets: Map<String, Value> =
        fetched.unwrap_or_default().into_iter().map(|(name, fetched)| (name, outcome(fetched))).collect();
    let report = json!({"client": "tough", "refused": refused, "targets": targets});
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}
