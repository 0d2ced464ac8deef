//! House rules as tests: the layers, the size and form of files, no leftovers, documents that name what exists.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Each layer may name itself and those in front of it.
const LAYERS: [&str; 7] = ["protocol", "broker", "storage", "replication", "config", "node", "management"];

/// The program's side: it asks nodes over HTTP, and no layer knows it.
const PROGRAM: &str = "cli";

/// The layers that touch nothing of the world, and what they must not name.
const PURE_LAYERS: [&str; 3] = ["protocol", "broker", "replication"];
const WORLD: [&str; 8] =
    ["tokio::", "std::fs", "std::net", "std::thread", "std::env", "Instant", "SystemTime", "getrandom"];

/// What must not be left behind in code.
const LEFTOVERS: [&str; 9] =
    ["todo!", "unimplemented!", "dbg!", "#[ignore", "TODO", "FIXME", "XXX", "HACK", "WIP"];

const LINES_MAX: usize = 600;

#[test]
fn layers_name_only_themselves_and_those_in_front() {
    let mut problems = Vec::new();
    for (rank, layer) in LAYERS.iter().enumerate() {
        for file in rust_files(&format!("src/{layer}")) {
            let text = read(&file);
            for named in layers_named(&text, depth(&file)) {
                if LAYERS.iter().position(|known| *known == named).is_some_and(|other| other > rank) {
                    problems.push(format!("{} names {named}", file.display()));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn every_folder_of_src_is_a_layer() {
    let folders = entries("src").into_iter().filter(|path| path.is_dir());
    let known = |path: &PathBuf| LAYERS.contains(&name(path)) || name(path) == PROGRAM;
    let strange: Vec<_> =
        folders.filter(|path| !known(path)).map(|path| path.display().to_string()).collect();
    none(&strange);
}

#[test]
fn pure_layers_touch_nothing_of_the_world() {
    let mut problems = Vec::new();
    for file in PURE_LAYERS.iter().flat_map(|layer| rust_files(&format!("src/{layer}"))) {
        let code = without_comments(&read(&file));
        let named = WORLD.iter().filter(|word| has_word(&code, word));
        problems.extend(named.map(|word| format!("{} names {word}", file.display())));
    }
    none(&problems);
}

#[test]
fn files_are_small() {
    let sizes = rust_files("src").into_iter().map(|file| (read(&file).lines().count(), file));
    let large: Vec<_> = sizes
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, file)| format!("{} has {lines} lines", file.display()))
        .collect();
    none(&large);
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = all_rust_files()
        .into_iter()
        .filter(|file| !read(file).starts_with("//! "))
        .map(|file| file.display().to_string())
        .collect();
    none(&silent);
}

#[test]
fn nothing_is_left_behind() {
    let mut problems = Vec::new();
    for file in all_rust_files() {
        if file.ends_with("tests/tidy.rs") {
            continue;
        }
        let text = read(&file);
        for (number, line) in text.lines().enumerate() {
            let left = LEFTOVERS.iter().filter(|word| has_word(line, word));
            problems.extend(left.map(|word| format!("{}:{} has {word}", file.display(), number + 1)));
        }
    }
    none(&problems);
}

#[test]
fn what_the_readme_names_exists() {
    let folders = ["scripts/", "config/", "docs/", "examples/", "amqp-tests/", "src/", "tests/", ".ci/"];
    let readme = read(&root().join("README.md"));
    let words = readme.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)));
    let paths = words.map(|word| word.trim_start_matches("./").trim_end_matches('.'));
    let missing: Vec<_> = paths
        .filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
        .filter(|path| !root().join(path).exists())
        .map(|path| format!("README.md names {path}"))
        .collect();
    none(&missing);
    assert!(readme.contains("scripts/run") && readme.contains("scripts/test"));
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = read(&root().join("README.md"));
    for example in ["amqp-tests/python/example_delay.py", "examples/delay.rs"] {
        assert!(readme.contains(&read(&root().join(example))), "README.md does not show {example} as it is");
    }
}

#[test]
fn the_code_map_names_every_layer_that_exists() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let folders = entries("src").into_iter().filter(|path| path.is_dir());
    let missing: Vec<_> = folders
        .map(|path| format!("`src/{}`", name(&path)))
        .filter(|layer| !map.contains(layer.as_str()))
        .collect();
    none(&missing);
}

#[test]
fn scripts_can_be_executed() {
    for script in [
        "scripts/run",
        "scripts/test",
        "scripts/check",
        "scripts/bench",
        "scripts/behaviours",
        "scripts/conformance",
        "scripts/cluster",
        "scripts/certificates",
        ".ci/run",
    ] {
        let path = root().join(script);
        let mode = fs::metadata(&path).unwrap_or_else(|problem| panic!("{script}: {problem}")).permissions();
        assert!(mode.mode() & 0o111 != 0, "{script} is not executable");
        assert!(read(&path).starts_with("#!/usr/bin/env bash\n"), "{script} does not begin with its shell");
    }
}

#[test]
fn the_operators_example_exists() {
    assert!(root().join("config/warren.toml").is_file());
}

#[test]
fn the_finder_of_layers_finds_them() {
    let cases: [(&str, usize, &[&str]); 6] = [
        ("use crate::node::clock::Clock;", 1, &["node"]),
        ("use crate::{broker::{queue, node}, storage::Log, config};", 1, &["broker", "storage", "config"]),
        ("fn f(_: crate::broker::Queue) { super::super::node::run() }", 2, &["broker", "node"]),
        ("use super::node;", 2, &[]),
        ("use super::node;", 1, &["node"]),
        ("use super::super::node;", 3, &[]),
    ];
    for (text, depth, expected) in cases {
        assert_eq!(layers_named(text, depth), expected, "{text}");
    }
}

/// The first names behind `crate::`, and behind a chain of `super::` that leaves the layer.
fn layers_named(text: &str, depth: usize) -> Vec<&str> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => named.extend(group_heads(group)),
            None => named.push(identifier(rest)),
        }
    }
    for (at, _) in text.match_indices("super::") {
        if text[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &text[at..];
        let mut steps = 0;
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, steps) = (further, steps + 1);
        }
        if steps >= depth {
            named.push(identifier(rest));
        }
    }
    named
}

/// The first names of the members of a `use` group, up to its closing brace.
fn group_heads(group: &str) -> Vec<&str> {
    let (mut heads, mut nesting, mut start) = (Vec::new(), 0, 0);
    for (at, sign) in group.char_indices() {
        match sign {
            '{' => nesting += 1,
            '}' if nesting == 0 => {
                heads.push(identifier(&group[start..at]));
                break;
            }
            '}' => nesting -= 1,
            ',' if nesting == 0 => {
                heads.push(identifier(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// How many `super` lead from the file's own module to the crate: `src/broker/mod.rs` is 1.
fn depth(file: &Path) -> usize {
    let inside = file.strip_prefix(root().join("src")).unwrap().components().count();
    if file.ends_with("mod.rs") { inside - 1 } else { inside }
}

/// Does `word` stand in `text`, not as a part of a longer name?
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let open = !text[..at].ends_with(part);
        let closed = !word.ends_with(part) || !text[at + word.len()..].starts_with(part);
        open && closed
    })
}

fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .collect::<Vec<_>>()
        .join("\n")
}

fn all_rust_files() -> Vec<PathBuf> {
    ["src", "tests", "amqp-tests", "benches", "examples", "fuzz"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .collect()
}

/// The Rust files below a folder of the repository; none when there is no such folder.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && name(&path) != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn entries(folder: &str) -> Vec<PathBuf> {
    fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
