//! Tests of links over real sockets.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::config::{PeerSecurity, Secret, TlsFiles};
use crate::node::cluster::handshake;

const PATIENCE: Duration = Duration::from_secs(20);

/// What a node heard.
#[derive(Debug, PartialEq)]
enum Heard {
    Message(NodeId, u64, usize),
    Link(NodeId, LinkState),
}

#[derive(Debug)]
struct Ears(mpsc::UnboundedSender<Heard>);

impl Incoming for Ears {
    fn message(&self, from: NodeId, message: PeerMessage) {
        let PeerMessage::Ask(number, bytes) = message else { panic!("{message:?}") };
        let _ = self.0.send(Heard::Message(from, number, bytes.len()));
    }

    fn link(&self, node: NodeId, state: LinkState) {
        let _ = self.0.send(Heard::Link(node, state));
    }

    fn request(&self, question: Bytes, reply: oneshot::Sender<Bytes>) {
        let _ = reply.send([b"heard: ", &question[..]].concat().into());
    }
}

struct TestNode {
    links: PeerLinks,
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl TestNode {
    async fn start(node: NodeId, run: u64, options: LinkOptions) -> Self {
        Self::start_at("127.0.0.1:0", node, run, options).await
    }

    async fn start_at(address: &str, node: NodeId, run: u64, options: LinkOptions) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heard) = mpsc::unbounded_channel();
        let links = PeerLinks::start(identity(node, run), options, Arc::new(Ears(sender)), listener).unwrap();
        Self { links, address, heard }
    }

    fn knows(&self, node: NodeId, other: &Self) {
        self.links.set_node(node, &other.address.to_string());
    }

    async fn hears(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.expect("something is heard in time").unwrap()
    }

    /// Hears this, and nothing else before.
    async fn hears_link(&mut self, node: NodeId, state: LinkState) {
        assert_eq!(self.hears().await, Heard::Link(node, state));
    }

    /// Hears this about a link, whatever messages come before.
    async fn waits_for(&mut self, node: NodeId, state: LinkState) {
        while self.hears().await != Heard::Link(node, state) {}
    }

    fn says(&self, to: NodeId, number: u64, bytes: usize) {
        self.links.send(to, PeerMessage::Ask(number, vec![7; bytes].into()));
    }
}

fn identity(node: NodeId, run: u64) -> Identity {
    Identity { cluster: "test".to_owned(), node, name: format!("n{node}"), run }
}

fn secret(secret: &str) -> LinkOptions {
    let config = PeerSecurity { secret: Some(Secret(secret.into())), tls: None };
    LinkOptions::new(Security::load(&config).unwrap(), 1 << 20)
}

/// Two linked nodes, 1 and 2.
async fn pair(options: &LinkOptions) -> (TestNode, TestNode) {
    let mut one = TestNode::start(1, 11, options.clone()).await;
    let mut two = TestNode::start(2, 21, options.clone()).await;
    one.knows(2, &two);
    two.knows(1, &one);
    one.waits_for(2, LinkState::Up).await;
    two.waits_for(1, LinkState::Up).await;
    assert!(one.links.is_up(2) && two.links.is_up(1));
    (one, two)
}

#[tokio::test]
async fn messages_come_in_order_in_both_directions() {
    let (mut one, mut two) = pair(&secret("a secret")).await;
    let lengths = [0, 10, 1023, 1024, 5000, 300_000, 1_000_000];
    // Few of the large ones.
    let length = |number: usize| lengths[number % if number < 20 { 7 } else { 5 }];
    for (number, at) in (0..).zip(0..2000) {
        one.says(2, number, length(at));
        two.says(1, number, length(at));
    }
    for (number, at) in (0..).zip(0..2000) {
        assert_eq!(one.hears().await, Heard::Message(2, number, length(at)));
        assert_eq!(two.hears().await, Heard::Message(1, number, length(at)));
    }
}

