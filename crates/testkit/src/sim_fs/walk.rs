//! From paths to inodes.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use durable_fs::DirEntry;

use super::node::{FollowLinks, Inode, Node, ROOT};
use super::tree::Tree;

/// The most links that one path may follow, as in Linux.
const MAX_LINKS: usize = 40;

impl Tree {
    pub(super) fn must_be_file(&self, id: u64) -> io::Result<()> {
        let what = match self.inode(id).node {
            Node::File { .. } => return Ok(()),
            Node::Dir { .. } => "a directory",
            Node::Symlink(_) => "a symbolic link, or below one",
            Node::Other => "a socket, FIFO or device",
        };
        Err(io::Error::new(ErrorKind::InvalidInput, format!("not a regular file but {what}")))
    }

    pub(super) fn find(&self, path: &Path, follow: FollowLinks) -> io::Result<u64> {
        let text = path.as_os_str().as_encoded_bytes();
        let follow = if text.ends_with(b"/") || text.ends_with(b"/.") { FollowLinks::Yes } else { follow };
        self.walk_path(ROOT, path, follow)
    }

    pub(super) fn find_dir(&self, path: &Path, follow: FollowLinks) -> io::Result<u64> {
        let id = self.find(path, follow)?;
        if self.is_dir(id) { Ok(id) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    pub(super) fn find_beneath(&self, dir: u64, relative: &Path) -> io::Result<u64> {
        self.walk_path(dir, relative, FollowLinks::Beneath)
    }

    /// The directory of a path, and its last component.
    pub(super) fn find_parent(&self, path: &Path) -> io::Result<(u64, OsString)> {
        let name = path.file_name().ok_or(ErrorKind::AlreadyExists)?;
        let dir = self.find_dir(path.parent().unwrap_or(Path::new("/")), FollowLinks::Yes)?;
        Ok((dir, name.to_owned()))
    }

    fn walk_path(&self, start: u64, path: &Path, follow: FollowLinks) -> io::Result<u64> {
        let leaves = || io::Error::new(ErrorKind::InvalidInput, "the path leaves its directory");
        let mut todo: VecDeque<OsString> = VecDeque::new();
        queue(&mut todo, path);
        let mut links = 0;
        // The way from the start to where we are.
        let mut way = vec![start];
        while let Some(name) = todo.pop_front() {
            let at = way.last().copied().unwrap_or(start);
            match name.as_encoded_bytes() {
                b"/" | b".." if follow == FollowLinks::Beneath => return Err(leaves()),
                b"/" => way.truncate(1),
                b".." => way.truncate(way.len().saturating_sub(1).max(1)),
                _ => {
                    if !self.is_dir(at) {
                        return Err(ErrorKind::NotADirectory.into());
                    }
                    let next = self.lookup(at, &name).ok_or(ErrorKind::NotFound)?;
                    match &self.inode(next).node {
                        Node::Symlink(target) if follow == FollowLinks::Yes || !todo.is_empty() => {
                            links += 1;
                            if follow == FollowLinks::Beneath || links > MAX_LINKS {
                                self.must_be_file(next)?;
                            }
                            queue(&mut todo, target);
                        }
                        _ => way.push(next),
                    }
                }
            }
        }
        Ok(way.last().copied().unwrap_or(start))
    }

    pub(super) fn entries(&self, dir: u64) -> Vec<DirEntry> {
        let Node::Dir { names, .. } = &self.inode(dir).node else {
            return Vec::new();
        };
        let shown = names.iter().filter(|(name, _)| !self.hidden.hides(dir, name));
        shown.map(|(name, id)| DirEntry { name: name.clone(), kind: self.stat(*id).kind }).collect()
    }

    /// Passes every inode with a name to `show`, a directory before its contents.
    pub(super) fn walk(&self, show: &mut dyn FnMut(&Path, &Inode)) {
        let mut todo = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = todo.pop() {
            let inode = self.inode(id);
            if id != ROOT {
                show(&path, inode);
            }
            if let Node::Dir { names, .. } = &inode.node {
                todo.extend(names.iter().rev().map(|(name, below)| (path.join(name), *below)));
            }
        }
    }
}

/// Puts the components of a path before the remaining ones.
fn queue(todo: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::CurDir | Component::Prefix(_) => {}
            other => todo.push_front(other.as_os_str().to_owned()),
        }
    }
}
