//! The planner at work on a model of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const OPTIONS: PlanOptions = PlanOptions { replicas: 3, moves_per_second: 2, changes_max: 4 };
const ROUND_MS: u64 = 500;

/// A cluster in which members catch up after some rounds and what is asked for is done at once.
struct Model {
    planner: Planner,
    now_ms: u64,
    nodes: BTreeMap<NodeId, NodeView>,
    next_node: NodeId,
    groups: Vec<Group>,
    moves: Vec<(u64, GroupId)>,
}

#[derive(Clone)]
struct Group {
    leader: NodeId,
    members: Members,
    /// Rounds until a learner has all.
    behind: BTreeMap<NodeId, u32>,
}

impl Model {
    /// One node that founds a cluster with so many groups beside the meta group.
    fn founded(groups: usize) -> Self {
        let founder = Members { voters: BTreeSet::from([1]), learners: BTreeSet::new() };
        let group = Group { leader: 1, members: founder, behind: BTreeMap::new() };
        let mut model = Self {
            planner: Planner::new(OPTIONS),
            now_ms: 0,
            nodes: BTreeMap::new(),
            next_node: 1,
            groups: vec![group; groups + 1],
            moves: Vec::new(),
        };
        model.join(1);
        model
    }

    fn of(nodes: NodeId, groups: usize) -> Self {
        let mut model = Self::founded(groups);
        (2..=nodes).for_each(|node| model.join(node));
        model.settle();
        model
    }

    fn join(&mut self, node: NodeId) {
        self.nodes.insert(node, NodeView { is_up: true, wish: Wish::Share });
        self.next_node = self.next_node.max(node + 1);
    }

    fn wish(&mut self, node: NodeId, wish: Wish) {
        self.nodes.get_mut(&node).unwrap().wish = wish;
    }

    fn set_up(&mut self, node: NodeId, is_up: bool) {
        self.nodes.get_mut(&node).unwrap().is_up = is_up;
    }

    fn view(&self) -> View {
        let groups = (0..).zip(&self.groups).map(|(number, group)| self.status(number, group));
        let next_node = self.next_node;
        View { nodes: self.nodes.clone(), next_node, groups: groups.collect() }
    }

