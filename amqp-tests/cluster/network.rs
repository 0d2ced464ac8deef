//! A network of namespaces: one for each node, and a router between them that can lose packets.
//!
//! What is cut is lost without a word, as with a cable: rules of the router send it into a black hole. The test itself is
//! connected to the router too, so that clients reach nodes which are cut off from each other.

use std::path::Path;
use std::process::Command;

/// What a slow cable carries, a fraction of what the load needs; and how long it may hold back what it loses then.
const SLOW_RATE: &str = "2mbit";
const SLOW_LATENCY: &str = "300ms";

/// Nodes, a router, and this process's own namespace, linked.
pub(super) struct Network {
    /// The second part of all addresses, and of all names.
    number: u32,
    nodes: usize,
}

impl Network {
    /// For so many nodes.
    ///
    /// # Errors
    /// Why that cannot be had here.
    pub(super) fn new(nodes: usize) -> Result<Self, String> {
        // Dropped on the way, it takes away what is there.
        let network = Self { number: std::process::id() % 200 + 30, nodes };
        network.build().map(|()| network)
    }

    fn build(&self) -> Result<(), String> {
        let (router, outside) = (self.router(), self.outside());
        ip(&format!("netns add {router}"))?;
        ip(&format!("netns exec {router} sysctl -qw net.ipv4.ip_forward=1"))?;
        ip(&format!("link add {outside} type veth peer name r0 netns {router}"))?;
        ip(&format!("addr add {} dev {outside}", self.address(0, 2)))?;
        ip(&format!("link set {outside} up"))?;
        self.connect_router(0)?;
        ip(&format!("route add 10.{}.0.0/16 via 10.{}.0.1", self.number, self.number))?;
        for node in 1..=self.nodes {
            let space = self.space(node - 1);
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add eth0 netns {space} type veth peer name r{node} netns {router}"))?;
            ip(&format!("-n {space} addr add {} dev eth0", self.address(node, 2)))?;
            ip(&format!("-n {space} link set lo up"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            self.connect_router(node)?;
            ip(&format!("-n {space} route add default via 10.{}.{node}.1", self.number))?;
        }
        // Tried once: not every kernel has such rules.
        self.cut_way(0, 1)?;
        self.heal()
    }

    fn connect_router(&self, cable: usize) -> Result<(), String> {
        let router = self.router();
        ip(&format!("-n {router} addr add {} dev r{cable}", self.address(cable, 1)))?;
        ip(&format!("-n {router} link set r{cable} up"))
    }

    fn router(&self) -> String {
        format!("warren-{}-router", self.number)
    }

    fn space(&self, place: usize) -> String {
        format!("warren-{}-{}", self.number, place + 1)
    }

    fn outside(&self) -> String {
        format!("warren-{}", self.number)
    }

    fn address(&self, cable: usize, end: usize) -> String {
        format!("10.{}.{cable}.{end}/24", self.number)
    }

    /// The nodes' addresses.
    pub(super) fn hosts(&self) -> Vec<String> {
        (1..=self.nodes).map(|node| format!("10.{}.{node}.2", self.number)).collect()
    }

    /// A command that runs a program where a node is.
    pub(super) fn command(&self, place: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(place)]).arg(program);
        command
    }

    /// What one node sends to another is lost from now on.
    ///
    /// # Errors
    /// When the system does not take it.
    pub(super) fn cut_way(&self, from: usize, to: usize) -> Result<(), String> {
        let host = |place| format!("10.{}.{}.2", self.number, place + 1);
        ip(&format!("-n {} rule add from {} to {} blackhole", self.router(), host(from), host(to)))
    }

    /// What nodes of the two sets send each other is lost from now on.
    pub(super) fn cut(&self, some: &[usize], others: &[usize]) {
        for (one, other) in some.iter().flat_map(|one| others.iter().map(move |other| (*one, *other))) {
            self.cut_way(one, other).and_then(|()| self.cut_way(other, one)).expect("a cut");
        }
    }

    /// Nothing from a node or to it arrives any more, clients' packets included.
    pub(super) fn unplug(&self, place: usize) {
        let (router, host) = (self.router(), format!("10.{}.{}.2", self.number, place + 1));
        for way in ["from", "to"] {
            ip(&format!("-n {router} rule add {way} {host} blackhole")).expect("a cut");
        }
    }

    /// The cable of a node carries little from now on, late, and loses what is more.
    pub(super) fn slow(&self, place: usize) {
        for (space, device) in self.ends(place) {
            let shape = format!("dev {device} root tbf rate {SLOW_RATE} burst 32kb latency {SLOW_LATENCY}");
            run("tc", &format!("-n {space} qdisc add {shape}")).expect("a slow cable");
        }
    }

    /// The two ends of a node's cable: namespace and device.
    fn ends(&self, place: usize) -> [(String, String); 2] {
        [(self.router(), format!("r{}", place + 1)), (self.space(place), "eth0".to_owned())]
    }

    /// Nothing is lost any more.
    ///
    /// # Errors
    /// When the system does not take it.
    pub(super) fn heal(&self) -> Result<(), String> {
        for (space, device) in (0..self.nodes).flat_map(|place| self.ends(place)) {
            // There is none unless it is slow.
            let _ = run("tc", &format!("-n {space} qdisc del dev {device} root"));
        }
        // One by one: there is no way to remove all of a kind.
        while ip(&format!("-n {} rule del blackhole", self.router())).is_ok() {}
        let rules = Command::new("ip").args(["-n", &self.router(), "rule"]).output();
        let rules = rules.map_err(|error| error.to_string())?.stdout;
        let left = String::from_utf8_lossy(&rules).contains("blackhole");
        if left { Err("rules of the router cannot be removed".to_owned()) } else { Ok(()) }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}", self.outside()));
        for place in 0..self.nodes {
            let _ = ip(&format!("netns del {}", self.space(place)));
        }
        let _ = ip(&format!("netns del {}", self.router()));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &str) -> Result<(), String> {
    let done = Command::new(program).args(arguments.split(' ')).output();
    let done = done.map_err(|error| format!("{program} {arguments}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments}: {}", String::from_utf8_lossy(&done.stderr).trim()))
}
