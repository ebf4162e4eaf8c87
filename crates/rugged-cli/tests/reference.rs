//! What is made of the definitions: references, completions, manual pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::rugged;

fn is_as_committed(what: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(format!("{what}.md"));
    let made = rugged(["reference", what]).exits(0).out;
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == committed,
        "docs/reference/{what}.md is not what the code says: cargo run -- reference {what} > docs/reference/{what}.md"
    );
}

#[test]
fn the_reference_of_the_command_line_is_what_the_code_says() {
    is_as_committed("cli");
}

#[test]
fn the_reference_of_the_configuration_is_what_the_code_says() {
    is_as_committed("configuration");
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = rugged(["help"]).exits(0).out;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

#[test]
fn completions_for_bash_are_a_script_that_knows_every_command() {
    let script = rugged(["completions", "bash"]).exits(0).out;
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("rugged.bash");
    fs::write(&file, &script).unwrap();
    let mut complete = Command::new("bash");
    let ask = "source \"$1\"; COMP_WORDS=(rugged ''); COMP_CWORD=1; _rugged rugged '' rugged; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = complete.args(["--norc", "-c", ask, "bash"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let offered = String::from_utf8(output.stdout).unwrap();
    for command in commands() {
        assert!(offered.lines().any(|word| word == command), "{command} is not offered: {offered}");
    }
}

#[test]
fn there_are_completions_for_other_shells() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(rugged(["completions", shell]).exits(0).out.contains("remove-targets"), "{shell}");
    }
    let said = rugged(["completions", "csh"]).exits(2);
    assert!(said.err.contains("possible values"), "{}", said.err);
}

#[test]
fn every_command_has_a_manual_page() {
    let temp = tempfile::tempdir().unwrap();
    let made = rugged(["--json", "man", "--dir", temp.path().to_str().unwrap()]).exits(0).json();
    let main = fs::read_to_string(temp.path().join("rugged.1")).unwrap();
    assert!(main.starts_with(".ie") && main.contains(".TH rugged 1"), "{main}");
    for command in commands() {
        let page = temp.path().join(format!("rugged-{command}.1"));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains("SYNOPSIS") && text.contains("OPTIONS"), "{text}");
        assert!(made["pages"].as_array().unwrap().iter().any(|made| made == page.to_str().unwrap()));
        assert!(
            main.contains(&format!("rugged\\-{}(1)", command.replace('-', "\\-"))),
            "{command} is not in rugged(1)"
        );
    }
    let said = rugged(["man", "--dir", "/does/not/exist"]).exits(6);
    assert!(said.err.contains("/does/not/exist"), "{}", said.err);
}
