"""Posts each name of a list as a drop of its own, as a pipeline does: mkdir, write, rename.

    post_odd_names.py LIST POST_TO_TUF

LIST is a JSON array of {"about", "name" or "bytes"}: "name" is a text or a list of [text, count], to be repeated; "bytes" are
hexadecimal, for names that are no text. Prints one JSON object by the name of the drop (n001 and so on):

    {DROP: {"about", "name": the path, or null for bytes, "posted": true or false, "sha256": of the content}}

"posted" is false for a path that no file can have: with an empty component, `.`, `..` or NUL in it, or too long for the file
system.
"""

import errno
import hashlib
import itertools
import json
import os
import shutil
import sys


def content_of(drop):
    # Its hash begins with a letter: with a colon behind it, it looks like the scheme of a URL.
    for attempt in itertools.count():
        content = f"content of {drop}, {attempt}\n".encode()
        digest = hashlib.sha256(content).hexdigest()
        if digest[0] in "abcdef":
            return content, digest


def path_of(entry):
    if "bytes" in entry:
        return bytes.fromhex(entry["bytes"])
    name = entry["name"]
    return (name if isinstance(name, str) else "".join(text * count for text, count in name)).encode()


def write(drop, path, content):
    """Writes the file below the directory `drop`, one component at a time: the whole path may be longer than a call takes."""
    *directories, last = path.split(b"/")
    if any(part in (b"", b".", b"..") or b"\0" in part for part in [*directories, last]):
        return False
    opened = [os.open(drop, os.O_DIRECTORY)]
    try:
        for directory in directories:
            os.mkdir(directory, dir_fd=opened[-1])
            opened.append(os.open(directory, os.O_DIRECTORY, dir_fd=opened[-1]))
        file = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=opened[-1])
        with open(file, "wb") as stream:
            stream.write(content)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
    finally:
        for directory in opened:
            os.close(directory)
    return True


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    listed, post = sys.argv[1:]
    with open(listed, encoding="utf-8") as file:
        entries = json.load(file)
    posted = {}
    for number, entry in enumerate(entries, start=1):
        drop = f"n{number:03}"
        content, digest = content_of(drop)
        path = path_of(entry)
        made = os.path.join(post, f"tuf_tmp_{drop}")
        os.mkdir(made)
        complete = write(made, path, content)
        if complete:
            os.rename(made, os.path.join(post, f"tuf_ready_{drop}"))
        else:
            shutil.rmtree(made)
        name = None if "bytes" in entry else path.decode()
        posted[drop] = {"about": entry["about"], "name": name, "posted": complete, "sha256": digest}
    print(json.dumps(posted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
