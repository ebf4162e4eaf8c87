"""Tries clients of other projects on repositories of the fleet, and writes docs/clients.md.

    clients_matrix.py --rugged PROGRAM --tough PROGRAM --tough-version V --modules NODE_MODULES --work DIRECTORY --write FILE

scripts/clients.sh calls it. Each repository is made, signed, released into and served by `rugged` itself. Each client starts
from 1.root.json with an empty state, fetches every target, and comes back after the next release. The file depends on nothing
but the outcome; seconds are rounded to words. DIRECTORY/results.json has the exact seconds and the clients' own words.
"""

import argparse
import collections
import contextlib
import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = ["python-tuf", "tough", "tuf-js"]
ROLES = ["root", "targets", "snapshot", "timestamp"]
KEY_TYPES = {"ed25519": "Ed25519", "ecdsa": "ECDSA P-256", "rsa": "RSA-PSS 2048"}
# Where the number of bins is what is tried.
BIN_COUNTS = [16, 256, 1024, 4096, 16384]
MANY_FLAT = 10_000
CLIENT_SECONDS = 1800

FIRST = {
    "LICENSE": b"one\n",
    "app-1.0.tar.gz": b"two\n",
    "pool/main/a/app_1.0_amd64.deb": b"three\n",
    "docs/a b+c~d.txt": b"four\n",
}
SECOND = {"LICENSE": b"changed\n", "app-1.1.tar.gz": b"five\n"}

# The refusals that were understood, in words. A client's own words stand for any other.
CAUSES = [
    ("tough", r"[Kk]ey ID|keyid", "it wants the SHA-256 of the key as its id"),
]


class Options:
    """The programs and places of this run."""


OPTIONS = Options()


def environment():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUGGED_")}
    return {**kept, "TUF_FLEET_NODE_MODULES": OPTIONS.modules}


def rugged(repository, *arguments):
    command = [OPTIONS.rugged, "--config", repository.path("config.yaml"), *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"clients_matrix.py: {command}\n{done.stdout}{done.stderr}")
    return done.stdout


