//! Managers of several nodes at work, on a cluster that does at once what it is told.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use super::answering::Asker;
use super::*;
use crate::broker::ids::{ConnectionId, GroupId, Run};
use crate::node::cluster::inputs::GroupStatus;
use crate::node::cluster::membership::KnownMember;
use crate::node::cluster::questions::{Answer, Joined, Newcomer, Question, Standing};
use crate::node::cluster::status::{Member, QueueOverview};
use crate::node::statistics::gather::Ask;
use crate::replication::MembersChange;

const GROUPS: u16 = 8;

type Asked = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send>>;

/// What all nodes share.
#[derive(Default)]
struct Fake {
    members: KnownNodes,
    down: BTreeSet<NodeId>,
    unlinked: BTreeSet<NodeId>,
    expelled: BTreeSet<NodeId>,
    told_to_leave: BTreeSet<NodeId>,
    own_queues: u64,
    groups: Vec<(NodeId, BTreeSet<NodeId>, BTreeSet<NodeId>)>,
    managers: BTreeMap<NodeId, Weak<Manager<FakeWorld>>>,
    next: NodeId,
}

struct FakeWorld {
    node: NodeId,
    fake: Arc<Mutex<Fake>>,
}

impl FakeWorld {
    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().unwrap()
    }
}

impl World for FakeWorld {
    fn members(&self) -> KnownNodes {
        self.fake().members.clone()
    }

    fn next_node(&self) -> NodeId {
        self.fake().next + 1
    }

    fn last_run(&self, _: NodeId) -> Run {
        1
    }

    fn is_linked(&self, node: NodeId) -> bool {
        let fake = self.fake();
        fake.members.contains_key(&node) && !fake.down.contains(&node) && !fake.unlinked.contains(&node)
    }

    fn link(&self, _: &KnownNodes) {}

    fn remember(&self, _: Vec<KnownMember>) {}

    fn own_queues(&self) -> u64 {
        self.fake().own_queues
    }

    fn replicated_queues(&self) -> Vec<QueueOverview> {
        vec![QueueOverview { vhost: "/".to_owned(), name: "q".to_owned(), group: 1 }]
    }

    async fn groups(&self) -> Vec<GroupStatus> {
        let fake = self.fake();
        let status = |(group, (leader, voters, learners)): (GroupId, &(NodeId, BTreeSet<_>, BTreeSet<_>))| {
            let member = |node: &NodeId, is_voter| Member {
                node: *node,
                is_voter,
                is_in_sync: !fake.down.contains(node),
                ..Member::default()
            };
            let all = voters.iter().map(|node| member(node, true));
            let all = all.chain(learners.iter().map(|node| member(node, false)));
            let seen = all.filter(|member| *leader == self.node || member.node == self.node);
            GroupStatus {
                group,
                leader: *leader,
                members: seen.collect(),
                members_version: 1,
                ..GroupStatus::default()
            }
        };
        (0..).zip(&fake.groups).map(status).collect()
    }

    async fn statistics(&self, _ask: Ask) -> Answer {
        Answer::no("nothing is counted here")
    }

    fn close_connection(&self, _id: ConnectionId, _reason: &str) -> Answer {
        Answer::no("there are no connections here")
    }

    async fn set_members(&self, group: GroupId, change: MembersChange) -> bool {
        let mut fake = self.fake();
        let group = &mut fake.groups[usize::from(group)];
        if group.0 != self.node {
            return false;
        }
        assert!(group.1.iter().all(|node| change.voters.contains(node) || change.leaving.contains(node)));
        (group.1, group.2) = (change.voters.into_iter().collect(), change.learners.into_iter().collect());
        true
    }

    fn transfer(&self, group: GroupId, to: NodeId) {
        let mut fake = self.fake();
        let group = &mut fake.groups[usize::from(group)];
        if group.0 == self.node && group.1.contains(&to) {
            group.0 = to;
        }
    }

