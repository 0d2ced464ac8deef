//! The `warren` command.

#[expect(clippy::disallowed_methods, reason = "it asks nodes from outside, with an environment and a clock")]
mod cli;
mod cluster_command;
mod cluster_table;
mod load_definitions;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use warren::config::{Config, HttpConfig, LogFormat};
use warren::management;
use warren::node::{Door, Doors, Node, Tls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An AMQP 0-9-1 message broker.
#[derive(Parser)]
#[command(name = "warren", version, after_help = cli::EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a broker until it gets SIGTERM or SIGINT.
    Server(Server),
    /// Asks the nodes of a cluster how they stand, and gives them orders.
    Cluster(cluster_command::Cluster),
    #[command(flatten)]
    Ask(cli::Ask),
    /// Puts load on a broker, checks every message and reports what it cost.
    Perf(Box<warren_perf::Arguments>),
}

/// Flags win over the configuration file.
#[derive(Args)]
struct Server {
    /// Directory of everything that survives a restart [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address and port to listen on [default: 0.0.0.0:5672]
    #[arg(long, value_name = "ADDR:PORT")]
    bind: Option<SocketAddr>,
    /// Address and port of the HTTP API and its pages, or off [default: 0.0.0.0:15672]
    #[arg(long, value_name = "ADDR:PORT|off")]
    management_bind: Option<Bind>,
    /// Address and port of the metrics for Prometheus, or off [default: 0.0.0.0:15692]
    #[arg(long, value_name = "ADDR:PORT|off")]
    metrics_bind: Option<Bind>,
    /// Configuration file; without one, the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to log, in the words of `tracing`, such as info or warn,warren=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// The form of a log line: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Start with a damaged log: skip damaged records and say which
    #[arg(long)]
    salvage: bool,
}

/// Where something listens, if it does.
#[derive(Clone, Copy)]
struct Bind(Option<SocketAddr>);

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| "an IP address and a port, or off".to_owned()),
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            let _ = wrong.print();
            return ExitCode::from(if wrong.use_stderr() { cli::Failure::USAGE } else { 0 });
        }
    };
    let result = match arguments.command {
        Command::Ask(ask) => {
            let Err(failure) = cli::run(ask, Arguments::command()) else { return ExitCode::SUCCESS };
            say(&mut std::io::stderr(), &format!("warren: {failure}"));
            return ExitCode::from(failure.code);
        }
        Command::Server(server) => run(server),
        Command::Cluster(cluster) => order(cluster),
        Command::Perf(arguments) => {
            warren_perf::run(&arguments, &mut std::io::stdout()).map_err(|error| error.to_string())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say(&mut std::io::stderr(), &format!("warren: {reason}"));
            ExitCode::FAILURE
        }
    }
}

fn run(server: Server) -> Result<(), String> {
    let salvage = server.salvage;
    let config = configure(server)?;
    start_logging(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    runtime.block_on(serve(config, salvage))
}

fn order(cluster: cluster_command::Cluster) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let mut out = std::io::stdout();
    let told = runtime.block_on(cluster_command::run(cluster, |line| say(&mut std::io::stderr(), line)))?;
    say(&mut out, &told);
    Ok(())
}

fn configure(server: Server) -> Result<Config, String> {
    let mut config = Config::load(server.config.as_deref()).map_err(|error| error.to_string())?;
    if let Some(data_dir) = server.data_dir {
        config.node.data_dir = data_dir;
    }
    if let Some(bind) = server.bind {
        config.listener.bind = bind;
    }
    if let Some(Bind(bind)) = server.management_bind {
        config.management = over(config.management, bind);
    }
    if let Some(Bind(bind)) = server.metrics_bind {
        config.metrics = over(config.metrics, bind);
    }
    if let Some(filter) = server.log {
        config.logging.filter = filter;
    }
    if let Some(format) = server.log_format {
        config.logging.format = format;
    }
    Ok(config)
}

/// A flag over what the file says: off is off over TLS as well.
fn over(file: HttpConfig, bind: Option<SocketAddr>) -> HttpConfig {
    HttpConfig { bind, tls_bind: file.tls_bind.filter(|_| bind.is_some()) }
}

fn start_logging(config: &Config) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.logging.filter)
        .map_err(|error| format!("logging filter '{}': {error}", config.logging.filter))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.logging.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

async fn serve(config: Config, salvage: bool) -> Result<(), String> {
    let data_dir = config.node.data_dir.clone();
    let no_signals = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let tls = config.tls.as_ref().map(Tls::load).transpose()?;
    let doors = Doors::open(&config, tls.as_ref()).await.map_err(|error| error.to_string())?;
    let node = Node::start_with(config.clone(), salvage, tls).await.map_err(|error| error.to_string())?;
    load_definitions::load(&node, &config).await?;
    say_addresses(&node, &doors);
    let management = management::start(node.control(), &config, doors.management);
    let metrics = management::metrics::start(node.control(), doors.metrics);
    tracing::info!(data_dir = %data_dir.display(), "started");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = node.stopped() => {}
    }
    metrics.stop().await;
    management.stop().await;
    node.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

/// A line for each; the main one for AMQP comes last, as those who wait for it wait for all.
fn say_addresses(node: &Node, doors: &Doors) {
    let http = |doors: &[Door], what: &str| {
        for door in doors {
            let over = if door.is_tls() { "HTTPS" } else { "HTTP" };
            say_address(door.address(), &format!("{over}, {what}"));
        }
    };
    http(&doors.metrics, "metrics");
    http(&doors.management, "management");
    if let [(first, _), further @ ..] = node.addresses() {
        for (address, is_tls) in further {
            say_address(*address, if *is_tls { "AMQP 0-9-1, TLS" } else { "AMQP 0-9-1, further" });
        }
        say_address(*first, "AMQP 0-9-1");
    }
}

fn say_address(address: SocketAddr, protocol: &str) {
    say(&mut std::io::stdout(), &format!("warren is listening on {address} ({protocol})"));
    tracing::info!(%address, protocol, "listening");
}

/// Writes a line; a reader that has gone is no reason to fail.
fn say(to: &mut impl std::io::Write, line: &str) {
    let _ = writeln!(to, "{line}").and_then(|()| to.flush());
}