class Repository:
    """A repository with its fleet in one process, in a directory of its own."""

    def __init__(self, name, *, bins=0, consistent=True, key="ed25519", keyids="spec"):
        self.directory = os.path.join(OPTIONS.work, name)
        shutil.rmtree(self.directory, ignore_errors=True)
        places = {"post_to_tuf_path": "post", "inbound_targets_path": "inbound", "repo_path": "repo", "state_path": "state"}
        places |= {"signing_keys_path": "signing", "verification_keys_path": "verification"}
        settings = {
            "environment": "testing",
            "broker_url": "memory://",
            "result_backend": "memory://",
            "number_of_bins": bins,
            "consistent_snapshot": consistent,
            "keyid_format": keyids,
            "publish_min_interval": 0,
            "log_level": "error",
        }
        for setting, place in places.items():
            settings[setting] = self.path(place)
            os.makedirs(self.path(place), mode=0o700)
        with open(self.path("config.yaml"), "w", encoding="utf-8") as file:
            file.writelines(f"{setting}: {json.dumps(value)}\n" for setting, value in settings.items())
        if key == "rsa":
            self.import_rsa_keys()
        else:
            rugged(self, "generate-keys", "--type", key)
        rugged(self, "initialize")
        self.process = None

    def path(self, *below):
        return os.path.join(self.directory, *below)

    def import_rsa_keys(self):
        # Nothing of the fleet's makes RSA keys.
        made = self.path("made")
        make = [sys.executable, os.path.join(HERE, "make_keys.py"), made, *(f"{role}=rsa" for role in ROLES)]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        for role in ROLES:
            for above in ("signing", "verification"):
                os.makedirs(self.path(above, role), mode=0o700)
            os.rename(os.path.join(made, role), self.path("signing", role, role))
            os.chmod(self.path("signing", role, role), 0o400)
            with open(os.path.join(made, f"{role}.pub"), encoding="ascii") as file:
                public = {"keytype": "rsa", "keyval": {"public": file.read()}, "scheme": "rsassa-pss-sha256"}
            with open(self.path("verification", role, f"{role}.json"), "w", encoding="ascii") as file:
                json.dump(public, file)

    def __enter__(self):
        command = [OPTIONS.rugged, "--config", self.path("config.yaml"), "--json", "up", "--http", "127.0.0.1:0"]
        with open(self.path("up.log"), "wb") as log:
            self.process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=log, text=True)
        printed = ""
        for line in self.process.stdout:
            printed += line
            if line.rstrip() == "}":
                break
        self.url = json.loads(printed)["http"].rstrip("/")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.directory)

    def release(self, name, files):
        """Posts a drop, and waits until it is published."""
        built = self.path("built", name)
        for path, content in files.items():
            place = os.path.join(built, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(content)
        rugged(self, "post", built, "--name", name, "--wait=600")

    def fetch(self, client, hashes):
        """One visit of a client: its seconds of processor time, which do not depend on other work of this machine, and the
        targets that it did not get, with its reasons."""
        listed = self.path("list.json")
        with open(listed, "w", encoding="utf-8") as file:
            json.dump(list(hashes), file)
        programs = {
            "python-tuf": [sys.executable, os.path.join(HERE, "fetch_targets.py")],
            "tough": [OPTIONS.tough],
            "tuf-js": ["node", os.path.join(HERE, "..", "js", "fetch_targets.js")],
        }
        arguments = [self.url, self.path("repo/metadata/1.root.json"), self.path("clients", client), listed]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*programs[client], *arguments],
            env=environment(), capture_output=True, text=True, check=True, timeout=CLIENT_SECONDS,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        report = json.loads(done.stdout)
        missing = {}
        for name, digest in hashes.items():
            outcome = report["targets"].get(name, {"error": report["refused"] or "not tried"})
            if outcome.get("sha256") != digest:
                missing[name] = outcome.get("error", "other bytes")
        return {"seconds": seconds, "version": report.get("version"), "refused": report["refused"], "missing": missing}


def hashes_of(*releases):
    return {name: hashlib.sha256(content).hexdigest() for files in releases for name, content in files.items()}


def visits(repository, first=FIRST, second=SECOND):
    """What each client makes of two releases, one after the other."""
    repository.release("first", first)
    outcome = {client: {"first": repository.fetch(client, hashes_of(first))} for client in CLIENTS}
    repository.release("second", second)
    for client in CLIENTS:
        outcome[client]["second"] = repository.fetch(client, hashes_of(first, second))
    return outcome


def reason(client, outcome):
    """Why the client did not get every target in both visits, in words; None if it did."""
    for visit in (outcome["first"], outcome["second"]):
        words = visit["refused"] or next(iter(visit["missing"].values()), None)
        if words is not None:
            found = (text for of, pattern, text in CAUSES if of == client and re.search(pattern, words))
            return next(found, words)
    return None


def in_words(seconds):
    """Coarse, so that two runs write the same."""
    if seconds < 1:
        return "under a second"
    if seconds < 10:
        return f"{round(seconds)} s"
    if seconds < 90:
        return f"{round(seconds / 10) * 10} s"
    minutes = max(2, round(seconds / 60))
    return f"{minutes} min"


# --- the parts of the run ---------------------------------------------------------------------------------------------


def try_layouts():
    rows = []
    layouts = [("flat", 0), ("16 bins", 16)]
    for (layout, bins), consistent, keyids, key in itertools.product(layouts, [True, False], ["spec", "legacy"], KEY_TYPES):
        say(f"{layout}, consistent_snapshot {consistent}, keyid_format {keyids}, {key}")
        with Repository("layout", bins=bins, consistent=consistent, key=key, keyids=keyids) as repository:
            outcome = visits(repository)
        rows.append({"layout": layout, "consistent": consistent, "keyids": keyids, "key": key, "outcome": outcome})
    return rows