    #[expect(refining_impl_trait, reason = "managers ask managers: one of the types needs a name")]
    fn ask(&self, node: NodeId, question: &Question) -> Asked {
        let (is_linked, manager) = {
            let mut fake = self.fake();
            if *question == Question::YouLeft {
                fake.told_to_leave.insert(node);
            }
            (!fake.down.contains(&node), fake.managers.get(&node).and_then(Weak::upgrade))
        };
        let question = question.clone();
        Box::pin(async move {
            match manager.filter(|_| is_linked) {
                Some(manager) => Ok(manager.answer(Asker::Node, question).await),
                None => Err("no link".to_owned()),
            }
        })
    }

    #[expect(refining_impl_trait, reason = "managers ask managers: one of the types needs a name")]
    fn tell(&self, address: &str, question: &Question) -> Asked {
        let node: Option<NodeId> =
            address.strip_prefix("node").and_then(|rest| rest.split(':').next()?.parse().ok());
        let manager = {
            let fake = self.fake();
            let is_up = |node: &NodeId| !fake.down.contains(node);
            node.filter(is_up).and_then(|node| fake.managers.get(&node).and_then(Weak::upgrade))
        };
        let (question, address) = (question.clone(), address.to_owned());
        Box::pin(async move {
            match manager {
                Some(manager) => Ok(manager.answer(Asker::Outside, question).await),
                None => Err(format!("{address} is not there")),
            }
        })
    }

    async fn add_member(&self, newcomer: &Newcomer, replaces: Option<NodeId>) -> Result<NodeId, String> {
        let mut fake = self.fake();
        if let Some(replaced) = replaces {
            fake.members.remove(&replaced);
        }
        fake.next += 1;
        let node = fake.next;
        let known = KnownNode {
            name: newcomer.name.clone(),
            peer_address: newcomer.peer_address.clone(),
            client_address: newcomer.client_address.clone(),
            is_leaving: false,
        };
        fake.members.insert(node, known);
        Ok(node)
    }

    async fn set_member(&self, node: NodeId, known: KnownNode) -> Result<(), String> {
        self.fake().members.insert(node, known);
        Ok(())
    }

    async fn remove_member(&self, node: NodeId) -> Result<(), String> {
        self.fake().members.remove(&node);
        Ok(())
    }

    async fn expelled(&self) {
        self.fake().expelled.insert(self.node);
    }

    async fn leave(&self) {}
}

/// A cluster that node 1 has founded.
struct Cluster {
    fake: Arc<Mutex<Fake>>,
    managers: Vec<Arc<Manager<FakeWorld>>>,
}

impl Cluster {
    fn founded() -> Self {
        let groups = vec![(1, BTreeSet::from([1]), BTreeSet::new()); usize::from(GROUPS) + 1];
        let fake = Arc::new(Mutex::new(Fake { groups, ..Fake::default() }));
        let mut cluster = Self { fake, managers: Vec::new() };
        let founder = KnownNode {
            name: "node1".to_owned(),
            peer_address: "node1:35672".to_owned(),
            client_address: "node1:5672".to_owned(),
            is_leaving: false,
        };
        cluster.fake().members.insert(1, founder);
        cluster.fake().next = 1;
        cluster.start(1);
        cluster
    }

    /// So many nodes, with all groups where they belong.
    async fn of(nodes: NodeId) -> Self {
        let mut cluster = Self::founded();
        for node in 2..=nodes {
            assert_eq!(cluster.join(&format!("node{node}"), u64::from(node)).await.unwrap().node, node);
            cluster.start(node);
        }
        cluster.settle().await;
        cluster
    }

