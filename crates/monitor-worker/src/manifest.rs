//! The optional manifest of a drop: `SHA256SUMS` at its top, as `sha256sum` writes it (plain or with `--tag`), with the
//! line ends of any system.

use std::collections::BTreeMap;

use tuf_core::sha256::Sha256;

use crate::staging::StagedFile;

/// Name of the manifest; it is not itself a target.
pub const MANIFEST: &str = "SHA256SUMS";

/// The endings of files beside the manifest that hold its signature. It cannot list them, because they are made after it.
const SIGNATURES: [&str; 5] = [".asc", ".gpg", ".minisig", ".sig", ".sign"];

/// Longest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// Why a manifest rejects its drop.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is too long to be read.
    #[error("{MANIFEST} is longer than {MAX_MANIFEST_BYTES} bytes")]
    TooLong,
    /// It is not text.
    #[error("{MANIFEST} is not UTF-8 text (`>` of some PowerShells writes UTF-16)")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// A line is not as `sha256sum` writes it.
    #[error("{MANIFEST} line {line} is malformed: it is neither `HASH  PATH` nor `SHA256 (PATH) = HASH`")]
    Malformed {
        /// The line, from 1.
        line: usize,
    },
    /// A line lists the manifest, which cannot hold its own sum.
    #[error("{MANIFEST} line {line} lists the manifest itself")]
    ListsItself {
        /// The line, from 1.
        line: usize,
    },
    /// A path is listed twice.
    #[error("{MANIFEST} line {line} lists {path:?} again")]
    ListedAgain {
        /// The second line, from 1.
        line: usize,
        /// The path.
        path: String,
    },
    /// A file of the drop is not listed.
    #[error("{path:?} is not listed in {MANIFEST}")]
    NotListed {
        /// The file.
        path: String,
    },
    /// A file of the drop is listed with the path that it had elsewhere, such as in the build.
    #[error("{path:?} is listed in {MANIFEST} as {listed:?}: list the paths as they are in the drop")]
    OtherPath {
        /// The file.
        path: String,
        /// The path that is listed.
        listed: String,
    },
    /// A file has another sum than the one listed.
    #[error("{path:?} does not match {MANIFEST}: its sha256 is {actual}, but the manifest lists {listed}")]
    Mismatch {
        /// The file.
        path: String,
        /// Its SHA-256.
        actual: Sha256,
        /// The SHA-256 that is listed.
        listed: Sha256,
    },
    /// A file is listed and not in the drop.
    #[error("{path:?} is listed in {MANIFEST}, but missing")]
    Missing {
        /// The file.
        path: String,
    },
}

/// A parsed manifest: path to SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    sums: BTreeMap<String, Sha256>,
}