def try_sizes():
    rows = []
    say(f"flat, {MANY_FLAT} targets")
    many = {f"pool/{number:05}.deb": b"%d\n" % number for number in range(MANY_FLAT)}
    with Repository("size") as repository:
        repository.release("many", many)
        rows.append({"layout": f"flat, {MANY_FLAT:,} other targets", "outcome": visits(repository)})
    for bins in OPTIONS.bins:
        say(f"{bins} bins")
        with Repository("size", bins=bins) as repository:
            rows.append({"layout": f"{bins:,} bins", "outcome": visits(repository)})
    return rows


def try_names():
    """The odd names, by layout: for each drop its refusal, or what each client makes of the name."""
    layouts = {
        "flat": {"bins": 0, "consistent": True},
        "flat, consistent_snapshot false": {"bins": 0, "consistent": False},
        "16 bins": {"bins": 16, "consistent": True},
    }
    outcome = {}
    for layout, settings in layouts.items():
        say(f"odd names, {layout}")
        with Repository("names", **settings) as repository:
            outcome[layout] = names_in(repository)
    return outcome


def names_in(repository):
    script = os.path.join(HERE, "post_odd_names.py")
    listed = os.path.join(HERE, "..", "odd_target_names.json")
    done = subprocess.run(
        [sys.executable, script, listed, repository.path("post")], check=True, capture_output=True, text=True
    )
    drops = json.loads(done.stdout)
    until = time.monotonic() + 600
    for drop, entry in drops.items():
        receipt = repository.path("post", f"tuf_receipt_{drop}.json")
        while entry["posted"] and not os.path.exists(receipt):
            if time.monotonic() > until:
                raise SystemExit(f"clients_matrix.py: no receipt of {drop}")
            time.sleep(0.1)
        if entry["posted"]:
            with open(receipt, encoding="utf-8") as file:
                entry["receipt"] = json.load(file)
    accepted = {e["name"]: e["sha256"] for e in drops.values() if e["posted"] and e["receipt"]["outcome"] == "published"}
    fetched = {client: repository.fetch(client, accepted) for client in CLIENTS}
    for entry in drops.values():
        entry["accepted"] = entry["name"] in accepted
        entry["missing"] = {
            client: visit["missing"][entry["name"]] for client, visit in fetched.items() if entry["name"] in visit["missing"]
        }
    return drops


# --- the document -----------------------------------------------------------------------------------------------------


def refusal(entry):
    """The reason of a refusal without the name."""
    if not entry["posted"]:
        return "no file can have this name"
    text = entry["receipt"]["reason"]
    patterns = (
        r"cannot be released: (.*); rename it, or an operator allows it with `target_names: any`$",
        r"(?s)^.*?((?:is|are|has|contains|the name of) .*)$",
    )
    for pattern in patterns:
        found = re.search(pattern, text)
        if found:
            text = found[1]
            break
    text = re.sub(r"(?s)the name of .* is", "it is", text)
    # The limit depends on where the directories are.
    text = re.sub(r"has \d+ bytes; \d+ are allowed", "is longer than the directories of the fleet allow", text)
    return f"it {text}" if re.match(r"is |has |contains ", text) else text


