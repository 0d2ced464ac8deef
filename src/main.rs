//! The `warren` command.

#[expect(clippy::disallowed_methods, reason = "it asks nodes from outside, with an environment and a clock")]
mod cli;
mod cluster_command;
mod cluster_table;
mod load_definitions;
mod reload;
mod service;
mod settings;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use warren::config::{Config, Effective, LogFormat};
use warren::management;
use warren::node::{Door, Doors, Node, Tls};

use reload::Reload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was built, from what and by what.
const BUILD: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:  ",
    env!("WARREN_BUILD_COMMIT"),
    "\ntarget:  ",
    env!("WARREN_BUILD_TARGET"),
    "\nprofile: ",
    env!("WARREN_BUILD_PROFILE"),
    "\nrustc:   ",
    env!("WARREN_BUILD_RUSTC"),
);

/// How long a stop takes at most, for the service manager.
const STOP_MAX: Duration = Duration::from_secs(60);

/// An AMQP 0-9-1 message broker.
#[derive(Parser)]
#[command(name = "warren", version, long_version = BUILD, after_help = cli::EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a broker until it gets SIGTERM or SIGINT.
    Server(Server),
    /// Checks or shows a configuration without starting anything
    Config {
        #[command(subcommand)]
        question: settings::Question,
    },
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
        Command::Config { question } => {
            settings::answer(&question).map(|answer| say(&mut std::io::stdout(), &answer))
        }
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
    let (config, effective) = settings::of_server(&server)?;
    let set_filter = start_logging(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    runtime.block_on(serve(server, config, effective, set_filter))
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

/// Has everybody log by another filter.
type SetFilter = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

fn filter(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(text).map_err(|error| format!("logging filter '{text}': {error}"))
}

fn start_logging(config: &Config) -> Result<SetFilter, String> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.logging.filter)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    Ok(match config.logging.format {
        LogFormat::Text => {
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |text| handle.reload(filter(text)?).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let log = log.json().with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |text| handle.reload(filter(text)?).map_err(|error| error.to_string()))
        }
    })
}

async fn serve(
    server: Server,
    config: Config,
    effective: Effective,
    set_filter: SetFilter,
) -> Result<(), String> {
    let no_signals = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    service::status("reading what is on disk");
    let tls = config.tls.as_ref().map(Tls::load).transpose()?;
    let doors = Doors::open(&config, tls.as_ref()).await.map_err(|error| error.to_string())?;
    let starting = Node::start_with(config.clone(), server.salvage, tls.clone());
    let node = Box::pin(service::while_starting(starting)).await.map_err(|error| error.to_string())?;
    load_definitions::load(&node, &config).await?;
    say_addresses(&node, &doors);
    let management = management::start(node.control(), &config, doors.management);
    let metrics = management::metrics::start(node.control(), doors.metrics);
    tracing::info!(data_dir = %config.node.data_dir.display(), "started");
    let status = format!("clients are taken at {}", config.listener.bind);
    service::ready(&status);
    let mut reload = Reload { server, effective, set_filter, tls };
    let watchdog = service::Watchdog::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
            () = node.stopped() => {}
            _ = hangup.recv() => {
                service::reloading();
                reload.run(&node);
                service::ready(&status);
                continue;
            }
            () = watchdog.is_hungry() => {
                service::feed_watchdog();
                continue;
            }
        }
        break;
    }
    service::stopping(STOP_MAX);
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
