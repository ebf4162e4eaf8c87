"""Downloads targets with python-tuf, as an application that embeds it does.

    fetch_targets.py REPOSITORY ROOT STATE LIST

REPOSITORY is the URL above `metadata/` and `targets/`, ROOT the trusted 1.root.json, LIST a JSON array of target paths. STATE
is kept from one run to the next. tests/js/fetch_targets.js and tests/examples/fetch_targets.rs do the same with tuf-js and
tough. Each prints one JSON object:

    {"client", "version", "refused": null or the error at which the client gave the repository up,
     "targets": {PATH: {"sha256"} or {"error"}}}

Exit status 2 on a wrong call.
"""

import hashlib
import json
import os
import sys

import tuf
from tuf.ngclient import Updater


def fetch(updater, path, place):
    info = updater.get_targetinfo(path)
    if info is None:
        return {"error": "not found: no role lists it"}
    updater.download_target(info, place)
    with open(place, "rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def main():
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    repository, root, state, listed = sys.argv[1:]
    metadata = os.path.join(state, "metadata")
    fresh = not os.path.exists(os.path.join(metadata, "root.json"))
    os.makedirs(metadata, exist_ok=True)
    with open(root, "rb") as file:
        bootstrap = file.read()
    with open(listed, encoding="utf-8") as file:
        paths = json.load(file)
    report = {"client": "python-tuf", "version": tuf.__version__, "refused": None, "targets": {}}
    # Whatever a client raises is its verdict.
    try:
        updater = Updater(
            metadata_dir=metadata,
            metadata_base_url=f"{repository}/metadata/",
            target_dir=state,
            target_base_url=f"{repository}/targets/",
            bootstrap=bootstrap if fresh else None,
        )
        updater.refresh()
    except Exception as error:
        report["refused"] = f"{type(error).__name__}: {error}"
        paths = []
    place = os.path.join(state, "target")
    for path in paths:
        try:
            report["targets"][path] = fetch(updater, path, place)
        except Exception as error:
            report["targets"][path] = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