impl Manifest {
    /// Parses `<64 hex> <space or *><path>` and `SHA256 (<path>) = <64 hex>` lines that end with `\n` or `\r\n`. A leading
    /// backslash means that `\\`, `\n` and `\r` in the path are escapes; a leading `./` of a path is dropped, as `find .
    /// -exec sha256sum` writes it. A byte order mark is skipped.
    ///
    /// # Errors
    /// [`ManifestError`], with the line number.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(ManifestError::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut sums = BTreeMap::new();
        for (index, line) in text.split('\n').enumerate() {
            // Targets have no control characters in their names, so this is never a part of one.
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let number = index + 1;
            let (path, sum) = parse_line(line).ok_or(ManifestError::Malformed { line: number })?;
            if path == MANIFEST {
                return Err(ManifestError::ListsItself { line: number });
            }
            if sums.insert(path.clone(), sum).is_some() {
                return Err(ManifestError::ListedAgain { line: number, path });
            }
        }
        Ok(Self { sums })
    }

    /// Checks that `files`, sorted by path, and the manifest agree exactly. Signatures of the manifest need not be listed.
    ///
    /// # Errors
    /// The first disagreement, with the path of the file.
    pub fn check(&self, files: &[StagedFile]) -> Result<(), ManifestError> {
        for file in files {
            let path = file.path.as_str();
            match self.sums.get(path) {
                None if is_signature(path) => {}
                None => return Err(self.not_listed(file)),
                Some(listed) if *listed != file.sha256 => {
                    let (actual, listed) = (file.sha256, *listed);
                    return Err(ManifestError::Mismatch { path: path.to_owned(), actual, listed });
                }
                Some(_) => {}
            }
        }
        let absent = |path: &&String| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_err();
        match self.sums.keys().find(absent) {
            Some(path) => Err(ManifestError::Missing { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Why `file` is not listed under its path. Its sum beside a longer path shows that the manifest was made elsewhere.
    fn not_listed(&self, file: &StagedFile) -> ManifestError {
        let path = file.path.clone();
        let elsewhere = |(listed, sum): &(&String, &Sha256)| {
            **sum == file.sha256 && listed.strip_suffix(&path).is_some_and(|above| above.ends_with(['/', '\\']))
        };
        match self.sums.iter().find(elsewhere) {
            Some((listed, _)) => ManifestError::OtherPath { path, listed: listed.clone() },
            None => ManifestError::NotListed { path },
        }
    }
}

/// Whether `path` is a signature of the manifest, beside it.
fn is_signature(path: &str) -> bool {
    path.strip_prefix(MANIFEST).is_some_and(|ending| SIGNATURES.contains(&ending))
}

fn parse_line(line: &str) -> Option<(String, Sha256)> {
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (sum, name) = match line.strip_prefix("SHA256 (") {
        // A path may hold what separates it from its sum; the sum cannot.
        Some(tagged) => tagged.rsplit_once(") = ").map(|(name, sum)| (sum, name))?,
        None => {
            let (sum, rest) = line.split_at_checked(64)?;
            (sum, rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?)
        }
    };
    let sha256 = sum.parse().ok()?;
    let name = if escaped { unescape(name)? } else { name.to_owned() };
    let name = name.strip_prefix("./").unwrap_or(&name);
    if name.is_empty() { None } else { Some((name.to_owned(), sha256)) }
}

fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn files(paths: &[&str]) -> Vec<StagedFile> {
        let sha256 = SUM.parse().unwrap();
        paths.iter().map(|path| StagedFile { path: (*path).to_owned(), sha256, len: 0 }).collect()
    }

    #[test]
    fn text_binary_dotted_and_upper_case_lines_are_read() {
        let text = format!("{SUM}  a\n{SUM} *b/c d\n{}  ./e\n\n", SUM.to_uppercase());
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        manifest.check(&files(&["a", "b/c d", "e"])).unwrap();
        assert!(manifest.check(&files(&["a", "b/c d"])).unwrap_err().to_string().contains("\"e\" is listed"));
        assert!(
            manifest.check(&files(&["a", "b/c d", "e", "f"])).unwrap_err().to_string().contains("\"f\" is not listed")
        );
        let mut other = files(&["a", "b/c d", "e"]);
        other[1].sha256 = Sha256::of(b"other");
        assert!(manifest.check(&other).unwrap_err().to_string().starts_with("\"b/c d\" does not match"));
    }

    #[test]
    fn escaped_names_are_unescaped() {
        let text = format!("\\{SUM}  a\\\\b\\nc\n{SUM}  plain\\n\n");
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        manifest.check(&files(&["a\\b\nc", "plain\\n"])).unwrap();
    }

    #[test]
    fn tagged_lines_and_the_line_ends_of_windows_are_read() {
        let text = format!("\u{feff}SHA256 (a) = {SUM}\r\nSHA256 (./b) = c (d) = {SUM}\r\n{SUM}  e\r\n\r\n");
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        manifest.check(&files(&["a", "b) = c (d", "e"])).unwrap();
        let text = format!("\\SHA256 (a\\nb) = {SUM}\n");
        Manifest::parse(text.as_bytes()).unwrap().check(&files(&["a\nb"])).unwrap();
    }

    #[test]
    fn a_signature_beside_the_manifest_need_not_be_listed() {
        let manifest = Manifest::parse(format!("{SUM}  a\n").as_bytes()).unwrap();
        manifest.check(&files(&["SHA256SUMS.asc", "SHA256SUMS.gpg", "SHA256SUMS.sig", "a"])).unwrap();
        for other in ["SHA256SUMS.exe", "SHA256SUMS.gpg/a", "dir/SHA256SUMS.gpg", "SHA512SUMS.gpg"] {
            let mut with = files(&["a", other]);
            with.sort_by(|one, two| one.path.cmp(&two.path));
            manifest.check(&with).unwrap_err();
        }
    }

    #[test]
    fn a_manifest_with_the_paths_of_the_build_names_the_path_it_lists() {
        for listed in ["/builds/app/dist/a", "dist/a", "dist\\\\a"] {
            let escape = if listed.contains('\\') { "\\" } else { "" };
            let manifest = Manifest::parse(format!("{escape}{SUM}  {listed}\n").as_bytes()).unwrap();
            let error = manifest.check(&files(&["a"])).unwrap_err().to_string();
            assert!(error.starts_with("\"a\" is listed in SHA256SUMS as") && error.contains("dist"), "{error}");
        }
    }

    #[test]
    fn malformed_lines_are_named() {
        for bad in [
            "abc",
            &SUM[1..],
            &format!("{SUM} a"),
            &format!("{SUM}  "),
            &format!("\\{SUM}  a\\x"),
            &format!("SHA512 (a) = {SUM}"),
            &format!("SHA256 () = {SUM}"),
        ] {
            let error = Manifest::parse(format!("{SUM}  ok\n{bad}\n").as_bytes()).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{bad}: {error}");
        }
        assert!(Manifest::parse(format!("{SUM}  a\n{SUM}  a\n").as_bytes()).unwrap_err().to_string().contains("again"));
        assert!(Manifest::parse(format!("{SUM}  {MANIFEST}\n").as_bytes()).unwrap_err().to_string().contains("itself"));
        assert!(Manifest::parse(b"\xff").is_err());
    }
}