#[tokio::test]
async fn a_message_larger_than_the_outbox_passes() {
    let mut options = secret("a secret");
    options.message_bytes_max = 160 << 20;
    let (one, mut two) = pair(&options).await;
    one.says(2, 1, 130 << 20);
    assert_eq!(two.hears().await, Heard::Message(1, 1, 130 << 20));
    // The other end may hear of it before the writer has counted.
    timeout(PATIENCE, async {
        while one.links.outbox_bytes(2) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("nothing waits any more");
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_the_link() {
    let mut options = secret("a secret");
    options.message_bytes_max = 1 << 20;
    let (mut one, mut two) = pair(&options).await;
    one.says(2, 1, 2 << 20);
    one.says(2, 2, 1);
    one.hears_link(2, LinkState::Down).await;
    two.hears_link(1, LinkState::Down).await;
    one.hears_link(2, LinkState::Up).await;
    two.hears_link(1, LinkState::Up).await;
    one.says(2, 3, 1);
    assert_eq!(two.hears().await, Heard::Message(1, 3, 1));
}

#[tokio::test]
async fn nothing_of_an_ended_link_comes_behind_its_end() {
    let (mut one, mut two) = pair(&secret("a secret")).await;
    for round in 0..30_u64 {
        for number in 0..200 {
            one.says(2, round * 1000 + number, 3000);
        }
        // Cuts the connection somewhere in the middle.
        if round % 2 == 0 {
            one.links.context.node(2).unwrap().end_link();
        } else {
            two.links.context.node(1).unwrap().end_link();
        }
        one.waits_for(2, LinkState::Down).await;
        one.waits_for(2, LinkState::Up).await;
        let mut next = round * 1000;
        loop {
            match two.hears().await {
                Heard::Message(1, number, _) => {
                    assert_eq!(number, next, "in order, without a gap");
                    next += 1;
                }
                heard => {
                    assert_eq!(heard, Heard::Link(1, LinkState::Down));
                    break;
                }
            }
        }
        two.hears_link(1, LinkState::Up).await;
    }
}

#[tokio::test]
async fn a_node_that_takes_nothing_loses_the_link_and_raft_messages_before_that() {
    let mut options = secret("a secret");
    options.outbox_bytes = 1 << 20;
    let (mut one, two) = pair(&options).await;
    // The other node's tasks do not run while this one does not wait.
    for _ in 0..100 {
        one.links.send(2, PeerMessage::Raft(1, vec![vec![0; 100_000].into()]));
    }
    let waiting = one.links.outbox_bytes(2);
    assert!((700_000..1_100_000).contains(&waiting), "{waiting}");
    assert!(one.heard.try_recv().is_err() && one.links.is_up(2));
    for number in 0..100 {
        one.says(2, number, 100_000);
    }
    one.hears_link(2, LinkState::Down).await;
    drop(two);
}

#[tokio::test]
async fn a_node_that_is_gone_is_dead_at_once_and_linked_again_when_it_is_back() {
    let options = secret("a secret");
    for (gone, stays) in [(2, 1), (1, 2)] {
        let (one, two) = pair(&options).await;
        let (leaving, mut staying) = if gone == 2 { (two, one) } else { (one, two) };
        let (address, begun) = (leaving.address.to_string(), Instant::now());
        drop(leaving);
        staying.hears_link(gone, LinkState::Down).await;
        staying.hears_link(gone, LinkState::Dead).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let back = TestNode::start_at(&address, gone, 99, options.clone()).await;
        back.knows(stays, &staying);
        staying.hears_link(gone, LinkState::Up).await;
    }
}

#[tokio::test]
async fn a_node_that_has_started_again_unnoticed_was_dead() {
    let options = secret("a secret");
    let mut two = TestNode::start(2, 21, options.clone()).await;
    let one = TestNode::start(1, 11, options.clone()).await;
    let cable = Cable::lay(two.address).await;
    one.links.set_node(2, &cable.address.to_string());
    two.knows(1, &one);
    two.waits_for(1, LinkState::Up).await;
    cable.cut.send(true).unwrap();
    let mut again = TestNode::start(1, 12, options).await;
    again.knows(2, &two);
    again.waits_for(2, LinkState::Up).await;
    two.hears_link(1, LinkState::Down).await;
    two.hears_link(1, LinkState::Dead).await;
    two.hears_link(1, LinkState::Up).await;
    again.says(2, 5, 1);
    assert_eq!(two.hears().await, Heard::Message(1, 5, 1));
    drop(one);
}

/// Passes bytes on between two nodes until it is silenced.
struct Cable {
    address: SocketAddr,
    cut: tokio::sync::watch::Sender<bool>,
}

impl Cable {
    #[expect(clippy::disallowed_methods, reason = "tests start tasks")]
    async fn lay(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(to).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, is_cut.clone()));
                tokio::spawn(pass(far_in, near_out, is_cut.clone()));
            }
        });
        Self { address, cut }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut is_cut: tokio::sync::watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 10_000];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // Neither passes anything on nor closes.
        is_cut.wait_for(|cut| !cut).await.unwrap();
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn silence_ends_a_link_on_both_sides_and_is_no_death() {
    let mut options = secret("a secret");
    options.ping_every = Duration::from_millis(50);
    options.silence_max = Duration::from_millis(400);
    options.connect_timeout = Duration::from_millis(300);
    let mut two = TestNode::start(2, 21, options.clone()).await;
    let mut one = TestNode::start(1, 11, options).await;
    let cable = Cable::lay(two.address).await;
    one.links.set_node(2, &cable.address.to_string());
    let way_back = Cable::lay(one.address).await;
    two.links.set_node(1, &way_back.address.to_string());
    one.waits_for(2, LinkState::Up).await;
    two.waits_for(1, LinkState::Up).await;
    // Pings keep a quiet link.
    sleep(Duration::from_secs(1)).await;
    assert!(one.heard.try_recv().is_err() && two.heard.try_recv().is_err());
    cable.cut.send(true).unwrap();
    one.says(2, 1, 10);
    one.hears_link(2, LinkState::Down).await;
    two.hears_link(1, LinkState::Down).await;
    assert!(
        timeout(Duration::from_secs(1), one.heard.recv()).await.is_err(),
        "a machine that is silent is not dead"
    );
    cable.cut.send(false).unwrap();
    one.hears_link(2, LinkState::Up).await;
    two.waits_for(1, LinkState::Up).await;
}

