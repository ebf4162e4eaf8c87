//! Which file imports which: paths are followed through re-exports to the file that defines the name.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Crate, Module, Source};

/// Re-exports followed before a path counts as unknown.
const MAX_RE_EXPORTS: usize = 16;

/// An arrow to a file, with one name it stands for.
type Arrows = BTreeMap<Module, BTreeMap<Module, String>>;

/// Each circle of files as a line.
pub fn circles(one: &Crate) -> Vec<String> {
    let arrows = arrows(one);
    let mut left: BTreeSet<&Module> = one.files.keys().collect();
    let mut circles = Vec::new();
    while let Some(start) = left.pop_first() {
        let behind = reached(&arrows, start);
        if !behind.contains(start) {
            continue;
        }
        // Everything that is reached from here and reaches back.
        let circle: BTreeSet<&Module> =
            behind.into_iter().filter(|file| reached(&arrows, file).contains(start)).collect();
        let inner: Vec<String> = circle
            .iter()
            .flat_map(|from| arrows.get(*from).into_iter().flatten().map(move |(to, name)| (*from, to, name)))
            .filter(|(_, to, _)| circle.contains(to))
            .map(|(from, to, name)| format!("    {} uses {name} of {}", one.files[from].path, one.files[to].path))
            .collect();
        circles.push(format!("{}: {} files\n{}", one.name, circle.len(), inner.join("\n")));
        left.retain(|file| !circle.contains(file));
    }
    circles
}

fn reached<'a>(arrows: &'a Arrows, from: &Module) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&Module> = arrows.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(file) = next.pop() {
        if seen.insert(file) {
            next.extend(arrows.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    seen
}

fn arrows(one: &Crate) -> Arrows {
    let mut arrows = Arrows::new();
    for (module, file) in &one.files {
        // A file that only hands a name on is an index and does not depend on it.
        let used = file.imports.iter().filter(|import| !import.re_export || file.words.contains(&import.name));
        let paths = used.map(|import| &import.path).chain(&file.paths);
        for path in paths.filter_map(|path| absolute(module, file, path)) {
            if let Some(target) = defined_in(one, &path, 0).filter(|target| target != module) {
                arrows.entry(module.clone()).or_default().insert(target, path.last().cloned().unwrap_or_default());
            }
        }
    }
    arrows
}

/// The path from the root of the crate; `None` for one that leads out of it.
fn absolute(module: &Module, file: &Source, path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let start = match first.as_str() {
        "crate" => return Some(rest.to_vec()),
        "self" => return Some([module, rest].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            return Some([&module[..module.len().checked_sub(up)?], &path[up..]].concat());
        }
        name => name,
    };
    file.children.contains(start).then(|| [module, path].concat())
}

fn defined_in(one: &Crate, path: &[String], depth: usize) -> Option<Module> {
    if depth > MAX_RE_EXPORTS {
        return None;
    }
    let known = (0..=path.len()).rev().find(|length| one.files.contains_key(&path[..*length]))?;
    let (module, rest) = (path[..known].to_vec(), &path[known..]);
    let file = &one.files[&module];
    let Some((name, below)) = rest.split_first() else { return Some(module) };
    if !file.defines.contains(name) {
        let named = file.imports.iter().find(|import| import.re_export && import.name == *name);
        if let Some(target) = named.and_then(|import| absolute(&module, file, &import.path)) {
            return defined_in(one, &[&target, below].concat(), depth + 1);
        }
        for glob in file.imports.iter().filter(|import| import.re_export && import.name == "*") {
            if let Some(target) = absolute(&module, file, &glob.path[..glob.path.len() - 1])
                && let Some(found) = defined_in(one, &[&target, rest].concat(), depth + 1)
                && one.files[&found].defines.contains(name)
            {
                return Some(found);
            }
        }
    }
    Some(module)
}