    fn start(&mut self, node: NodeId) {
        let own = Membership {
            cluster: "aa".to_owned(),
            node,
            name: format!("node{node}"),
            run: 1,
            groups: GROUPS,
            is_founder: node == 1,
            has_left: false,
            has_log: true,
            members: Vec::new(),
        };
        let options = ManagerOptions {
            plan: PlanOptions { replicas: 3, moves_per_second: 2, changes_max: 4 },
            peer_address: format!("node{node}:35672"),
            client_address: format!("node{node}:5672"),
            drain: Duration::from_secs(5),
        };
        let manager = Manager::new(FakeWorld { node, fake: Arc::clone(&self.fake) }, own, options);
        let manager = Arc::new(manager);
        self.fake().managers.insert(node, Arc::downgrade(&manager));
        self.managers.push(Arc::clone(&manager));
        #[expect(clippy::disallowed_methods, reason = "a task of a test")]
        tokio::spawn(manager.run());
    }

    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().unwrap()
    }

    /// Time passes; with a paused clock it takes none.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }

    async fn ask(&self, node: NodeId, question: Question) -> Answer {
        self.managers[usize::from(node) - 1].answer(Asker::Outside, question).await
    }

    async fn join(&self, name: &str, token: u64) -> Result<Joined, String> {
        let newcomer = Newcomer {
            name: name.to_owned(),
            peer_address: format!("{name}:35672"),
            client_address: format!("{name}:5672"),
            token,
        };
        match self.ask(1, Question::Join(newcomer)).await.granted() {
            Ok(Answer::Joined(joined)) => Ok(joined),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused.reason),
        }
    }

    async fn order(&self, node: NodeId, question: Question) -> Result<String, String> {
        match self.ask(node, question).await.granted() {
            Ok(Answer::Done(text)) => Ok(text),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused.reason),
        }
    }

    fn leads(&self, node: NodeId) -> usize {
        self.fake().groups.iter().filter(|(leader, ..)| *leader == node).count()
    }

    fn copies(&self, node: NodeId) -> usize {
        self.fake().groups.iter().filter(|(_, voters, _)| voters.contains(&node)).count()
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_join_get_copies_and_leads_by_themselves() {
    let cluster = Cluster::of(3).await;
    for node in 1..=3 {
        assert_eq!((cluster.copies(node), cluster.leads(node)), (9, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_asks_twice_is_one_node() {
    let cluster = Cluster::founded();
    let first = cluster.join("node2", 7).await.unwrap();
    let again = cluster.join("node2", 7).await.unwrap();
    assert_eq!((first.node, again.node, again.groups), (2, 2, GROUPS));
    assert_eq!(
        again.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(),
        ["node1", "node2"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_or_an_address_that_is_taken_is_refused() {
    let cluster = Cluster::of(2).await;
    let refused = async |name: &str, peer_address: &str| {
        let (name, peer_address) = (name.to_owned(), peer_address.to_owned());
        let newcomer = Newcomer { name, peer_address, client_address: String::new(), token: 8 };
        cluster.ask(1, Question::Join(newcomer)).await.granted().unwrap_err()
    };
    let answer = refused("node2", "node9:35672").await;
    assert_eq!(
        answer.reason,
        "the name \"node2\" is that of node 2 at node2:35672, which is up; choose another cluster.name"
    );
    assert!(!answer.for_now);
    // The same one, with an empty disk, before anybody noticed that it was gone.
    assert!(refused("node2", "node2:35672").await.for_now);
    let newcomer = Newcomer {
        name: "other".to_owned(),
        peer_address: "node2:35672".to_owned(),
        client_address: String::new(),
        token: 9,
    };
    let answer = cluster.ask(1, Question::Join(newcomer)).await;
    let Answer::Refused(refused) = answer else { panic!("{answer:?}") };
    assert!(
        refused.reason.starts_with("its address node2:35672 is that of node 2 (node2)"),
        "{}",
        refused.reason
    );
    assert!(!refused.for_now);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_an_empty_disk_takes_the_place_of_itself() {
    let mut cluster = Cluster::of(3).await;
    cluster.fake().down.insert(3);
    for group in &mut cluster.fake().groups {
        group.0 = 1;
    }
    let joined = cluster.join("node3", 99).await.unwrap();
    assert_eq!(joined.node, 4);
    cluster.start(4);
    cluster.settle().await;
    assert_eq!(cluster.fake().members.keys().copied().collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!((cluster.copies(3), cluster.copies(4)), (0, 9));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_reached_elsewhere_says_so() {
    let cluster = Cluster::of(2).await;
    cluster.fake().members.get_mut(&2).unwrap().peer_address = "an.earlier.one:35672".to_owned();
    cluster.settle().await;
    assert_eq!(cluster.fake().members[&2].peer_address, "node2:35672");
}

#[tokio::test(start_paused = true)]
async fn any_node_takes_a_newcomer_in() {
    let cluster = Cluster::of(2).await;
    cluster.fake().groups[0].0 = 2;
    assert_eq!(cluster.join("node3", 3).await.unwrap().node, 3);
    cluster.fake().groups[0].0 = 0;
    let problem = cluster.join("node4", 4).await.unwrap_err();
    assert_eq!(problem, "the cluster has no leader: a majority of its nodes must be up");
}

#[tokio::test(start_paused = true)]
async fn a_node_leaves_when_others_have_all_it_had() {
    let cluster = Cluster::of(3).await;
    let said = cluster.order(2, Question::Leave { node: "node1".to_owned(), force: false }).await.unwrap();
    assert_eq!(said, "node 1 (node1) leaves the cluster when all it has is elsewhere");
    cluster.settle().await;
    assert_eq!((cluster.copies(1), cluster.leads(1)), (0, 0));
    assert_eq!(cluster.fake().members.keys().copied().collect::<Vec<_>>(), [2, 3]);
    assert_eq!(cluster.fake().told_to_leave, BTreeSet::from([1]));
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_would_lose_something_is_refused() {
    let cluster = Cluster::of(2).await;
    let leave = |node: &str, force| Question::Leave { node: node.to_owned(), force };
    cluster.fake().own_queues = 3;
    let problem = cluster.order(1, leave("2", false)).await.unwrap_err();
    assert!(
        problem.starts_with("node 2 (node2) has 3 queues of which no other node has a copy"),
        "{problem}"
    );
    let problem = cluster.order(1, leave("nobody", false)).await.unwrap_err();
    assert_eq!(problem, "no node of the cluster has the name or number \"nobody\"; there are node1, node2");
    cluster.order(1, leave("2", true)).await.unwrap();
    cluster.settle().await;
    let problem = cluster.order(1, leave("1", true)).await.unwrap_err();
    assert!(problem.starts_with("node 1 (node1) is the last node of the cluster"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn only_a_dead_node_is_forgotten() {
    let cluster = Cluster::of(4).await;
    let forget = Question::Forget { node: "node4".to_owned() };
    let problem = cluster.order(1, forget.clone()).await.unwrap_err();
    assert_eq!(problem, "node 4 (node4) is up; to take it out: warren cluster leave node4");
    cluster.fake().down.insert(4);
    for group in &mut cluster.fake().groups {
        group.0 = if group.0 == 4 { *group.1.first().unwrap() } else { group.0 };
    }
    cluster.order(1, forget).await.unwrap();
    cluster.settle().await;
    assert_eq!(cluster.copies(4), 0);
    assert!((1..=3).all(|node| cluster.copies(node) == 9));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_leads_nothing_until_it_shares_again() {
    let cluster = Cluster::of(3).await;
    let drain = |on| Question::Drain { node: Some("node2".to_owned()), on };
    let said = cluster.order(1, drain(true)).await.unwrap();
    assert!(said.starts_with("node2 leads nothing now"), "{said}");
    assert_eq!(cluster.leads(2), 0);
    cluster.settle().await;
    assert_eq!((cluster.leads(2), cluster.copies(2)), (0, 9));
    cluster.order(1, drain(false)).await.unwrap();
    cluster.settle().await;
    assert_eq!(cluster.leads(2), 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_nobody_to_take_over_ends_at_once() {
    let cluster = Cluster::founded();
    let before = tokio::time::Instant::now();
    let said = cluster.order(1, Question::Drain { node: None, on: true }).await.unwrap();
    assert!(said.starts_with("node1 still leads 9 groups"), "{said}");
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lead_is_handed_over_to_the_member_that_is_named() {
    let cluster = Cluster::of(3).await;
    let transfer = |node: &str| Question::Transfer { group: 5, node: node.to_owned() };
    let leader = cluster.fake().groups[5].0;
    let other = leader % 3 + 1;
    let said = cluster.order(1, transfer(&format!("node{other}"))).await.unwrap();
    assert_eq!(said, format!("group 5 is handed over to node {other} (node{other})"));
    assert_eq!(cluster.fake().groups[5].0, other);
    cluster.fake().down.insert(leader);
    let problem = cluster.order(other, transfer(&leader.to_string())).await.unwrap_err();
    assert_eq!(problem, format!("node {leader} (node{leader}) is not in sync with group 5"));
    let problem =
        cluster.order(other, Question::Transfer { group: 99, node: "1".to_owned() }).await.unwrap_err();
    assert_eq!(problem, "there is no group 99; groups are 0 to 8");
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_how_every_node_and_group_stands() {
    let cluster = Cluster::of(3).await;
    cluster.fake().down.insert(3);
    for group in &mut cluster.fake().groups {
        group.0 = 1 + group.0 % 2;
    }
    let Answer::Status(status) = cluster.ask(2, Question::Status { queues: true }).await else { panic!() };
    let up: Vec<_> = status.nodes.iter().map(|node| (node.node, node.is_up, node.copies)).collect();
    assert_eq!(up, [(1, true, 9), (2, true, 9), (3, false, 9)]);
    assert_eq!(status.nodes.iter().map(|node| node.leads).sum::<u64>(), 9);
    assert_eq!((status.asked, status.groups.len(), status.queues.len()), (2, 9, 1));
    assert!(status.groups.iter().all(|group| group.in_sync().eq([1, 2])));
    assert_eq!(status.nodes[0].version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_forgotten_hears_of_it_when_it_comes_back() {
    let cluster = Cluster::of(3).await;
    let old = KnownNodes::clone(&cluster.fake().members);
    cluster.fake().down.insert(3);
    cluster.order(1, Question::Forget { node: "node3".to_owned() }).await.unwrap();
    // It knows what it knew when it went away.
    let back = Arc::new(Mutex::new(Fake {
        members: old,
        down: BTreeSet::from([1, 2]),
        managers: cluster.fake().managers.clone(),
        next: 3,
        ..Fake::default()
    }));
    let own = cluster.managers[2].own.clone();
    let options = cluster.managers[2].options.clone();
    let manager = Arc::new(Manager::new(FakeWorld { node: 3, fake: Arc::clone(&back) }, own, options));
    assert!(!manager.hears_that_it_is_gone().await, "nobody can be asked");
    back.lock().unwrap().down = BTreeSet::from([1]);
    // There is a link: it is a member.
    assert!(!manager.hears_that_it_is_gone().await);
    back.lock().unwrap().unlinked = BTreeSet::from([2]);
    Arc::clone(&manager).ask_whether_member().await;
    assert!(back.lock().unwrap().expelled.contains(&3));
    // Of a number that was never given nobody can say that it is gone.
    let asked = async |cluster_name: &str, node, run| {
        cluster.ask(1, Question::IsMember { cluster: cluster_name.to_owned(), node, run }).await
    };
    assert_eq!(asked("aa", 3, 1).await, Answer::Standing(Standing::Gone));
    assert_eq!(asked("aa", 4, 1).await, Answer::Standing(Standing::Member));
    assert_eq!(asked("aa", 2, 1).await, Answer::Standing(Standing::Member));
    assert_eq!(asked("aa", 2, 0).await, Answer::Standing(Standing::Older));
    assert!(matches!(asked("bb", 3, 1).await, Answer::Refused(_)));
}