#[tokio::test]
async fn a_node_moves_and_leaves() {
    let options = secret("a secret");
    let (mut one, mut two) = pair(&options).await;
    drop(two);
    one.waits_for(2, LinkState::Dead).await;
    two = TestNode::start(2, 22, options).await;
    two.knows(1, &one);
    one.knows(2, &two);
    one.hears_link(2, LinkState::Up).await;
    one.links.remove_node(2);
    one.hears_link(2, LinkState::Down).await;
    one.says(2, 1, 1);
    assert!(!one.links.is_up(2));
    assert!(timeout(Duration::from_millis(300), one.heard.recv()).await.is_err(), "it is not let in");
}

/// What the first node says when the second one does not fit.
async fn refused_by(two: LinkOptions, hello: impl Fn(&mut handshake::Hello), one: LinkOptions) -> String {
    let two = TestNode::start(2, 21, two).await;
    two.links.set_node(1, "127.0.0.1:1");
    let mut said = greeting::hello(&identity(1, 11), handshake::Purpose::Link, 2, 1).unwrap();
    hello(&mut said);
    greeting::dial(&one, &two.address.to_string(), &said).await.expect_err("they do not fit").to_string()
}

#[tokio::test]
async fn who_does_not_fit_is_told_why() {
    let fits = || secret("a secret");
    let text = refused_by(fits(), |_| (), secret("another secret")).await;
    assert_eq!(text, "the other node says: the two nodes have different secrets (cluster.secret)");
    let text = refused_by(fits(), |hello| hello.from.cluster = "other".to_owned(), fits()).await;
    assert_eq!(
        text,
        "the other node says: node n1 is of the cluster \"other\", node n2 of the cluster \"test\""
    );
    let text = refused_by(fits(), |hello| hello.to = 3, fits()).await;
    assert_eq!(text, "the other node says: this is node 2 (n2), not node 3");
    for stranger in [0, 3] {
        let text = refused_by(fits(), |hello| hello.from.node = stranger, fits()).await;
        assert!(text.contains("does not know node"), "{text}");
    }
}

#[tokio::test]
async fn another_version_is_refused_in_words_that_stay() {
    let two = TestNode::start(2, 21, secret("a secret")).await;
    let mut hello = greeting::hello(&identity(1, 11), handshake::Purpose::Link, 2, 1).unwrap().encode();
    hello[8] = 77;
    let mut socket = TcpStream::connect(two.address).await.unwrap();
    socket.write_all(&u32::try_from(hello.len()).unwrap().to_le_bytes()).await.unwrap();
    socket.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer[4..15], b"WARRENPL\x02\x00\x00");
    let text = String::from_utf8_lossy(&answer[15..]);
    assert!(
        text.starts_with("the protocols of the two nodes differ: version 2 here, version 77 there"),
        "{text}"
    );
}

#[tokio::test]
async fn strangers_are_let_go() {
    let mut options = secret("a secret");
    options.connect_timeout = Duration::from_millis(300);
    let mut two = TestNode::start(2, 21, options).await;
    two.links.set_node(1, "127.0.0.1:1");
    two.hears_link(1, LinkState::Dead).await;
    for said in [
        &b""[..],
        b"AMQP\0\0\x09\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        &[255; 5000],
        &[22; 9],
        &[4, 0, 0, 0, 1, 2, 3, 4],
    ] {
        let mut socket = TcpStream::connect(two.address).await.unwrap();
        socket.write_all(said).await.unwrap();
        // A reset is as good as an end.
        let _ = timeout(PATIENCE, socket.read_to_end(&mut Vec::new())).await.expect("it is closed in time");
    }
    assert!(two.heard.try_recv().is_err());
}