    fn status(&self, number: GroupId, group: &Group) -> GroupStatus {
        if group.leader == 0 {
            return GroupStatus { group: number, ..GroupStatus::default() };
        }
        let member = |node: &NodeId, is_voter: bool| Member {
            node: *node,
            is_voter,
            is_in_sync: self.is_up(*node) && !group.behind.contains_key(node),
            ..Member::default()
        };
        let voters = group.members.voters.iter().map(|node| member(node, true));
        let members = voters.chain(group.members.learners.iter().map(|node| member(node, false))).collect();
        GroupStatus {
            group: number,
            leader: group.leader,
            members,
            members_version: 1,
            ..GroupStatus::default()
        }
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.is_up)
    }

    /// One look of the planner, and what it asks for done, but for what `is_lost`.
    fn round(&mut self, mut is_lost: impl FnMut() -> bool) -> usize {
        self.now_ms += ROUND_MS;
        self.elect();
        let view = self.view();
        let actions = self.planner.plan(self.now_ms, &view);
        for action in &actions {
            self.check(action, &view);
            if !is_lost() {
                self.carry_out(action);
            }
        }
        for group in &mut self.groups {
            group.behind.retain(|_, rounds| {
                *rounds -= 1;
                *rounds > 0
            });
        }
        actions.len()
    }

    fn elect(&mut self) {
        let nodes = self.nodes.clone();
        let is_up = |node: &NodeId| nodes.get(node).is_some_and(|node| node.is_up);
        for group in &mut self.groups {
            let mut up = group.members.voters.iter().copied().filter(is_up);
            if up.clone().count() <= group.members.voters.len() / 2 {
                group.leader = 0;
            } else if group.leader == 0
                || !is_up(&group.leader)
                || !group.members.voters.contains(&group.leader)
            {
                group.leader = up.next().unwrap();
            }
        }
    }

    /// Whatever is asked for may be done at once without losing anything.
    fn check(&self, action: &Action, view: &View) {
        match action {
            Action::SetMembers { group, leader, change: MembersChange { voters, learners, leaving, .. } } => {
                let status = &view.groups[usize::from(*group)];
                assert_eq!(*leader, status.leader);
                assert!(voters.contains(leader), "{action:?}");
                assert!(learners.iter().all(|node| !voters.contains(node)), "{action:?}");
                let was = &self.groups[usize::from(*group)];
                for node in voters.iter().filter(|node| !was.members.voters.contains(node)) {
                    assert!(was.members.learners.contains(node), "{node} never was a learner: {action:?}");
                    assert!(!was.behind.contains_key(node), "{node} is behind: {action:?}");
                }
                let named = |node: &&NodeId| voters.contains(node) || leaving.contains(node);
                assert!(
                    was.members.voters.iter().all(|node| named(&node)),
                    "{action:?} drops a voter unnamed"
                );
                let kept = voters.iter().filter(|node| was.members.voters.contains(node)).count();
                assert!(kept > 0, "{action:?}");
                if *voters != was.members.voters.iter().copied().collect::<Vec<_>>() {
                    let able =
                        voters.iter().filter(|n| self.is_up(**n) && !was.behind.contains_key(n)).count();
                    assert!(able > voters.len() / 2, "{action:?} leaves a minority");
                }
            }
            Action::Transfer { group, from, to } => {
                let was = &self.groups[usize::from(*group)];
                assert_eq!(was.leader, *from);
                assert!(was.members.voters.contains(to) && self.is_up(*to), "{action:?}");
                assert_ne!(self.nodes[to].wish, Wish::Leave);
            }
            Action::Remove(node) => {
                assert_eq!(self.nodes[node].wish, Wish::Leave);
                assert!(self.groups.iter().all(|group| !group.members.voters.contains(node)));
            }
        }
    }

    fn carry_out(&mut self, action: &Action) {
        match action {
            Action::SetMembers { group, change: MembersChange { voters, learners, .. }, .. } => {
                let group = &mut self.groups[usize::from(*group)];
                let fresh = learners.iter().filter(|node| !group.members.learners.contains(node));
                group.behind.extend(fresh.map(|node| (*node, 3)));
                group.members.voters = voters.iter().copied().collect();
                group.members.learners = learners.iter().copied().collect();
            }
            Action::Transfer { group, to, .. } => {
                self.moves.push((self.now_ms, *group));
                self.groups[usize::from(*group)].leader = *to;
            }
            Action::Remove(node) => {
                self.nodes.remove(node);
            }
        }
    }

    /// Runs until there is nothing more to do.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..4000 {
            quiet = if self.round(|| false) == 0 { quiet + 1 } else { 0 };
            if quiet > 40 {
                return;
            }
        }
        panic!("the planner never comes to rest");
    }

    fn voters(&self, group: GroupId) -> Vec<NodeId> {
        self.groups[usize::from(group)].members.voters.iter().copied().collect()
    }

    fn copies(&self, node: NodeId) -> usize {
        self.groups[1..].iter().filter(|group| group.members.voters.contains(&node)).count()
    }

    fn leads(&self, node: NodeId) -> usize {
        self.groups.iter().filter(|group| group.leader == node).count()
    }

    fn assert_at_rest(&self) {
        let staying = self.nodes.len();
        for group in &self.groups[1..] {
            assert_eq!(group.members.voters.len(), staying.min(OPTIONS.replicas));
            assert!(group.members.learners.is_empty());
            assert!(group.members.voters.iter().all(|node| self.nodes.contains_key(node)));
        }
        let meta = &self.groups[0].members;
        assert_eq!(meta.voters.len(), staying.min(META_VOTERS_MAX));
        assert_eq!(meta.voters.len() + meta.learners.len(), staying);
        let copies: Vec<_> = self.nodes.keys().map(|node| self.copies(*node)).collect();
        assert!(copies.iter().max().unwrap() - copies.iter().min().unwrap() <= 1, "{copies:?}");
        for group in &self.groups {
            for node in &group.members.voters {
                assert!(self.leads(group.leader) <= self.leads(*node) + 1);
            }
        }
    }
}

#[test]
fn a_node_alone_has_nothing_to_do() {
    let mut model = Model::founded(16);
    assert_eq!(model.round(|| false), 0);
}

#[test]
fn growing_from_one_to_three_gives_every_group_three_members_and_every_node_its_share_of_leads() {
    let model = Model::of(3, 16);
    model.assert_at_rest();
    assert!((1..=16).all(|group| model.voters(group) == [1, 2, 3]));
}

#[test]
fn newcomers_are_learners_first() {
    let mut model = Model::founded(1);
    model.join(2);
    model.round(|| false);
    assert_eq!(model.voters(1), [1]);
    assert_eq!(model.groups[1].members.learners, BTreeSet::from([2]));
    model.settle();
    assert_eq!(model.voters(1), [1, 2]);
}

