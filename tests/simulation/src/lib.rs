//! The whole fleet on a simulated machine that fails: see `tests/`.