#[tokio::test]
async fn questions_are_answered_to_those_who_know_the_secret() {
    let options = secret("a secret");
    let node = TestNode::start(0, 21, options.clone()).await;
    let address = node.address.to_string();
    let stranger = Identity::default();
    let answer = request(&options, &stranger, &address, b"may I join?").await.unwrap();
    assert_eq!(&answer[..], b"heard: may I join?");
    let large = vec![1; 3_000_000];
    assert_eq!(request(&options, &identity(3, 1), &address, &large).await.unwrap().len(), large.len() + 7);
    assert!(request(&secret("guess"), &stranger, &address, b"?").await.is_err());
    drop(node);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(request(&options, &stranger, &address, b"?").await, Err(greeting::LinkError::Refused));
}

#[tokio::test]
async fn without_a_secret_peers_are_on_this_machine_only() {
    let open = LinkOptions::new(Security::load(&PeerSecurity::default()).unwrap(), 1 << 20);
    pair(&open).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (sender, _heard) = mpsc::unbounded_channel();
    let started = PeerLinks::start(identity(1, 1), open.clone(), Arc::new(Ears(sender)), listener);
    let problem = started.map(drop).unwrap_err().to_string();
    assert!(problem.contains("0.0.0.0 is not on this machine, and neither cluster.secret"), "{problem}");
    let far = request(&open, &identity(1, 1), "192.0.2.1:9", b"?").await.unwrap_err().to_string();
    assert!(far.contains("192.0.2.1 is not on this machine"), "{far}");
}

/// Certificates of an authority for these nodes, as files.
fn certificates(folder: &std::path::Path) -> TlsFiles {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        ca: file("ca.pem", ca.pem()),
        certificate: file("node.pem", certificate.pem()),
        key: file("node.key", key.serialize_pem()),
    }
}

fn tls(folder: &std::path::Path) -> LinkOptions {
    let config = PeerSecurity { secret: None, tls: Some(certificates(folder)) };
    LinkOptions::new(Security::load(&config).unwrap(), 1 << 20)
}

#[tokio::test]
async fn certificates_of_one_authority_let_nodes_in() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = tls(folder.path());
    let (one, mut two) = pair(&options).await;
    for number in 0..20 {
        one.says(2, number, 100_000);
    }
    for number in 0..20 {
        assert_eq!(two.hears().await, Heard::Message(1, number, 100_000));
    }
    let answer = request(&options, &identity(9, 1), &one.address.to_string(), b"?").await;
    assert_eq!(answer.as_deref(), Ok(&b"heard: ?"[..]));
    // Somebody else's authority, and the same from the other side.
    let text = refused_by(options.clone(), |_| (), tls(other.path())).await;
    assert!(text.starts_with("TLS: "), "{text}");
    // The secret alone does not let in, nor do certificates where a secret is wanted.
    let plain = LinkOptions::new(Security::load(&PeerSecurity::default()).unwrap(), 1 << 20);
    let text = refused_by(options.clone(), |_| (), plain.clone()).await;
    assert!(text.contains("it is TLS here"), "{text}");
    let text = refused_by(plain, |_| (), options).await;
    assert!(text.starts_with("TLS: ") && text.contains("on both nodes"), "{text}");
}

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificates(folder.path());
    let wrong = [
        TlsFiles { ca: folder.path().join("missing.pem"), ..files.clone() },
        TlsFiles { certificate: files.key.clone(), ..files.clone() },
        TlsFiles { key: files.ca.clone(), ..files },
    ];
    for (files, name) in wrong.into_iter().zip(["missing.pem", "node.key", "ca.pem"]) {
        let problem =
            Security::load(&PeerSecurity { secret: None, tls: Some(files) }).unwrap_err().to_string();
        assert!(problem.contains(name), "{problem}");
    }
}

/// Both ends on one thread: what is measured is what both take together.
#[tokio::test]
async fn a_link_carries_much() {
    let (one, mut two) = pair(&secret("a secret")).await;
    for (what, bytes, times) in [("small messages", 1024, 200_000_u64), ("batches", 64 * 1024, 10_000)] {
        let begun = Instant::now();
        let body = Bytes::from(vec![7; bytes]);
        for number in 0..times {
            while one.links.outbox_bytes(2) > 8 << 20 {
                sleep(Duration::from_millis(1)).await;
            }
            one.links.send(2, PeerMessage::Ask(number, body.clone()));
        }
        for number in 0..times {
            assert_eq!(two.hears().await, Heard::Message(1, number, bytes));
        }
        let (taken, kilobytes) = (begun.elapsed(), times * bytes as u64 / 1024);
        println!(
            "{kilobytes} KiB in {what}: {taken:?}, {} ns per KiB",
            taken.as_nanos() / u128::from(kilobytes)
        );
        assert!(taken < Duration::from_secs(20), "{taken:?}");
    }
}
