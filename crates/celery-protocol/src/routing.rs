//! The queue of a task, by its name: Celery's `task_routes`.
//!
//! The publisher of a chain's step that names no queue routes it, so a worker needs the same table as the Python side of its
//! fleet.

use crate::topology::{DEFAULT_QUEUE, Route};

/// Task names and their queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    exact: Vec<(String, Route)>,
    globs: Vec<(String, Route)>,
    default: Route,
}

impl Default for Routes {
    /// All tasks to Celery's default queue, `celery`.
    fn default() -> Self {
        Self::to(DEFAULT_QUEUE)
    }
}

impl Routes {
    /// All tasks to `queue`.
    #[must_use]
    pub fn to(queue: impl Into<String>) -> Self {
        Self { exact: Vec::new(), globs: Vec::new(), default: Route::to_queue(queue) }
    }

    /// Tasks named `pattern` go to `queue`. In a pattern `*` stands for any text and `?` for any one character; a name
    /// without them wins over every pattern, and of patterns the first added wins.
    #[must_use]
    pub fn route(self, pattern: impl Into<String>, queue: impl Into<String>) -> Self {
        self.route_to(pattern, Route::to_queue(queue))
    }

    /// As [`route`](Self::route), with an exchange and a routing key.
    #[must_use]
    pub fn route_to(mut self, pattern: impl Into<String>, route: Route) -> Self {
        let pattern = pattern.into();
        let list = if pattern.contains(['*', '?']) { &mut self.globs } else { &mut self.exact };
        list.push((pattern, route));
        self
    }

    /// The destination of all other tasks.
    #[must_use]
    pub fn default_queue(mut self, queue: impl Into<String>) -> Self {
        self.default = Route::to_queue(queue);
        self
    }

    /// The destination of a task by its name.
    #[must_use]
    pub fn by_name(&self, task: &str) -> &Route {
        let exact = self.exact.iter().find(|(name, _)| name == task);
        let found =
            exact.or_else(|| self.globs.iter().find(|(pattern, _)| matches(pattern.as_bytes(), task.as_bytes())));
        found.map_or(&self.default, |(_, route)| route)
    }

    /// The destination of a task; the choice of its sender comes first.
    #[must_use]
    pub fn resolve(&self, wish: &RouteWish, task: &str) -> Route {
        match wish {
            RouteWish { queue: Some(queue), .. } => Route::to_queue(queue.as_str()),
            RouteWish { exchange: Some(exchange), routing_key, .. } if !exchange.is_empty() => {
                Route { exchange: exchange.clone(), routing_key: routing_key.clone().unwrap_or_default() }
            }
            RouteWish { routing_key: Some(key), .. } => Route::to_queue(key.as_str()),
            _ => self.by_name(task).clone(),
        }
    }
}

/// The destination in the options of a signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteWish {
    /// The queue by name, which is enough alone.
    pub queue: Option<String>,
    /// The exchange.
    pub exchange: Option<String>,
    /// The routing key.
    pub routing_key: Option<String>,
}

/// Glob matching in time proportional to the product of the lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                // The star takes one more character.
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_names_win_over_patterns_and_earlier_patterns_over_later_ones() {
        let routes = Routes::to("rest").route("lab.*", "lab").route("*.add", "adders").route("lab.add", "special");
        let queue = |task: &str| routes.by_name(task).routing_key.clone();
        assert_eq!(queue("lab.add"), "special");
        assert_eq!(queue("lab.sub"), "lab");
        assert_eq!(queue("other.add"), "adders");
        assert_eq!(queue("other"), "rest");
    }

    #[test]
    fn patterns_match_as_globs_do() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "a", false),
            ("**", "anything", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
        assert!(!matches("*a".repeat(50).as_bytes(), "b".repeat(5000).as_bytes()));
    }

    #[test]
    fn what_a_signature_says_comes_first() {
        let routes = Routes::to("rest");
        let wish = |queue: Option<&str>, exchange: Option<&str>, key: Option<&str>| RouteWish {
            queue: queue.map(str::to_owned),
            exchange: exchange.map(str::to_owned),
            routing_key: key.map(str::to_owned),
        };
        let go = |wish: &RouteWish| {
            let route = routes.resolve(wish, "t");
            (route.exchange, route.routing_key)
        };
        assert_eq!(go(&wish(Some("q"), Some("e"), Some("k"))), (String::new(), "q".into()));
        assert_eq!(go(&wish(None, Some("e"), Some("k"))), ("e".into(), "k".into()));
        assert_eq!(go(&wish(None, Some(""), Some("k"))), (String::new(), "k".into()));
        assert_eq!(go(&wish(None, None, None)), (String::new(), "rest".into()));
    }
}
