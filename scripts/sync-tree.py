#!/usr/bin/python3
"""Makes DESTINATION hold exactly the files of the checkout SOURCE: those git tracks and those it does not ignore.

    sync-tree.py SOURCE DESTINATION

A file whose bytes are there already is left alone, time stamp included, so that cargo rebuilds only what changed.
Directories named `target` at the top of DESTINATION are kept. Without git, or without a repository, everything but
`.git` and `target` at the top is taken.
"""

import os
import shutil
import stat
import subprocess
import sys


def listed(source):
    """The paths of the checkout's files, relative, as bytes."""
    command = ["git", "-c", "safe.directory=*", "-C", source, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        return [path for path in output.split(b"\0") if path]
    except (OSError, subprocess.CalledProcessError):
        pass
    paths = []
    for directory, directories, files in os.walk(os.fsencode(source)):
        if os.path.samefile(directory, source):
            directories[:] = [name for name in directories if name not in (b".git", b"target")]
        for name in files:
            paths.append(os.path.relpath(os.path.join(directory, name), os.fsencode(source)))
    return paths


def same(left, right):
    try:
        with open(left, "rb") as one, open(right, "rb") as other:
            return one.read() == other.read()
    except OSError:
        return False


def place(source, destination):
    """Brings one file over. Modes are only plain or executable, as in git, whatever the umask of the clone was."""
    mode = os.lstat(source).st_mode
    if stat.S_ISLNK(mode):
        link = os.readlink(source)
        if os.path.islink(destination) and os.readlink(destination) == link:
            return
        remove(destination)
        os.symlink(link, destination)
        return
    if os.path.islink(destination) or os.path.isdir(destination) or not same(source, destination):
        remove(destination)
        shutil.copyfile(source, destination)
    os.chmod(destination, 0o755 if mode & 0o100 else 0o644)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def main():
    source, destination = (os.fsencode(os.path.abspath(path)) for path in sys.argv[1:3])
    os.umask(0o022)
    os.makedirs(destination, exist_ok=True)
    wanted = {path for path in listed(os.fsdecode(source)) if os.path.lexists(os.path.join(source, path))}
    parents = set()
    for path in wanted:
        parent = os.path.dirname(path)
        while parent and parent not in parents:
            parents.add(parent)
            parent = os.path.dirname(parent)

    for directory, directories, files in os.walk(destination, topdown=True):
        relative = os.path.relpath(directory, destination)
        relative = b"" if relative == b"." else relative
        for name in list(directories):
            path = os.path.join(relative, name)
            if path == b"target":
                directories.remove(name)
            elif path not in parents:
                directories.remove(name)
                if path not in wanted:
                    remove(os.path.join(directory, name))
        for name in files:
            if os.path.join(relative, name) not in wanted:
                remove(os.path.join(directory, name))

    for path in sorted(wanted):
        target = os.path.join(destination, path)
        parent = os.path.dirname(target)
        if os.path.lexists(parent) and (os.path.islink(parent) or not os.path.isdir(parent)):
            remove(parent)
        os.makedirs(parent, exist_ok=True)
        if not os.path.isdir(os.path.join(source, path)) or os.path.islink(os.path.join(source, path)):
            place(os.path.join(source, path), target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
