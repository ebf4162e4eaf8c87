//! The list of rules is documented. `TUF_FLEET_WRITE_DOCS=1` writes the document.

use std::fmt::Write as _;
use std::path::Path;

use tuf_core::audit::rules;

#[test]
fn every_rule_is_documented() {
    let mut text = String::from(
        "# Rules of `rugged validate`\n\n\
         Each finding names the broken rule. Ids are stable, so scripts may rely on them. The section is the one of \
         the TUF specification 1.0.34 that states the rule; `clients` marks rules that only clients in the field impose, \
         and `advice` marks rules that neither imposes.\n\n\
         An **error** means that clients which follow the specification cannot use the repository, a file of it or a target: \
         their workflow refuses it, or it lacks something that the specification requires; the exit code is 1. Two rules of \
         clients are errors as well, because the repository as a whole is lost to common clients: R5, and with `--strict` X1. \
         A **warning** means that clients which follow the specification can verify the repository, but that at least one \
         client refuses it or a part of it, does not find a target or is slow, or that the repository protects less than it \
         could. A **note** needs no action.\n\n\
         So a rule with a section of the specification is a warning where its violation leaves the other targets and common \
         clients as they were, and published repositories have it: a key id that is not computed from its key (K4), an expiry \
         in another form of ISO 8601 (C5), a target path that clients read differently (P1), a target that no client finds \
         (D1, D2). The rules O1 to O4 name the clients that cannot use the repository as a whole, once each: no repository \
         suits every client. A fault of a root older than the trusted one is a note: it never changes, and clients with the \
         trusted root do not read it.\n\n\
         | rule | section | in a sound repository |\n|---|---|---|\n",
    );
    for rule in rules::ALL {
        let _ = writeln!(text, "| {} | {} | {} |", rule.id, rule.section, rule.title);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/validate-rules.md");
    if std::env::var_os("TUF_FLEET_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "run this test with TUF_FLEET_WRITE_DOCS=1");
}
