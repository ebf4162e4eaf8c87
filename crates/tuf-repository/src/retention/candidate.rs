//! The targets that a file in `targets/` may be a copy of.

use tuf_core::names::TargetPath;
use tuf_core::sha256::Sha256;
use tuf_core::store::FileName;

/// A file in `targets/` with every target that it is, or may be, a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CandidateFile {
    /// Its names, in the order of removal.
    pub(crate) names: Vec<FileName>,
    /// The targets. With a hash: only the version of the target that has it.
    pub(crate) targets: Vec<(TargetPath, Option<Sha256>)>,
}

impl CandidateFile {
    /// A file named by its hash, as the targets role creates them: `dir/HASH.name`, with its other name
    /// `HASH.dir/name`. Where plain names are in use, a plain name can look like one. `None` for any other file.
    pub(crate) fn hashed(dir: &str, base: &str, plain_too: bool) -> Option<Self> {
        // From its second name to its first.
        if let Some((hash, dir)) = dir.split_at_checked(64)
            && let Some(dir) = dir.strip_prefix('.')
            && let Some(found) = Self::first_name(dir, &format!("{hash}.{base}"), plain_too)
        {
            return Some(found);
        }
        Self::first_name(dir, base, plain_too)
    }

    fn first_name(dir: &str, base: &str, plain_too: bool) -> Option<Self> {
        let (hash, name) = base.split_at_checked(64)?;
        let name = name.strip_prefix('.')?;
        let sha256: Sha256 = hash.parse().ok().filter(|digest: &Sha256| digest.to_string() == hash)?;
        let below = |name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        let path = TargetPath::new(&below(name)).ok()?;
        let file = below(base);
        let (mut targets, mut names) = (Vec::with_capacity(2), Vec::with_capacity(2));
        if !dir.is_empty() {
            let second = FileName::new(format!("{hash}.{path}")).ok()?;
            // The second name may look like the first name of another target, in a directory named like a hash.
            targets
                .extend(Self::first_name(second.dir(), second.base(), plain_too).into_iter().flat_map(|c| c.targets));
            if plain_too {
                targets.push((TargetPath::new(second.as_str()).ok()?, None));
            }
            names.push(second);
        }
        if plain_too {
            targets.push((TargetPath::new(&file).ok()?, None));
        }
        targets.push((path, Some(sha256)));
        names.push(FileName::new(file).ok()?);
        Some(Self { names, targets })
    }

    /// A file under a target's own name, as the timestamp role makes them. Hidden files are no copies.
    pub(crate) fn plain(dir: &str, base: &str) -> Option<Self> {
        if base.starts_with('.') || Self::hashed(dir, base, false).is_some() {
            return None;
        }
        let file = if dir.is_empty() { base.to_owned() } else { format!("{dir}/{base}") };
        let path = TargetPath::new(&file).ok()?;
        Some(Self { names: vec![FileName::new(file).ok()?], targets: vec![(path, None)] })
    }
}

/// Whether a directory directly in `targets/` holds only second names of files: `HASH.dir`.
pub(crate) fn is_hashed_dir(dir: &str) -> bool {
    dir.split_at_checked(64).is_some_and(|(hash, rest)| {
        rest.starts_with('.') && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_hashed_name_is_a_copy_of_the_target_it_names() {
        let candidate = CandidateFile::hashed("pkg/deep", &format!("{HASH}.a.deb"), false).unwrap();
        let names: Vec<_> = candidate.names.iter().map(FileName::as_str).collect();
        assert_eq!(names, [format!("{HASH}.pkg/deep/a.deb"), format!("pkg/deep/{HASH}.a.deb")]);
        assert_eq!(candidate.targets, [("pkg/deep/a.deb".parse().unwrap(), Some(HASH.parse().unwrap()))]);
        for other in ["a.deb".to_owned(), HASH.into(), format!("{}.a", HASH.to_uppercase()), format!("{HASH}.")] {
            assert_eq!(CandidateFile::hashed("", &other, false), None, "{other}");
        }
    }

    #[test]
    fn where_plain_names_are_in_use_a_hashed_name_may_be_one() {
        let name = format!("{HASH}.a");
        let candidate = CandidateFile::hashed("", &name, true).unwrap();
        assert!(candidate.targets.contains(&(name.parse().unwrap(), None)));
        let second = CandidateFile::hashed("pkg", &name, true).unwrap();
        assert!(second.targets.contains(&(format!("{HASH}.pkg/a").parse().unwrap(), None)));
        assert_eq!(CandidateFile::plain("", &name), None);
        assert!(CandidateFile::plain("pkg", "a").is_some() && CandidateFile::plain("pkg", ".a").is_none());
    }

    #[test]
    fn directories_of_second_names_are_recognized() {
        assert!(is_hashed_dir(&format!("{HASH}.pkg")));
        assert!(!is_hashed_dir("pkg") && !is_hashed_dir(HASH));
        let second = CandidateFile::hashed(&format!("{HASH}.pkg/deep"), "a.deb", false);
        assert_eq!(second, CandidateFile::hashed("pkg/deep", &format!("{HASH}.a.deb"), false));
    }
}
