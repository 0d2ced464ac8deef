//! Holds `docs/behaviours.md` to its word: every line is there, and has a test that exists or says what it waits for.
//!
//! It uses nothing but the standard library, so that `scripts/behaviours` can run it without building the broker.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = "docs/behaviours.md";

/// How many lines there are at least; new ones go behind the last.
const LINES: usize = 280;

/// Where tests that show behaviour may be. A test's name is its file's path from there and the function's name.
const TEST_DIRS: [&str; 2] = ["amqp-tests", "tests"];

/// One line of the list.
#[derive(Debug, Default, PartialEq)]
struct Behaviour {
    number: usize,
    tests: Vec<String>,
    /// What its missing part waits for.
    not_yet: Option<String>,
    /// Why it is not as in RabbitMQ.
    differs: Option<String>,
}

#[test]
fn every_line_is_there_once_and_in_order() {
    let numbers: Vec<_> = list().iter().map(|line| line.number).collect();
    let gap = numbers.iter().zip(1..).find(|(number, expected)| *number != expected);
    assert_eq!(gap, None, "found, expected");
    assert!(numbers.len() >= LINES, "{LIST} ends at {}, not at {LINES}", numbers.len());
}

#[test]
fn every_line_has_a_test_or_says_what_it_waits_for() {
    let lacking: Vec<_> =
        list().iter().filter(|line| line.lacks_a_test()).map(|line| line.number.to_string()).collect();
    assert!(lacking.is_empty(), "lines of {LIST} without a test: {}", lacking.join(", "));
}

#[test]
fn what_differs_is_tested_and_every_mark_has_its_reason() {
    for Behaviour { number, tests, not_yet, differs } in list() {
        assert!(differs.is_none() || !tests.is_empty(), "line {number} differs, and no test shows it");
        for reason in not_yet.iter().chain(&differs) {
            assert!(reason.len() > 10, "line {number} does not say why: {reason:?}");
        }
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let known = tests();
    let mut missing = Vec::new();
    for line in list() {
        let unknown = line.tests.iter().filter(|name| !known.contains_key(*name));
        missing.extend(unknown.map(|name| format!("line {} names {name}", line.number)));
    }
    assert!(missing.is_empty(), "tests that do not exist:\n{}", missing.join("\n"));
}

#[test]
fn a_test_that_names_a_line_names_one_that_exists() {
    let last = list().len();
    for (test, numbers) in tests() {
        let wrong: Vec<_> = numbers.into_iter().filter(|number| !(1..=last).contains(number)).collect();
        assert!(wrong.is_empty(), "{test} names the lines {wrong:?}");
    }
}

/// Printed by `scripts/behaviours`.
#[test]
fn summary() {
    let lines = list();
    let known = tests();
    let count = |of: fn(&Behaviour) -> bool| lines.iter().filter(|line| of(line)).count();
    let numbers = |of: &dyn Fn(&Behaviour) -> bool| {
        let found = lines.iter().filter(|line| of(line)).map(|line| line.number.to_string());
        found.collect::<Vec<_>>().join(" ")
    };
    let named: BTreeSet<_> = lines.iter().flat_map(|line| &line.tests).collect();
    println!("{} lines, {} tests named, {} tests in all", lines.len(), named.len(), known.len());
    println!("{} shown whole", count(|line| !line.tests.is_empty() && line.not_yet.is_none()));
    println!(
        "{} shown in part, the rest not yet",
        count(|line| !line.tests.is_empty() && line.not_yet.is_some())
    );
    println!(
        "{} differ on purpose: {}",
        count(|line| line.differs.is_some()),
        numbers(&|line| line.differs.is_some())
    );
    println!("{} not yet: {}", count(Behaviour::is_open), numbers(&Behaviour::is_open));
    println!("without a test: {}", numbers(&Behaviour::lacks_a_test));
    let shown: BTreeSet<_> = known.values().flatten().copied().collect();
    let ripe = numbers(&|line| line.is_open() && shown.contains(&line.number));
    println!("not yet in the list, though a test says that it shows it: {ripe}");
}

#[test]
fn the_reader_of_the_list_understands_its_forms() {
    let text = "# Head\n\n## 7. Not a line\n\n1. One => two.\n   `a::b` `python::c::d`\n   \
                Not yet: waits\n   for it.\n\n2. Over\n   two lines, with `x-y` => z.\n    `e::f`\n    Differs: because.\n";
    let expected = [
        Behaviour {
            number: 1,
            tests: vec!["a::b".to_owned(), "python::c::d".to_owned()],
            not_yet: Some("waits for it.".to_owned()),
            differs: None,
        },
        Behaviour {
            number: 2,
            tests: vec!["e::f".to_owned()],
            not_yet: None,
            differs: Some("because.".to_owned()),
        },
    ];
    assert_eq!(parse(text), expected);
}

#[test]
fn the_finder_of_tests_finds_them() {
    let rust = "// behaviours 3, 5-7: why\n#[test]\nfn one() {}\nfn helper() {}\n#[x::test(a = \"b\")]\n#[should_panic]\n    async fn two() {}\n";
    let expected = [("one".to_owned(), vec![3, 5, 6, 7]), ("two".to_owned(), vec![])];
    assert_eq!(rust_tests(rust), expected);
    assert_eq!(python_tests("import x\n\ndef test_a(b):\n    def test_not(): pass\n"), ["test_a".to_owned()]);
}

impl Behaviour {
    fn lacks_a_test(&self) -> bool {
        self.tests.is_empty() && self.not_yet.is_none()
    }

    fn is_open(&self) -> bool {
        self.tests.is_empty() && self.not_yet.is_some()
    }
}

fn list() -> Vec<Behaviour> {
    parse(&read(&root().join(LIST)))
}

fn parse(text: &str) -> Vec<Behaviour> {
    text.split("\n\n").flat_map(entries_of_block).map(|(number, text)| behaviour(number, &text)).collect()
}

/// The entries of one block, each as its number and its text on one line.
fn entries_of_block(block: &str) -> Vec<(usize, String)> {
    let mut entries: Vec<(usize, String)> = Vec::new();
    for line in block.lines() {
        let head = line.split_once(". ").and_then(|(number, text)| Some((number.parse().ok()?, text)));
        match (head, entries.last_mut()) {
            (Some((number, text)), _) => entries.push((number, text.to_owned())),
            (None, Some((_, text))) if line.starts_with("   ") => *text += &format!(" {}", line.trim()),
            _ => {}
        }
    }
    entries
}

fn behaviour(number: usize, text: &str) -> Behaviour {
    let is_test =
        |word: &&str| word.contains("::") && word.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
    let quoted = text.split('`').skip(1).step_by(2);
    let mark = |mark: &str| {
        let (_, reason) = text.split_once(mark)?;
        let end = ["Not yet: ", "Differs: "].iter().filter_map(|next| reason.find(next)).min();
        Some(reason[..end.unwrap_or(reason.len())].trim().to_owned())
    };
    Behaviour {
        number,
        tests: quoted.filter(is_test).map(str::to_owned).collect(),
        not_yet: mark("Not yet: "),
        differs: mark("Differs: "),
    }
}

/// All tests by name, with the numbers of the lines that their comments name.
fn tests() -> BTreeMap<String, Vec<usize>> {
    let mut all = BTreeMap::new();
    for folder in TEST_DIRS {
        for file in files(&root().join(folder)) {
            let found = match file.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => rust_tests(&read(&file)),
                Some("py") => python_tests(&read(&file)).into_iter().map(|name| (name, Vec::new())).collect(),
                _ => continue,
            };
            let module = module(file.strip_prefix(root().join(folder)).unwrap());
            all.extend(found.into_iter().map(|(name, lines)| (format!("{module}::{name}"), lines)));
        }
    }
    all
}

