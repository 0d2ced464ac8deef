//! The files of the UI: all of them are served, each with what keeps it safe and quick.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path as Folder;
use std::process::Command;

use super::*;

fn given(name: header::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, value.parse().unwrap())])
}

fn told<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// All files below the folder of assets, but the page itself.
fn files_on_disk() -> BTreeSet<String> {
    let root = Folder::new(env!("CARGO_MANIFEST_DIR")).join("src/management/ui/assets");
    let (mut found, mut folders) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    assert!(found.remove("index.html"));
    found
}

#[test]
fn every_file_is_part_of_the_binary() {
    let served: BTreeSet<_> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    assert_eq!(served, files_on_disk());
    assert_eq!(served.len(), ASSETS.len(), "a file is listed twice");
}

#[test]
fn every_file_has_a_type() {
    for asset in ASSETS {
        assert_ne!(content_type(asset), "application/octet-stream", "{}", asset.path);
    }
}

#[test]
fn what_the_page_and_its_modules_name_exists() {
    let known = files_on_disk();
    for (_, rest) in PAGE.match_indices("=\"ui/").map(|(at, _)| PAGE.split_at(at + 2)) {
        let path = rest.split('"').next().unwrap().strip_prefix(&format!("ui/{}/", *VERSION)).unwrap();
        assert!(known.contains(path), "the page names {path}");
    }
    for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
        let text = std::str::from_utf8(asset.content).unwrap();
        for sign in ["from '", "import('"] {
            for (at, _) in text.match_indices(sign) {
                let named = text[at + sign.len()..].split('\'').next().unwrap();
                assert!(known.contains(&resolved(asset.path, named)), "{} imports {named}", asset.path);
            }
        }
    }
}

/// A relative path as seen from a file.
fn resolved(from: &str, named: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in named.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup() {
    for asset in
        ASSETS.iter().map(|asset| (asset.path, asset.content)).chain([("index.html", PAGE.as_bytes())])
    {
        let text = std::str::from_utf8(asset.1).unwrap().replace("http://www.w3.org/2000/svg", "");
        let forbidden = [
            "http://",
            "https://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ];
        for word in forbidden {
            assert!(!text.contains(word), "{} has {word}", asset.0);
        }
    }
    let page = PAGE.as_str();
    assert!(
        !page.contains(" style=") && !page.contains("<style") && !page.contains(" on"),
        "the page has inline code"
    );
}

#[test]
fn modules_are_small_and_say_what_they_are() {
    for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
        let text = std::str::from_utf8(asset.content).unwrap();
        assert!(text.starts_with("// "), "{} does not say what it is", asset.path);
        assert!(text.lines().count() <= 300, "{} is too long", asset.path);
    }
}

#[test]
fn modules_are_well_formed() {
    let scratch = tempfile::tempdir().unwrap();
    for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
        let file = scratch.path().join(asset.path.replace('/', "-")).with_extension("mjs");
        fs::write(&file, asset.content).unwrap();
        let Ok(output) = Command::new("node").arg("--check").arg(&file).output() else {
            // Without node, the tests in the browser find the same.
            return;
        };
        assert!(output.status.success(), "{}: {}", asset.path, String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn the_page_forbids_inline_scripts_and_frames() {
    let response = page(HeaderMap::new()).await;
    let policy = told(&response, "content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!(told(&response, "x-content-type-options"), "nosniff");
    assert_eq!(told(&response, "content-type"), "text/html; charset=utf-8");
}

#[tokio::test]
async fn files_of_this_version_are_kept_for_good_and_others_asked_for() {
    let of = |version: &str| file(Path((version.to_owned(), "main.js".to_owned())), HeaderMap::new());
    let now = of(&VERSION).await;
    assert_eq!((now.status(), told(&now, "cache-control")), (StatusCode::OK, FOR_GOOD));
    let other = of("0123456789abcdef").await;
    assert_eq!((other.status(), told(&other, "cache-control")), (StatusCode::OK, ASK_FIRST));
    assert_eq!(told(&page(HeaderMap::new()).await, "cache-control"), ASK_FIRST);
}

#[tokio::test]
async fn who_has_the_page_already_does_not_get_it_again() {
    let first = page(HeaderMap::new()).await;
    for tag in [told(&first, "etag").to_owned(), format!("\"x\", W/{}", told(&first, "etag"))] {
        let again = page(given(header::IF_NONE_MATCH, &tag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(told(&again, "etag"), told(&first, "etag"));
    }
    assert_eq!(page(given(header::IF_NONE_MATCH, "\"x\"")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_file_that_is_none_is_not_found() {
    for path in ["no.js", "../mod.rs", "index.html", ""] {
        let response = file(Path((VERSION.clone(), path.to_owned())), HeaderMap::new()).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(told(&response, "x-content-type-options"), "nosniff");
    }
}
