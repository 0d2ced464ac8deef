//! The configuration of this process: the file, under the environment, under the flags.

use std::path::Path;

use clap::Subcommand;
use warren::config::{Config, Effective, Overlay};
use warren::node::Tls;

use crate::Server;

/// What can be asked of a configuration, without starting anything.
#[derive(Subcommand)]
pub(crate) enum Question {
    /// Says whether a broker would take a file, the environment over it, and its certificates
    Check {
        /// The file; without one, the defaults
        file: Option<std::path::PathBuf>,
    },
    /// Shows the values in force, without secrets
    Show {
        /// The file; without one, the defaults
        file: Option<std::path::PathBuf>,
    },
}

/// The answer, or what is wrong.
pub(crate) fn answer(question: &Question) -> Result<String, String> {
    match question {
        Question::Check { file } => {
            let (config, _) = read(file.as_deref(), Vec::new())?;
            config.tls.as_ref().map(Tls::load).transpose()?;
            let name =
                file.as_ref().map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
            Ok(format!("configuration {name}: all is well"))
        }
        Question::Show { file } => Ok(read(file.as_deref(), Vec::new())?.1.show().trim_end().to_owned()),
    }
}

/// What a server is to be started with.
pub(crate) fn of_server(server: &Server) -> Result<(Config, Effective), String> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, key: &str, value: &str| flags.push(Overlay::of_flag(name, key, value));
    if let Some(data_dir) = &server.data_dir {
        flag("--data-dir", "node.data_dir", &data_dir.to_string_lossy());
    }
    if let Some(bind) = &server.bind {
        flag("--bind", "listener.bind", &bind.to_string());
    }
    let http = [
        ("--management-bind", "management", &server.management_bind),
        ("--metrics-bind", "metrics", &server.metrics_bind),
    ];
    for (name, table, bind) in http {
        match bind {
            Some(crate::Bind(Some(bind))) => flag(name, &format!("{table}.bind"), &bind.to_string()),
            Some(crate::Bind(None)) => flag(name, &format!("{table}.enabled"), "false"),
            None => {}
        }
    }
    if let Some(filter) = &server.log {
        flag("--log", "logging.filter", filter);
    }
    if let Some(format) = &server.log_format {
        flag("--log-format", "logging.format", format.name());
    }
    read(server.config.as_deref(), flags)
}

/// A file under the environment; for commands that ask a node.
pub(crate) fn of_file(file: Option<&Path>) -> Result<Config, String> {
    Ok(read(file, Vec::new())?.0)
}

fn read(file: Option<&Path>, flags: Vec<Overlay>) -> Result<(Config, Effective), String> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let overlays: Vec<_> = Overlay::of_environment(texts).into_iter().chain(flags).collect();
    Config::assemble(file, &overlays).map_err(|error| error.to_string())
}