/// `python/test_errors.rs` is `python::test_errors`.
fn module(file: &Path) -> String {
    let file = file.with_extension("");
    let parts = file.components().map(|part| part.as_os_str().to_str().unwrap());
    parts.filter(|part| !["mod", "main"].contains(part)).collect::<Vec<_>>().join("::")
}

fn rust_tests(text: &str) -> Vec<(String, Vec<usize>)> {
    let (mut found, mut is_test, mut numbers) = (Vec::new(), false, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("// behaviour") {
            numbers.extend(numbers_in(comment.trim_start_matches('s')));
        } else if is_test_attribute(line) {
            is_test = true;
        } else if let Some((_, signature)) = line.split_once("fn ") {
            let name: String = signature.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let lines = std::mem::take(&mut numbers);
            if std::mem::take(&mut is_test) {
                found.push((name, lines));
            }
        } else if !line.starts_with("//") && !line.starts_with("#[") {
            (is_test, numbers) = (false, Vec::new());
        }
    }
    found
}

/// `#[test]`, or another crate's, with or without arguments.
fn is_test_attribute(line: &str) -> bool {
    let name = line.strip_prefix("#[").and_then(|rest| rest.split(['(', ']']).next()).unwrap_or_default();
    name == "test" || name.ends_with("::test")
}

/// `3, 5-7: why` is 3, 5, 6 and 7.
fn numbers_in(comment: &str) -> Vec<usize> {
    let list = comment.split(':').next().unwrap_or_default();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn python_tests(text: &str) -> Vec<String> {
    let signatures = text.lines().filter_map(|line| line.strip_prefix("def test_"));
    signatures.filter_map(|rest| Some(format!("test_{}", rest.split_once('(')?.0))).collect()
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