def layout_table(rows):
    head = "| layout | `consistent_snapshot` | `keyid_format` | keys | " + " | ".join(CLIENTS) + " |"
    lines = [head, "|---" * (4 + len(CLIENTS)) + "|"]
    for row in rows:
        cells = [row["layout"], str(row["consistent"]).lower(), row["keyids"], KEY_TYPES[row["key"]]]
        for client in CLIENTS:
            why = reason(client, row["outcome"][client])
            cells.append("reads" if why is None else f"refuses: {why}".replace("|", "\\|"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def size_table(rows):
    lines = ["| layout | " + " | ".join(f"{client}, first visit | after a release" for client in CLIENTS) + " |"]
    lines.append("|---" * (1 + 2 * len(CLIENTS)) + "|")
    for row in rows:
        cells = [row["layout"]]
        for client in CLIENTS:
            why = reason(client, row["outcome"][client])
            for visit in ("first", "second"):
                cells.append(in_words(row["outcome"][client][visit]["seconds"]) if why is None else f"refuses: {why}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def names_part(names):
    lines = ["| layout | names | refused with a reason | fetched by all three | accepted, and not fetched by one |", "|---" * 5 + "|"]
    wrong = []
    for layout, drops in names.items():
        entries = drops.values()
        refused = sum(not entry["accepted"] for entry in entries)
        fetched = sum(entry["accepted"] and not entry["missing"] for entry in entries)
        bad = [entry for entry in entries if entry["accepted"] and entry["missing"]]
        wrong += bad
        lines.append(f"| {layout} | {len(drops)} | {refused} | {fetched} | {len(bad)} |")
    lines += ["", "The reasons, and the names of the list that have them:", ""]
    by_reason = collections.defaultdict(dict)
    for drops in names.values():
        for drop, entry in drops.items():
            if not entry["accepted"]:
                by_reason[refusal(entry)][drop] = entry["about"]
    for why, abouts in sorted(by_reason.items()):
        line = f"- {why} ({len(abouts)}): {'; '.join(dict.fromkeys(abouts.values()))}"
        lines += textwrap.wrap(line, 128, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    drops = next(iter(names.values()))
    accepted = [entry["name"] for entry in drops.values() if entry["accepted"]]
    long = sum(len(urllib.parse.quote(name, safe="")) > 255 for name in accepted)
    lines += [
        "",
        f"python-tuf and tuf-js store a target under its percent-encoded path unless the caller names a file. For {long} of the",
        f"{len(accepted)} accepted names that is longer than the 255 bytes of a file's name: name the file.",
    ]
    return "\n".join(lines), wrong


def document(results):
    versions = {client: visit["version"] for client, visit in results["versions"].items()}
    names, wrong = names_part(results["names"])
    template = os.path.join(HERE, "clients.md.in")
    with open(template, encoding="utf-8") as file:
        text = file.read()
    parts = {
        "VERSIONS": ", ".join(f"{client} {versions[client]}" for client in CLIENTS),
        "LAYOUTS": layout_table(results["layouts"]),
        "SIZES": size_table(results["sizes"]),
        "NAMES": names,
    }
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text, wrong


def say(text):
    print(f"clients_matrix.py: {text}", file=sys.stderr, flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rugged", required=True)
    arguments.add_argument("--tough", required=True)
    arguments.add_argument("--tough-version", required=True)
    arguments.add_argument("--modules", required=True, help="the node_modules with tuf-js")
    arguments.add_argument("--work", required=True)
    arguments.add_argument("--write", required=True)
    arguments.add_argument("--bins", type=int, nargs="*", default=BIN_COUNTS)
    arguments.add_argument("--only", choices=["layouts", "sizes", "names"], help="run one part; the others as results.json has them")
    arguments.parse_args(namespace=OPTIONS)
    os.makedirs(OPTIONS.work, exist_ok=True)
    saved = os.path.join(OPTIONS.work, "results.json")
    results = {}
    if OPTIONS.only:
        with contextlib.suppress(FileNotFoundError), open(saved, encoding="utf-8") as file:
            results = json.load(file)
    parts = {"names": try_names, "layouts": try_layouts, "sizes": try_sizes}
    for part, run in parts.items():
        if OPTIONS.only in (None, part):
            results[part] = run()
            with open(saved, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=1)
    if missing := [part for part in parts if part not in results]:
        say(f"{OPTIONS.write} is not written: {', '.join(missing)} never ran")
        return 2
    results["versions"] = {client: dict(visit["first"]) for client, visit in results["layouts"][0]["outcome"].items()}
    results["versions"]["tough"]["version"] = OPTIONS.tough_version
    text, wrong = document(results)
    with open(OPTIONS.write, "w", encoding="utf-8") as file:
        file.write(text)
    for entry in wrong:
        say(f"accepted, and not fetched: {entry['name']!r} ({entry['about']}): {entry['missing']}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