#[test]
fn only_so_many_groups_change_at_once() {
    let mut model = Model::founded(16);
    model.join(2);
    for _ in 0..20 {
        model.round(|| false);
        let changing = model.groups[1..].iter().filter(|group| !group.members.learners.is_empty()).count();
        assert!(changing <= OPTIONS.changes_max, "{changing}");
    }
}

#[test]
fn a_node_that_is_down_keeps_its_copies() {
    let mut model = Model::of(4, 16);
    let before: Vec<_> = (1..=16).map(|group| model.voters(group)).collect();
    model.set_up(4, false);
    model.settle();
    assert_eq!(before, (1..=16).map(|group| model.voters(group)).collect::<Vec<_>>());
    assert_eq!(model.leads(4), 0);
    model.set_up(4, true);
    model.settle();
    model.assert_at_rest();
    assert!(model.leads(4) > 0, "it takes its share of leads again");
}

#[test]
fn copies_of_a_forgotten_node_are_made_elsewhere() {
    let mut model = Model::of(4, 16);
    model.nodes.remove(&2);
    model.settle();
    model.assert_at_rest();
    assert!((1..=16).all(|group| model.voters(group) == [1, 3, 4]));
}

#[test]
fn a_forgotten_node_that_nobody_replaces_leaves_two() {
    let mut model = Model::of(3, 16);
    model.nodes.remove(&1);
    model.settle();
    assert!((0..=16).all(|group| model.voters(group) == [2, 3]));
}

#[test]
fn a_node_with_an_empty_disk_takes_the_place_of_the_one_it_was() {
    let mut model = Model::of(3, 16);
    model.set_up(3, false);
    model.settle();
    model.nodes.remove(&3);
    model.join(4);
    model.settle();
    model.assert_at_rest();
    assert!((0..=16).all(|group| model.voters(group) == [1, 2, 4]));
}

#[test]
fn a_node_leaves_when_it_holds_nothing_any_more() {
    let mut model = Model::of(4, 16);
    model.wish(1, Wish::Leave);
    model.settle();
    assert!(!model.nodes.contains_key(&1));
    model.assert_at_rest();
    assert!((0..=16).all(|group| model.voters(group) == [2, 3, 4]));
}

#[test]
fn nobody_leaves_when_the_others_are_no_majority() {
    let mut model = Model::of(3, 4);
    model.set_up(2, false);
    model.wish(3, Wish::Leave);
    model.settle();
    assert!(model.nodes.contains_key(&3));
    assert!((1..=4).all(|group| model.voters(group) == [1, 2, 3]));
}

#[test]
fn a_node_that_drains_leads_nothing_soon_and_gets_nothing_back() {
    let mut model = Model::of(3, 16);
    model.wish(2, Wish::Drain);
    model.round(|| false);
    assert_eq!(model.leads(2), 0);
    model.settle();
    assert_eq!(model.leads(2), 0);
    model.wish(2, Wish::Share);
    model.settle();
    model.assert_at_rest();
}

#[test]
fn leads_are_balanced_a_few_each_second() {
    let mut model = Model::of(3, 16);
    model.wish(3, Wish::Drain);
    model.settle();
    model.wish(3, Wish::Share);
    let began_ms = model.now_ms;
    model.settle();
    let moves: Vec<u64> = model.moves.iter().map(|(at, _)| *at).filter(|at| *at > began_ms).collect();
    assert!((5..=6).contains(&moves.len()), "{moves:?}");
    for start in &moves {
        let in_second = moves.iter().filter(|at| (*start..start + 1000).contains(at)).count();
        assert!(in_second <= 2 + 1, "{moves:?}");
    }
}

#[test]
fn a_rebalance_moves_all_at_once() {
    let mut model = Model::of(3, 16);
    model.wish(3, Wish::Drain);
    model.settle();
    model.wish(3, Wish::Share);
    model.planner.rebalance();
    model.round(|| false);
    model.assert_at_rest();
}

#[test]
fn leads_only_go_to_members_in_sync() {
    let mut model = Model::of(3, 16);
    for group in &mut model.groups {
        group.leader = 1;
        group.behind.insert(2, 1000);
        group.behind.insert(3, 1000);
    }
    for _ in 0..100 {
        assert_eq!(model.round(|| false), 0);
    }
}

#[test]
fn a_fourth_node_takes_over_copies_one_group_after_the_other() {
    let mut model = Model::of(3, 16);
    model.join(4);
    for _ in 0..2000 {
        model.round(|| false);
        let changing = model.groups[1..].iter().filter(|group| !group.members.learners.is_empty()).count();
        assert!(changing <= 1);
    }
    model.assert_at_rest();
    assert_eq!(model.copies(4), 12);
}

