//! A store in a directory.

mod create;
mod directory;
mod remove;
mod replace;
mod staged_path;
mod store;

pub use directory::LocalStore;
