//! Sources, read into what the tests ask about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, ImplItem, Item, UseTree, Visibility};

/// A path of modules within a crate; empty for its root.
pub type Module = Vec<String>;

/// The sources of one crate.
pub struct Crate {
    /// Its name in Cargo.toml.
    pub name: String,
    /// Every file but those of tests, by its module.
    pub files: BTreeMap<Module, Source>,
}

/// One file.
pub struct Source {
    /// Its path, from the root of the workspace.
    pub path: String,
    /// The items outside tests.
    pub items: Vec<Item>,
    /// What its `use` declarations bring in.
    pub imports: Vec<Import>,
    /// Every path with `::` in its code.
    pub paths: BTreeSet<Vec<String>>,
    /// Every identifier in its code.
    pub words: BTreeSet<String>,
    /// The names of its items.
    pub defines: BTreeSet<String>,
    /// The modules it declares.
    pub children: BTreeSet<String>,
}

/// One name that a `use` declaration brings in.
pub struct Import {
    /// The path as written; `*` last for a glob.
    pub path: Vec<String>,
    /// The name it has in the file.
    pub name: String,
    /// Whether the file hands it on (`pub use`).
    pub re_export: bool,
}

/// Every crate of the workspace.
pub fn crates() -> Vec<Crate> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let crates: Vec<Crate> =
        folders.iter().filter(|folder| folder.join("Cargo.toml").exists()).map(|folder| read(root, folder)).collect();
    assert!(crates.len() > 10, "the crates are not where this test looks for them");
    crates
}

fn read(root: &Path, folder: &Path) -> Crate {
    let src = folder.join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    let mut files: BTreeMap<Module, Source> = paths
        .iter()
        .map(|path| {
            let mut module: Module = path
                .strip_prefix(&src)
                .unwrap()
                .with_extension("")
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                module.pop();
            }
            (module, Source::read(root, path))
        })
        .collect();
    // A file whose parent declares it for tests only is not declared any more.
    loop {
        let orphans: Vec<Module> = files
            .keys()
            .filter(|module| {
                module.split_last().is_some_and(|(name, parent)| {
                    files.get(parent).is_none_or(|parent| !parent.children.contains(name))
                })
            })
            .cloned()
            .collect();
        if orphans.is_empty() {
            break;
        }
        files.retain(|module, _| !orphans.contains(module));
    }
    Crate { name: folder.file_name().unwrap().to_str().unwrap().to_owned(), files }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut source = Self {
            path: path.strip_prefix(root).unwrap().display().to_string(),
            items: Vec::new(),
            imports: Vec::new(),
            paths: BTreeSet::new(),
            words: BTreeSet::new(),
            defines: BTreeSet::new(),
            children: BTreeSet::new(),
        };
        source.take(parsed.items);
        source
    }

    fn take(&mut self, items: Vec<Item>) {
        for item in items {
            if for_tests(attributes(&item)) {
                continue;
            }
            if let Some(name) = name_of(&item) {
                self.defines.insert(name);
            }
            match item {
                Item::Use(item) => {
                    let re_export = !matches!(item.vis, Visibility::Inherited);
                    self.import(&item.tree, Vec::new(), re_export);
                }
                Item::Mod(item) => match item.content {
                    Some((_, items)) => self.take(items),
                    None => drop(self.children.insert(item.ident.to_string())),
                },
                Item::Impl(mut item) => {
                    item.items.retain(|item| match item {
                        ImplItem::Fn(item) => !for_tests(&item.attrs),
                        _ => true,
                    });
                    self.scan(item.to_token_stream());
                    self.items.push(Item::Impl(item));
                }
                item => {
                    self.scan(item.to_token_stream());
                    self.items.push(item);
                }
            }
        }
    }

    fn import(&mut self, tree: &UseTree, mut path: Vec<String>, re_export: bool) {
        let mut add = |path: Vec<String>, name: String| self.imports.push(Import { path, name, re_export });
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.import(&tree.tree, path, re_export);
            }
            UseTree::Group(tree) => tree.items.iter().for_each(|tree| self.import(tree, path.clone(), re_export)),
            UseTree::Glob(_) => {
                path.push("*".into());
                add(path, "*".into());
            }
            UseTree::Name(tree) if tree.ident == "self" => {
                let name = path.last().cloned().unwrap_or_default();
                add(path, name);
            }
            UseTree::Name(tree) => {
                path.push(tree.ident.to_string());
                add(path, tree.ident.to_string());
            }
            UseTree::Rename(tree) => {
                if tree.ident != "self" {
                    path.push(tree.ident.to_string());
                }
                add(path, tree.rename.to_string());
            }
        }
    }

    /// Notes the identifiers and the paths of some code, macros included.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    self.words.insert(word.clone());
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(word);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    if path.is_empty() || colons > 2 {
                        self.end(&mut path);
                    }
                }
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    colons = 0;
                    self.scan(group.stream());
                }
                _ => {
                    self.end(&mut path);
                    colons = 0;
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.paths.insert(path);
        }
    }
}

impl Crate {
    /// Each file with each other crate of the workspace that it imports.
    pub fn workspace_imports<'a>(&'a self, names: &BTreeSet<&'a str>) -> Vec<(&'a str, &'a str)> {
        let mut found = BTreeSet::new();
        for file in self.files.values() {
            let imported = file.imports.iter().map(|import| &import.path).chain(&file.paths);
            for first in imported.filter_map(|path| path.first()) {
                let name = first.replace('_', "-");
                if let Some(name) = names.get(name.as_str()).filter(|name| **name != self.name)
                    && (first.contains('_') || !file.defines.contains(first) && !file.children.contains(first))
                {
                    found.insert((file.path.as_str(), *name));
                }
            }
        }
        found.into_iter().collect()
    }

    /// Files `x.rs` that stand beside a folder `x`.
    pub fn files_beside_their_folder(&self) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let beside = |file: &&Source| root.join(&file.path).with_extension("").is_dir();
        self.files.values().filter(beside).map(|file| file.path.clone()).collect()
    }

    /// The public types of the crate with their files.
    pub fn public_types(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for file in self.files.values() {
            for item in &file.items {
                let (name, visibility) = match item {
                    Item::Struct(item) => (&item.ident, &item.vis),
                    Item::Enum(item) => (&item.ident, &item.vis),
                    Item::Trait(item) => (&item.ident, &item.vis),
                    _ => continue,
                };
                if matches!(visibility, Visibility::Public(_)) {
                    found.push((name.to_string(), file.path.clone()));
                }
            }
        }
        found
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let condition = attribute.meta.to_token_stream().to_string();
        condition.contains("test") || condition.contains("fuzzing")
    })
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
