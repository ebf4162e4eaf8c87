"""Verifies a repository with python-tuf's ngclient and downloads targets from it, as an unmodified client does.

    tuf_download.py --metadata DIR-OR-URL --targets DIR-OR-URL --root FILE --cache DIR --output DIR
                    [--all] [--no-prefix] [--cached] [--loop N | --loop-until FILE] [--retry SECONDS] [TARGET...]

The client starts from FILE (1.root.json) and an empty cache; --cached keeps what the cache holds, as a client that comes
back does. --all asks for every target the verified metadata names, in every delegated role. Each target is written below
the output directory, under its whole path.

The places are both directories or both URLs. With --loop or --loop-until it is a reader that comes back again and again,
its cache kept, while somebody publishes; one line of JSON per round. With --retry a round that fails is tried again at
once, and again for so many seconds; "failed" then lists what did not verify before it did.

Prints one JSON object: {"root": N, "timestamp": N, "snapshot": N, "targets_version": N, "roles": {ROLE: VERSION},
"targets": {PATH: {"length": N, "sha256": "...", "custom": ...}}}. Exit status 1, with {"error", "message"} instead, on
anything that does not verify; 2 on a wrong call.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
import urllib.parse

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

CHUNK = 64 * 1024


class DirectoryFetcher(FetcherInterface):
    """Reads file:// as a web server would answer; http:// is left to the client's own fetcher."""

    def _fetch(self, url):
        path = urllib.parse.unquote(url.removeprefix("file://"))
        try:
            file = open(path, "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as missing:
            raise DownloadHTTPError(f"{url} is missing", 404) from missing
        with file:
            while chunk := file.read(CHUNK):
                yield chunk


def base_url(place):
    if "://" in place:
        return place.rstrip("/") + "/"
    return "file://" + urllib.parse.quote(os.path.abspath(place)) + "/"


def delegated_roles(targets):
    """The names of the roles one set of targets metadata delegates to."""
    delegations = targets.delegations
    if delegations is None:
        return []
    if delegations.succinct_roles is not None:
        return list(delegations.succinct_roles.get_roles())
    return list(delegations.roles)


def walk(updater):
    """Loads and verifies every delegated role, each under the role that delegates to it; yields (name, metadata)."""
    # The client loads a delegated role only on the way to a target, one at a time. Its own verified loading is used
    # here, so that what is listed is exactly what a client would come to trust.
    seen = set()
    queue = [("targets", "root")]
    while queue:
        name, parent = queue.pop(0)
        if name in seen:
            continue
        seen.add(name)
        signed = updater._load_targets(name, parent)
        yield name, signed
        queue.extend((child, name) for child in delegated_roles(signed))


def download(updater, path, output):
    info = updater.get_targetinfo(path)
    if info is None:
        raise RepositoryError(f"no role vouches for {path}")
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise RepositoryError(f"unsafe path {path}")
    place = os.path.join(output, *parts)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    updater.download_target(info, place)
    digest = hashlib.sha256()
    with open(place, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    result = {"length": os.path.getsize(place), "sha256": digest.hexdigest()}
    if info.custom is not None:
        result["custom"] = info.custom
    return result


def run(options):
    if not options.cached:
        shutil.rmtree(options.cache, ignore_errors=True)
    os.makedirs(options.cache, exist_ok=True)
    os.makedirs(options.output, exist_ok=True)
    with open(options.root, "rb") as file:
        bootstrap = None if options.cached and os.path.exists(os.path.join(options.cache, "root.json")) else file.read()
    metadata = base_url(options.metadata)
    updater = Updater(
        metadata_dir=options.cache,
        metadata_base_url=metadata,
        target_dir=options.output,
        target_base_url=base_url(options.targets),
        fetcher=DirectoryFetcher() if metadata.startswith("file://") else None,
        config=UpdaterConfig(prefix_targets_with_hash=not options.no_prefix),
        bootstrap=bootstrap,
    )
    updater.refresh()

    paths = dict.fromkeys(options.target)
    roles = {}
    if options.all:
        for name, signed in walk(updater):
            roles[name] = signed.version
            paths.update(dict.fromkeys(signed.targets))
    targets = {path: download(updater, path, options.output) for path in paths}
    trusted = updater._trusted_set
    return {
        "root": trusted.root.version,
        "timestamp": trusted.timestamp.version,
        "snapshot": trusted.snapshot.version,
        "targets_version": trusted.targets.version,
        "roles": roles,
        "targets": targets,
    }


def persist(options):
    """A round, tried again until it succeeds or its time is over."""
    until = time.monotonic() + options.retry
    failed = []
    while True:
        try:
            report = run(options)
            return {**report, "failed": failed} if failed else report
        except (RepositoryError, DownloadError, OSError, ValueError) as failure:
            if time.monotonic() >= until:
                raise
            failed.append(f"{type(failure).__name__}: {failure}")
            options.cached = True


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--metadata", required=True)
    arguments.add_argument("--targets", required=True)
    arguments.add_argument("--root", required=True, help="the trusted 1.root.json")
    arguments.add_argument("--cache", required=True)
    arguments.add_argument("--output", required=True)
    arguments.add_argument("--all", action="store_true")
    arguments.add_argument("--no-prefix", action="store_true", help="never ask for HASH.name (only without consistent snapshots)")
    arguments.add_argument("--cached", action="store_true", help="go on from what the cache holds")
    arguments.add_argument("--loop", type=int, default=1, help="come back this many times, the cache kept; one line each")
    arguments.add_argument("--loop-until", help="come back until this file exists, and then once more")
    arguments.add_argument("--retry", type=float, default=0, help="try a failing round again for so many seconds")
    arguments.add_argument("target", nargs="*")
    options = arguments.parse_args()

    rounds = 0
    while True:
        last = rounds + 1 >= options.loop if options.loop_until is None else os.path.exists(options.loop_until)
        try:
            print(json.dumps(persist(options), sort_keys=True), flush=True)
        except (RepositoryError, DownloadError, OSError, ValueError) as failure:
            kind = type(failure)
            print(json.dumps({"error": f"{kind.__module__}.{kind.__name__}", "message": str(failure), "round": rounds}), flush=True)
            return 1
        if last:
            return 0
        rounds += 1
        options.cached = True


if __name__ == "__main__":
    sys.exit(main())
