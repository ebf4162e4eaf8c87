//! The fuzzer: `FUZZ_TARGET` says which target the inputs go to. Run it by `scripts/fuzz.sh`.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "a module of another crate's tests, taken for a part of what it holds")]

#[path = "../../crates/celery-protocol/tests/fuzz/targets/mod.rs"]
mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn target() -> fn(&[u8]) {
    match std::env::var("FUZZ_TARGET").as_deref() {
        Ok("task") => targets::task::run,
        Ok("messages") => targets::messages::run,
        Ok("values") => targets::values::run,
        Ok("wire") => celery_runtime::fuzz_wire,
        Ok("local") => celery_runtime::fuzz_local,
        _ => panic!("FUZZ_TARGET is none of task, messages, values, wire, local"),
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.get_or_init(target)(data));
