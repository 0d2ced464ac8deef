//! A RabbitMQ of the test's own: Debian's package, started by hand on loopback, with its own epmd and directories.

use std::fs;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const STARTUP: Duration = Duration::from_secs(90);

/// The broker and the port mapper, which end with the value.
pub(crate) struct RabbitMq {
    server: Child,
    epmd: Child,
    /// Ends both, and the directory, when this process goes without cleaning up.
    watchdog: Child,
    pub(crate) address: String,
    dir: TempDir,
}

impl RabbitMq {
    /// Whether the package is installed.
    pub(crate) fn is_installed() -> bool {
        Path::new(SERVER).exists()
    }

    pub(crate) fn start() -> Self {
        let dir = TempDir::with_prefix("warren-rabbitmq-").expect("a temporary directory");
        let ports: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let port =
            |at: usize| ports.get(at).and_then(|p| p.local_addr().ok()).expect("a port").port().to_string();
        let (node, mapper, distribution) = (port(0), port(1), port(2));
        drop(ports);
        let path = |name: &str| dir.path().join(name);
        fs::write(path("plugins"), "[].").expect("a file");
        let log = File::create(path("out")).expect("a log file");
        let epmd = Command::new("epmd")
            .args(["-port", &mapper, "-address", "127.0.0.1"])
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("epmd starts");
        let server = Command::new(SERVER)
            .env("HOME", dir.path())
            .env("ERL_EPMD_PORT", &mapper)
            // Otherwise the server starts another one, on the addresses that ours has left free.
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", "warren-reference@localhost")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", &node)
            .env("RABBITMQ_DIST_PORT", &distribution)
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", path("no-environment"))
            .env("RABBITMQ_CONFIG_FILE", path("no-configuration"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            // A group of its own, so that the shell, the virtual machine and its helpers can be ended together.
            .process_group(0)
            .spawn()
            .expect("RabbitMQ starts");
        let watchdog = Command::new("sh")
            .args(["-c", "cat >/dev/null; kill -9 -- -$1 $2; rm -rf \"$3\"", "watchdog"])
            .args([server.id().to_string(), epmd.id().to_string()])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh runs");
        let broker = Self { server, epmd, watchdog, address: format!("127.0.0.1:{node}"), dir };
        broker.wait();
        broker
    }

    fn wait(&self) {
        let end = Instant::now() + STARTUP;
        while TcpStream::connect(&self.address).is_err() {
            let log = fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
            assert!(Instant::now() < end, "RabbitMQ did not start; its log:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        let group = format!("kill -KILL -{}", self.server.id());
        let _ = Command::new("sh").args(["-c", &group]).status();
        let _ = self.server.wait();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}
