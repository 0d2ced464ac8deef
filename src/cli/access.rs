//! Which node is asked, as whom, and how answers are shown: flags, before the environment, before a file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::failure::Failure;

const DEFAULT_NODE: &str = "http://127.0.0.1:15672";
const DEFAULT_USER: &str = "guest";

/// Flags that every command has. Their identifiers must be those of no other argument, or one would be taken for the other.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Node and output")]
pub(crate) struct Access {
    /// HTTP address of the node [env: WARREN_NODE] [default: http://127.0.0.1:15672]
    #[arg(long = "node", global = true, value_name = "URL")]
    node_url: Option<String>,
    /// User name [env: WARREN_USER] [default: guest]
    #[arg(long = "user", short = 'u', global = true, value_name = "NAME")]
    as_user: Option<String>,
    /// Password; better in the environment or the file [env: WARREN_PASSWORD] [default: guest]
    #[arg(long = "password", short = 'p', global = true, value_name = "PASSWORD")]
    as_password: Option<String>,
    /// OAuth 2 token in place of user and password [env: WARREN_TOKEN]
    #[arg(long = "token", global = true, value_name = "TOKEN")]
    as_token: Option<String>,
    /// How answers are shown
    #[arg(long, short = 'o', global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// Do not ask before something is destroyed
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people; they fit the terminal
    #[default]
    Table,
    /// JSON as the node gives it
    Json,
    /// A line for each object, a tab between columns
    Tsv,
}

/// What `~/.config/warren/cli.toml` may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    node: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// A node and what opens it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) node: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) token: Option<String>,
}

impl Access {
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let file = read_file()?;
        let pick = |flag: &Option<String>, variable: &str, in_file: Option<String>| {
            let variable = || std::env::var(variable).ok().filter(|value| !value.is_empty());
            flag.clone().or_else(variable).or(in_file)
        };
        let node = pick(&self.node_url, "WARREN_NODE", file.node).unwrap_or_else(|| DEFAULT_NODE.to_owned());
        let node = if node.contains("://") { node } else { format!("http://{node}") };
        let default = || DEFAULT_USER.to_owned();
        Ok(Target {
            node: node.trim_end_matches('/').trim_end_matches("/api").to_owned(),
            user: pick(&self.as_user, "WARREN_USER", file.user).unwrap_or_else(default),
            password: pick(&self.as_password, "WARREN_PASSWORD", file.password).unwrap_or_else(default),
            token: pick(&self.as_token, "WARREN_TOKEN", file.token),
        })
    }
}

/// The file of `WARREN_CLI_CONFIG`, which must be there, or the one of the user, which need not.
fn read_file() -> Result<File, Failure> {
    let named = std::env::var_os("WARREN_CLI_CONFIG").map(PathBuf::from);
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let own = || config.or_else(home).map(|config| config.join("warren/cli.toml"));
    let Some(path) = named.clone().or_else(own) else { return Ok(File::default()) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(_) if named.is_none() => return Ok(File::default()),
        Err(error) => return Err(Failure::usage(format!("{}: {error}", path.display()))),
    };
    toml::from_str(&text).map_err(|error| {
        Failure::usage(format!("{}: {error}It may have node, user, password and token.", path.display()))
    })
}
