//! The processes of a cluster.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::network::Network;
use super::program;

const CLIENT_PORT: u16 = 5672;
const PEER_PORT: u16 = 35672;
const MANAGEMENT_PORT: u16 = 15672;
const METRICS_PORT: u16 = 15692;

/// How long a node may take from its start until it serves clients.
const STARTUP: Duration = Duration::from_secs(60);

/// Nodes of one cluster, by their place from 0 on.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    network: Option<Network>,
    dir: TempDir,
}

struct Node {
    host: String,
    /// It, and what ends it when this process goes without cleaning up.
    process: Option<(Child, Child)>,
}

impl Nodes {
    /// On loopback addresses that nobody else uses.
    pub(super) fn on_loopback(count: usize) -> Self {
        Self::start(loopback_hosts(count), None, None)
    }

    /// The same, one node having its data in a directory of the caller's.
    pub(super) fn on_disk(count: usize, place: usize, data_dir: &Path) -> Self {
        Self::start(loopback_hosts(count), None, Some((place, data_dir)))
    }

    /// Each in its own namespace of a network.
    pub(super) fn on(network: Network) -> Self {
        Self::start(network.hosts(), Some(network), None)
    }

    fn start(hosts: Vec<String>, network: Option<Network>, own_disk: Option<(usize, &Path)>) -> Self {
        let dir = TempDir::with_prefix("warren-cluster-").expect("a temporary directory");
        let seeds: Vec<_> = hosts.iter().map(|host| format!("\"{host}:{PEER_PORT}\"")).collect();
        let nodes = hosts.into_iter().map(|host| Node { host, process: None }).collect();
        let mut cluster = Self { nodes, network, dir };
        for place in 0..cluster.nodes.len() {
            if let Some((_, disk)) = own_disk.filter(|(own, _)| *own == place) {
                std::os::unix::fs::symlink(disk, cluster.file(place, "data")).expect("a link");
            }
            let text = cluster.config(place, &seeds.join(", "));
            std::fs::write(cluster.file(place, "toml"), text).expect("a configuration file");
            cluster.begin(place);
        }
        cluster
    }

    fn config(&self, place: usize, seeds: &str) -> String {
        let (host, data) = (&self.nodes[place].host, self.file(place, "data"));
        let mut text = String::new();
        let _ = writeln!(text, "[node]\ndata_dir = {:?}", data.display().to_string());
        let _ = writeln!(text, "[listener]\nbind = \"{host}:{CLIENT_PORT}\"");
        let _ = writeln!(text, "[management]\nbind = \"{host}:{MANAGEMENT_PORT}\"");
        let _ = writeln!(text, "[metrics]\nbind = \"{host}:{METRICS_PORT}\"");
        if self.network.is_none() {
            // Checkpoints all the time, and copies for those who come back.
            let _ = writeln!(text, "[log]\nsegment_bytes = 1048576\nbudget_bytes = 8388608");
        }
        // In a network of its own no address is a loopback address.
        let _ = writeln!(text, "[security]\nloopback_users = []");
        let _ = writeln!(text, "[cluster]\nname = \"node{}\"\nbind = \"{host}:{PEER_PORT}\"", place + 1);
        let _ = writeln!(text, "seeds = [{seeds}]\nsecret = \"known to this test alone\"\ngroups = 4");
        // Copies everywhere: whatever majority of nodes there is can serve all queues.
        let _ = writeln!(text, "replicas = {}", self.nodes.len());
        text
    }

    fn file(&self, place: usize, kind: &str) -> PathBuf {
        self.dir.path().join(format!("node{}.{kind}", place + 1))
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn network(&self) -> &Network {
        self.network.as_ref().expect("a cluster on a network of its own")
    }

    /// Where clients come in.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("{}:{CLIENT_PORT}", node.host)).collect()
    }

