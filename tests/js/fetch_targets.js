// Downloads targets with tuf-js, as an application that embeds it does.
//
//     node fetch_targets.js REPOSITORY ROOT STATE LIST
//
// See fetch_targets.py beside the Python peers: arguments and output are the same. REPOSITORY is the URL above `metadata/` and
// `targets/`, LIST a JSON array of target paths. STATE is kept from one run to the next.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const path = require("path");

// The packages are beside the lock file that they were installed from, not beside this file.
const packages = process.env.TUF_FLEET_NODE_MODULES || path.join(__dirname, "node_modules");
const { Updater } = require(path.join(packages, "tuf-js"));
const { version } = require(path.join(packages, "tuf-js", "package.json"));

function text(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

async function main() {
  const [repository, root, state, list] = process.argv.slice(2);
  const metadataDir = path.join(state, "metadata");
  fs.mkdirSync(metadataDir, { recursive: true });
  if (!fs.existsSync(path.join(metadataDir, "root.json"))) {
    fs.copyFileSync(root, path.join(metadataDir, "root.json"));
  }
  const updater = new Updater({
    metadataBaseUrl: `${repository}/metadata`,
    metadataDir,
    targetBaseUrl: `${repository}/targets`,
    targetDir: state,
  });
  const report = { client: "tuf-js", version, refused: null, targets: {} };
  const place = path.join(state, "target");
  try {
    await updater.refresh();
  } catch (error) {
    report.refused = text(error);
  }
  if (report.refused === null) {
    for (const name of JSON.parse(fs.readFileSync(list, "utf8"))) {
      let outcome;
      try {
        fs.rmSync(place, { force: true });
        const info = await updater.getTargetInfo(name);
        if (info === undefined) {
          outcome = { error: "not found: no role lists it" };
        } else {
          await updater.downloadTarget(info, place);
          outcome = { sha256: crypto.createHash("sha256").update(fs.readFileSync(place)).digest("hex") };
        }
      } catch (error) {
        outcome = { error: text(error) };
      }
      // An own property even for `__proto__`.
      Object.defineProperty(report.targets, name, { value: outcome, enumerable: true });
    }
  }
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

main().catch((error) => {
  process.stderr.write(`fetch_targets.js: ${text(error)}\n`);
  process.exitCode = 2;
});
