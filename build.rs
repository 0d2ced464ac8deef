//! Facts about this build for `warren --version`. The commit is known when WARREN_COMMIT says it: what git says may be of
//! another state by the time of the next build.
#![expect(clippy::disallowed_methods, reason = "this is how cargo tells")]

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WARREN_COMMIT");
    let known = |name: &str| var(name).ok().filter(|text| !text.is_empty());
    let unknown = || "unknown".to_owned();
    let rustc = Command::new(known("RUSTC").unwrap_or_else(|| "rustc".to_owned())).arg("--version").output();
    let rustc = rustc.ok().and_then(|said| String::from_utf8(said.stdout).ok());
    println!("cargo:rustc-env=WARREN_BUILD_COMMIT={}", known("WARREN_COMMIT").unwrap_or_else(unknown));
    println!("cargo:rustc-env=WARREN_BUILD_TARGET={}", known("TARGET").unwrap_or_else(unknown));
    println!("cargo:rustc-env=WARREN_BUILD_PROFILE={}", profile());
    println!(
        "cargo:rustc-env=WARREN_BUILD_RUSTC={}",
        rustc.map_or_else(unknown, |said| said.trim().to_owned())
    );
}

/// The profile by its own name: PROFILE says only what it inherits from. The folder of the build has the name.
fn profile() -> String {
    let out = var("OUT_DIR").unwrap_or_default();
    let parts: Vec<_> = out.split('/').collect();
    let build = parts.iter().rposition(|part| *part == "build");
    let name = build.and_then(|at| parts.get(at.checked_sub(1)?)).copied();
    name.unwrap_or("unknown").to_owned()
}
