//! The broker under test: started in a directory of its own, killed, stopped, restarted, ended with the test.
//!
//! `WARREN_TEST_ADDR` names a broker that is already running (a RabbitMQ, say) instead; tests that need to
//! restart theirs are then left out. `WARREN_TEST_BIN` names another program to start.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::conn::{Conn, Dial};
use super::wait::eventually;

const STARTUP: Duration = Duration::from_secs(60);

/// A broker process and its data directory.
pub(crate) struct Broker {
    child: Child,
    watchdog: Child,
    addresses: Addresses,
    dir: TempDir,
}

/// Where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Addresses {
    amqp: String,
    management: String,
    metrics: String,
    further: Vec<String>,
    tls: String,
    https: String,
}

impl Broker {
    /// The address of the broker that most tests share; started at the first call.
    pub(crate) fn shared() -> &'static str {
        static ADDRESS: OnceLock<String> = OnceLock::new();
        static BROKER: OnceLock<Broker> = OnceLock::new();
        ADDRESS.get_or_init(|| {
            external().unwrap_or_else(|| BROKER.get_or_init(|| Self::start("")).address().to_owned())
        })
    }

    /// A broker of the test's own, or `None` with a note when an external broker is being tested.
    pub(crate) fn own() -> Option<Self> {
        Self::own_with("")
    }

    /// The same with a configuration file of this text.
    pub(crate) fn own_with(config: &str) -> Option<Self> {
        Self::own_at("127.0.0.1:0", config)
    }

    /// One whose log is emptied into the cold store after 2 MiB.
    pub(crate) fn checkpointing() -> Option<Self> {
        Self::own_with("[log]\nsegment_bytes = 1048576\nbudget_bytes = 2097152\n")
    }

    fn may_own() -> bool {
        if external().is_some() {
            // Not by a macro: those of a test that passes are not shown.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(
                std::io::stderr(),
                "left out: {test} restarts its broker, WARREN_TEST_ADDR is not ours"
            );
            return false;
        }
        true
    }

    /// The same, listening where it is told to.
    pub(crate) fn own_at(bind: &str, config: &str) -> Option<Self> {
        Self::may_own().then(|| Self::start_at(bind, config))
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses.amqp
    }

    /// Where its HTTP API is.
    pub(crate) fn management(&self) -> &str {
        &self.addresses.management
    }

    /// Where its metrics are.
    pub(crate) fn metrics(&self) -> &str {
        &self.addresses.metrics
    }

    /// Where it listens besides that.
    pub(crate) fn further_addresses(&self) -> &[String] {
        &self.addresses.further
    }

    /// Where it listens for AMQP over TLS.
    pub(crate) fn tls(&self) -> &str {
        &self.addresses.tls
    }

    /// Where its HTTP API is over TLS.
    pub(crate) fn https(&self) -> &str {
        &self.addresses.https
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("a log file")
    }

    /// Puts another text into its configuration file.
    pub(crate) fn rewrite_config(&self, config: &str) {
        std::fs::write(self.dir.path().join("warren.toml"), config).expect("a configuration file");
    }

    /// A connection as guest.
    pub(crate) fn connect(&self) -> Conn {
        Dial::to(self.address()).open()
    }

    /// Where its data lies.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory the process has resident now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the broker runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the broker can be killed");
        self.child.wait().expect("the broker ends");
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(done.expect("sh runs").success(), "the broker was not there for SIG{name}");
    }

    /// Waits for it to have ended by itself; says whether with success.
    pub(crate) fn await_end(&mut self) -> bool {
        eventually("the broker to end", || self.child.try_wait().expect("a child of ours")).success()
    }

    /// Starts it again on the same directory and ports, after [`Self::kill`] or [`Self::await_end`].
    pub(crate) fn restart(&mut self) {
        end(&mut self.watchdog);
        let (child, addresses) = spawn(&self.dir, &self.addresses);
        self.watchdog = watch(child.id(), &self.dir);
        assert_eq!(addresses.amqp, self.addresses.amqp, "it listens where it was told to");
        self.child = child;
        self.addresses = addresses;
    }

    fn start(config: &str) -> Self {
        Self::start_at("127.0.0.1:0", config)
    }

    fn start_at(bind: &str, config: &str) -> Self {
        let dir = TempDir::with_prefix("warren-test-").expect("a temporary directory");
        std::fs::write(dir.path().join("warren.toml"), config).expect("a configuration file");
        let any = || "127.0.0.1:0".to_owned();
        let told =
            Addresses { amqp: bind.to_owned(), management: any(), metrics: any(), ..Addresses::default() };
        let (child, addresses) = spawn(&dir, &told);
        let watchdog = watch(child.id(), &dir);
        Self { child, watchdog, addresses, dir }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        end(&mut self.watchdog);
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("the broker's log:\n{log}");
        }
    }
}

fn external() -> Option<String> {
    std::env::var("WARREN_TEST_ADDR").ok().filter(|address| !address.is_empty())
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_warren").map(PathBuf::from);
    let told = std::env::var_os("WARREN_TEST_BIN").map(PathBuf::from);
    told.or(built).expect("a broker to test: build with cargo, or set WARREN_TEST_BIN or WARREN_TEST_ADDR")
}

/// Starts the process and waits for the lines that say where it listens; that for AMQP is the last.
fn spawn(dir: &TempDir, told: &Addresses) -> (Child, Addresses) {
    let log = File::options().create(true).append(true).open(dir.path().join("log")).expect("a log file");
    let mut child = Command::new(program())
        .args(["server", "--bind", &told.amqp, "--log", "warn"])
        .args(["--management-bind", &told.management, "--metrics-bind", &told.metrics, "--data-dir"])
        .arg(dir.path().join("data"))
        .arg("--config")
        .arg(dir.path().join("warren.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the broker starts");
    let lines = BufReader::new(child.stdout.take().expect("a piped stdout")).lines();
    let (tell, lines_told) = mpsc::channel();
    // The pipe is read to its end, so that a broker that prints more is not blocked.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
    let mut addresses = Addresses::default();
    while addresses.amqp.is_empty()
        && let Ok(line) = lines_told.recv_timeout(STARTUP)
    {
        addresses.note(&line);
    }
    if addresses.amqp.is_empty() {
        let _ = child.kill();
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("the broker did not say where it listens; its log:\n{log}");
    }
    eventually("the broker to take connections", || TcpStream::connect(&addresses.amqp).ok());
    (child, addresses)
}

impl Addresses {
    fn note(&mut self, line: &str) {
        let told = line.strip_prefix("warren is listening on ").and_then(|rest| rest.split_once(" ("));
        let Some((address, protocol)) = told else { return };
        let address = address.to_owned();
        match protocol.trim_end_matches(')') {
            "AMQP 0-9-1" => self.amqp = address,
            "HTTP, management" => self.management = address,
            "HTTP, metrics" => self.metrics = address,
            "AMQP 0-9-1, TLS" => self.tls = address,
            "HTTPS, management" => self.https = address,
            "AMQP 0-9-1, further" => self.further.push(address),
            _ => {}
        }
    }
}

/// Ends the broker and its directory when this process goes without cleaning up, which closes the pipe.
fn watch(pid: u32, dir: &TempDir) -> Child {
    Command::new("sh")
        .args(["-c", "cat >/dev/null; kill -9 $1 2>/dev/null; rm -rf \"$2\"", "watchdog", &pid.to_string()])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh runs")
}

/// Ends the watchdog before it acts.
fn end(watchdog: &mut Child) {
    let _ = watchdog.kill();
    let _ = watchdog.wait();
}