    /// Where metrics are.
    pub(super) fn metrics(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("{}:{METRICS_PORT}", node.host)).collect()
    }

    /// Starts a node's process.
    pub(super) fn begin(&mut self, place: usize) {
        assert!(self.nodes[place].process.is_none(), "node {} is not running", place + 1);
        let log =
            File::options().create(true).append(true).open(self.file(place, "log")).expect("a log file");
        let mut command = match &self.network {
            Some(network) => network.command(place, &program()),
            None => Command::new(program()),
        };
        let child = command
            .args(["server", "--log", "info", "--config"])
            .arg(self.file(place, "toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one log for both"))
            .stderr(log)
            .spawn()
            .expect("the node starts");
        let watchdog = watch(child.id(), self.dir.path());
        self.nodes[place].process = Some((child, watchdog));
    }

    /// Ends a node as `kill -9` does.
    pub(super) fn kill(&mut self, place: usize) {
        let Some((mut child, mut watchdog)) = self.nodes[place].process.take() else { return };
        child.kill().expect("the node can be killed");
        child.wait().expect("the node ends");
        let _ = watchdog.kill();
        let _ = watchdog.wait();
    }

    /// Asks a node to stop, and waits until it has.
    pub(super) fn stop(&mut self, place: usize) {
        self.signal(place, "TERM");
        self.await_end(place);
    }

    /// Waits until a node has ended by itself.
    pub(super) fn await_end(&mut self, place: usize) -> ExitStatus {
        let (child, _) = self.nodes[place].process.as_mut().expect("a running node");
        let end = Instant::now() + STARTUP;
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(Instant::now() < end, "node {} does not end", place + 1);
            std::thread::sleep(Duration::from_millis(10));
        };
        self.kill(place);
        status
    }

    /// Has a node that is down taken out by the first one.
    pub(super) fn forget(&self, place: usize) {
        let end = Instant::now() + STARTUP;
        loop {
            let asked = Command::new(program())
                .args(["cluster", "forget", &format!("node{}", place + 1), "--config"])
                .arg(self.file(0, "toml"))
                .output()
                .expect("the command runs");
            if asked.status.success() {
                return;
            }
            let said = String::from_utf8_lossy(&asked.stderr).into_owned();
            assert!(Instant::now() < end, "node {} cannot be forgotten: {said}", place + 1);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Sends a signal by its name.
    pub(super) fn signal(&self, place: usize, name: &str) {
        let (child, _) = self.nodes[place].process.as_ref().expect("a running node");
        let done = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status();
        assert!(done.expect("sh runs").success(), "node {} was there to be signalled", place + 1);
    }

    /// Removes all that a node has on disk; it must not run.
    pub(super) fn wipe(&self, place: usize) {
        std::fs::remove_dir_all(self.file(place, "data")).expect("the directory was there");
    }

    /// Waits until all nodes are up and have copies of everything: whoever fails now is one of a majority.
    pub(super) fn await_whole(&mut self) {
        self.check_running();
        let asked = Command::new(program())
            .args(["cluster", "status", "--wait", "90", "--nodes", &self.count().to_string(), "--config"])
            .arg(self.file(0, "toml"))
            .args(["--node", &format!("{}:{PEER_PORT}", self.nodes[0].host)])
            .output()
            .expect("the command runs");
        let shown = [asked.stdout, asked.stderr].concat();
        assert!(
            asked.status.success(),
            "the cluster does not get whole:\n{}",
            String::from_utf8_lossy(&shown)
        );
    }

    /// Fails when a node has ended by itself.
    fn check_running(&mut self) {
        for (place, node) in self.nodes.iter_mut().enumerate() {
            if let Some((child, _)) = &mut node.process {
                let ended = child.try_wait().expect("a child of ours");
                assert!(ended.is_none(), "node {} has ended by itself: {ended:?}", place + 1);
            }
        }
    }

    /// What the system says of a node's process: somebody else may have stopped it.
    fn state(&self, place: usize) -> String {
        let Some((child, _)) = &self.nodes[place].process else { return "not running".to_owned() };
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.unwrap_or("gone").trim().to_owned()
    }

    fn show_logs(&self) {
        for place in 0..self.nodes.len() {
            let log = std::fs::read_to_string(self.file(place, "log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(25)..].join("\n");
            eprintln!("the end of the log of node {}, which is {}:\n{last}\n", place + 1, self.state(place));
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for place in 0..self.nodes.len() {
            self.kill(place);
        }
    }
}

fn loopback_hosts(count: usize) -> Vec<String> {
    static CLUSTERS: AtomicU16 = AtomicU16::new(0);
    let (process, cluster) = (std::process::id() % 250 + 2, CLUSTERS.fetch_add(1, Ordering::Relaxed));
    (1..=count).map(|node| format!("127.{process}.{cluster}.{node}")).collect()
}

/// Ends a node when this process goes without cleaning up, which closes the pipe.
fn watch(pid: u32, dir: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "cat >/dev/null; kill -9 $1 2>/dev/null; rm -rf \"$2\"", "watchdog", &pid.to_string()])
        .arg(dir)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh runs")
}
