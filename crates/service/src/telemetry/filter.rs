//! Which events are logged.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Libraries log less than the program does, unless `level` names them.
pub(super) fn filter(level: &str) -> Targets {
    let asked: Targets = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let ours = asked.default_level().unwrap_or(LevelFilter::INFO);
    let quiet = ["hyper", "hyper_util", "notify", "async_global_executor", "rustls", "polling", "async_io"];
    let mut filter = Targets::new().with_default(ours);
    for library in quiet {
        filter = filter.with_target(library, ours.min(LevelFilter::WARN));
    }
    // The errors lapin logs (a refused declaration, a lost connection) are handled or reported here, with their meaning.
    filter = filter.with_target("lapin", LevelFilter::OFF);
    for (target, level) in asked.iter() {
        filter = filter.with_target(target.to_owned(), level);
    }
    filter
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_quiet_unless_asked() {
        assert!(!filter("info").would_enable("lapin::channels", &Level::ERROR));
        assert!(!filter("debug").would_enable("hyper::proto", &Level::INFO));
        assert!(filter("info").would_enable("targets_worker", &Level::INFO));
        assert!(filter("info,lapin=debug").would_enable("lapin::channel", &Level::DEBUG));
    }
}