/// What may happen to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Join,
    Down(usize),
    Up(usize),
    Forget(usize),
    Leave(usize),
    Drain(usize),
    Rounds(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Join),
        3 => any::<usize>().prop_map(Event::Down),
        3 => any::<usize>().prop_map(Event::Up),
        1 => any::<usize>().prop_map(Event::Forget),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::Drain),
        8 => (1u8..20).prop_map(Event::Rounds),
    ]
}

proptest! {

    /// Whatever happens, no step leaves a group without a majority, and the cluster comes to rest when all nodes are there.
    #[test]
    fn every_step_is_safe_and_all_is_well_in_the_end(
        events in proptest::collection::vec(event(), 1..40),
        lost in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let mut model = Model::founded(7);
        let mut next = 2;
        let mut lost = lost.into_iter().cycle();
        for event in events {
            let nodes: Vec<NodeId> = model.nodes.keys().copied().collect();
            let pick = |place: usize| nodes[place % nodes.len()];
            match event {
                Event::Join if nodes.len() < 8 => {
                    model.join(next);
                    next += 1;
                }
                Event::Down(place) => model.set_up(pick(place), false),
                Event::Up(place) => model.set_up(pick(place), true),
                // Who is forgotten is down, and a majority of every group is there without it.
                Event::Forget(place) if can_be_forgotten(&model, pick(place)) => {
                    model.nodes.remove(&pick(place));
                }
                Event::Leave(place) if nodes.iter().filter(|n| model.nodes[n].wish != Wish::Leave).count() > 1 => {
                    model.wish(pick(place), Wish::Leave);
                }
                Event::Drain(place) if model.nodes[&pick(place)].wish == Wish::Share => {
                    model.wish(pick(place), Wish::Drain);
                }
                Event::Rounds(rounds) => {
                    for _ in 0..rounds {
                        model.round(|| lost.next().unwrap());
                    }
                }
                _ => {}
            }
        }
        for node in model.nodes.values_mut() {
            node.is_up = true;
            if node.wish == Wish::Drain {
                node.wish = Wish::Share;
            }
        }
        model.settle();
        model.assert_at_rest();
    }
}

fn can_be_forgotten(model: &Model, node: NodeId) -> bool {
    let is_fine = |group: &Group| {
        let voters = &group.members.voters;
        let others = voters.iter().filter(|n| **n != node && model.nodes.contains_key(n)).count();
        others > voters.len() / 2
    };
    // Where all others are to leave, nobody could take over what they have.
    let somebody_stays = model.nodes.iter().any(|(other, view)| *other != node && view.wish != Wish::Leave);
    !model.nodes[&node].is_up && somebody_stays && model.groups.iter().all(is_fine)
}

#[test]
fn who_is_merely_not_known_here_is_neither_dropped_nor_demoted() {
    let mut model = Model::of(4, 8);
    let before: Vec<_> = (0..=8).map(|group| model.voters(group)).collect();
    // A leader of the meta group that has not heard yet of who joined last.
    model.nodes.remove(&4);
    model.next_node = 4;
    model.settle();
    assert_eq!(before, (0..=8).map(|group| model.voters(group)).collect::<Vec<_>>());
    // It was taken out.
    model.next_node = 5;
    model.settle();
    assert!((0..=8).all(|group| !model.voters(group).contains(&4)));
}

#[test]
fn a_voter_makes_room_only_when_all_that_stay_have_everything() {
    for behind in 1..=4 {
        let mut model = Model::of(4, 1);
        model.groups[1].members.voters = BTreeSet::from([1, 2, 3, 4]);
        model.groups[1].behind.insert(behind, 20);
        for _ in 0..10 {
            model.round(|| false);
            let voters = model.voters(1);
            assert!(voters.len() == 4 || !voters.contains(&behind), "{behind} is behind: {voters:?}");
        }
        model.settle();
        assert_eq!(model.voters(1).len(), 3);
    }
}

#[test]
fn nothing_is_planned_from_the_middle_of_a_change() {
    let mut model = Model::of(3, 2);
    model.join(4);
    model.join(5);
    let mut view = model.view();
    view.groups.iter_mut().for_each(|group| group.members_version = 0);
    let actions = model.planner.plan(1_000_000, &view);
    assert!(actions.iter().all(|action| !matches!(action, Action::SetMembers { .. })), "{actions:?}");
}
