//! `[security.oauth2]`: what the example shows, what is taken and what is refused.

use std::fs;
use std::path::Path;

use super::{Config, Oauth2};

const EXAMPLE: &str = include_str!("../../config/warren.toml");

fn parse(text: &str) -> Result<Oauth2, String> {
    let config = Config::parse(Path::new("warren.toml"), &format!("[security.oauth2]\n{text}"));
    config.map(|config| config.security.oauth2.unwrap()).map_err(|error| error.to_string())
}

/// The section of the example without its marks, and with what must be given.
fn example() -> String {
    let section = EXAMPLE.split("#[security.oauth2]\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let keys = section.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| line.contains(" = "));
    let lines: Vec<_> = keys.filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(lines.len(), 12);
    lines.join("\n")
}

#[test]
fn the_example_shows_the_defaults() {
    let url = "https://issuer.example/keys";
    let given = format!("resource_server_id = \"rabbitmq\"\njwks_url = \"{url}\"");
    let shown = example()
        .replace("resource_server_id = \"\"", "resource_server_id = \"rabbitmq\"")
        .replace("jwks_url = \"\"", &format!("jwks_url = \"{url}\""));
    assert_eq!(parse(&shown), parse(&given));
    let oauth2 = parse(&given).unwrap();
    assert_eq!((oauth2.scope_prefix.as_str(), oauth2.issuer), ("rabbitmq.", None));
}

#[test]
fn keys_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "0123456789abcdef\n").unwrap();
    let text = |key: &str| format!("resource_server_id = \"r\"\nkeys = [\"{key}{}\"]", file.display());
    assert_eq!(parse(&text("")).unwrap().keys[0].id, None);
    assert_eq!(parse(&text("k1=")).unwrap().keys[0].id.as_deref(), Some("k1"));
    assert!(!format!("{:?}", parse(&text("")).unwrap()).contains("48, 49"), "a secret is not printed");
    fs::write(&file, "short").unwrap();
    assert!(parse(&text("")).unwrap_err().contains("16 bytes or more"));
    fs::write(&file, "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n").unwrap();
    assert!(parse(&text("")).unwrap_err().contains("a public key as PEM"));
    fs::remove_file(&file).unwrap();
    assert!(parse(&text("")).unwrap_err().contains("a file that can be read"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (text, expected) in [
        ("", "resource_server_id is \"\", allowed is 1 to 255 bytes"),
        ("resource_server_id = \"r\"", "security.oauth2.keys is \"\""),
        ("resource_server_id = \"r\"\njwks_url = \"http://example.org/\"", "https:// address"),
        ("resource_server_id = \"r\"\njwks_url = \"http://localhost.example.org/\"", "https:// address"),
        ("resource_server_id = \"r\"\njwks_url = \"https://x\"\nalgorithms = [\"none\"]", "is \"none\""),
        ("resource_server_id = \"r\"\njwks_url = \"https://x\"\nleeway_s = 601", "0 to 600"),
    ] {
        let refusal = parse(text).unwrap_err();
        assert!(refusal.contains(expected), "{refusal}");
    }
}
