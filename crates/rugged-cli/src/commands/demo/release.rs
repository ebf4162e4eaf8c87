//! The release that the demo publishes: a small program that differs in each version, and an index that every version
//! replaces.

use service::clock::{Clock as _, SystemClock};

use crate::error::CliError;
use crate::producer::{DropItem, ItemContent};
use crate::verify::OwnClient;

/// A release of the demo.
pub struct DemoRelease {
    /// Its name and version, such as `hello 1.3.0`.
    pub title: String,
    /// Its files, sorted by path.
    pub items: Vec<DropItem>,
}

/// The release after the highest version that clients see.
///
/// # Errors
/// When the repository does not verify.
pub fn next_release(client: &mut OwnClient) -> Result<DemoRelease, CliError> {
    let listed = client
        .all_targets()
        .map_err(|error| CliError::negative_answer(error).during("the repository does not verify"))?;
    let minor = |path: &str| path.strip_prefix("hello/1.")?.split('.').next()?.parse::<u64>().ok();
    let highest = listed.keys().filter_map(|path| minor(path.as_str())).max();
    Ok(release(highest.map_or(0, |highest| highest.saturating_add(1)), &SystemClock.now().to_string()))
}

fn release(minor: u64, now: &str) -> DemoRelease {
    let version = format!("1.{minor}.0");
    let files = [
        (
            format!("hello/{version}/bin/hello"),
            format!("#!/bin/sh\n# hello {version}\necho \"Hello from version {version}, ${{1:-world}}.\"\n"),
        ),
        (
            format!("hello/{version}/docs/CHANGES.md"),
            format!("# hello {version}\n\nReleased {now}.\n\n- Greets as version {version}.\n"),
        ),
        (
            format!("hello/{version}/docs/usage.txt"),
            format!("usage: hello [NAME]\n\nhello {version} greets NAME, or the world.\n"),
        ),
        ("index.json".to_owned(), format!("{{\"hello\":{{\"latest\":\"{version}\",\"released\":\"{now}\"}}}}\n")),
    ];
    let item = |(path, text): (String, String)| DropItem { path, content: ItemContent::Bytes(text.into_bytes()) };
    DemoRelease { title: format!("hello {version}"), items: files.into_iter().map(item).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_share_no_file_but_the_index_and_paths_are_sorted() {
        let paths = |minor| release(minor, "now").items.into_iter().map(|item| item.path).collect::<Vec<_>>();
        let (one, two) = (paths(1), paths(2));
        assert!(one.is_sorted() && two.is_sorted());
        assert_eq!(one.iter().filter(|path| two.contains(path)).count(), 1);
    }
}
