//! A gateway whose owner goes away at every moment.

mod absent;
mod ending;
mod seeking;
mod single;
pub(in crate::node::tasks) mod world;

use proptest::prelude::*;

use world::{World, is_refused};

#[derive(Clone, Debug)]
enum Step {
    Publish(u64),
    Consume,
    CancelOldest,
    Ack,
    Stat,
    Round,
    Arrive,
    Commit,
    Answer,
    Hear(bool),
    Deliver,
    Elect(u16, usize),
    Announce,
    Cut(u16),
    Mend(u16),
    Later,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..5).prop_map(Step::Publish),
        1 => Just(Step::Consume),
        1 => Just(Step::CancelOldest),
        2 => Just(Step::Ack),
        1 => Just(Step::Stat),
        6 => Just(Step::Round),
        6 => Just(Step::Arrive),
        4 => Just(Step::Commit),
        5 => Just(Step::Answer),
        5 => any::<bool>().prop_map(Step::Hear),
        2 => Just(Step::Deliver),
        2 => (1u16..4, 0usize..3).prop_map(|(node, surviving)| Step::Elect(node, surviving)),
        3 => Just(Step::Announce),
        1 => (2u16..4).prop_map(Step::Cut),
        2 => (2u16..4).prop_map(Step::Mend),
        2 => Just(Step::Later),
    ]
}

fn take(world: &mut World, step: &Step, acked: &mut Vec<u64>) {
    match step {
        Step::Publish(count) => world.publish(*count),
        Step::Consume => world.consume(),
        Step::CancelOldest => world.cancel_oldest(),
        Step::Ack => {
            let seq = acked.len() as u64;
            acked.push(seq);
            world.ack(seq);
        }
        Step::Stat => world.stat(),
        Step::Round => world.round(),
        Step::Arrive => world.arrive(),
        Step::Commit => world.commit(),
        Step::Answer => world.answer(),
        Step::Hear(twice) => world.hear(*twice),
        Step::Deliver => world.deliver(),
        Step::Elect(node, surviving) => world.elect(*node, *surviving),
        Step::Announce => world.announce(),
        Step::Cut(node) => world.cut(*node),
        Step::Mend(node) => world.mend(*node),
        Step::Later => world.now_ms += 300,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn all_takes_place_once_and_in_order_whoever_leads(
        steps in prop::collection::vec(step(), 0..120),
        is_announced in any::<bool>(),
    ) {
        let (mut world, mut acked) = (World::new(), Vec::new());
        for step in &steps {
            take(&mut world, step, &mut acked);
        }
        world.calm_down(is_announced);
        let all = 0..world.published_count();
        let kept: Vec<u64> = all.clone().filter(|id| !is_refused(*id)).collect();
        prop_assert_eq!(&world.published, &kept, "each message is there once, in its order");
        prop_assert_eq!(&world.settled, &acked, "each settlement took place once, in its order");
        let mut confirmed = world.confirmed.clone();
        confirmed.sort_unstable();
        let expected: Vec<_> = all.map(|id| (id, !is_refused(id))).collect();
        prop_assert_eq!(confirmed, expected, "each publish has one answer, the right one");
        prop_assert_eq!(world.consumers_of_leader(), world.alive.clone(), "consumers are back, oldest first");
        prop_assert_eq!(&world.cancelled, &Vec::<u64>::new());
        let mut delivered = world.delivered.clone();
        delivered.sort_unstable();
        delivered.dedup();
        prop_assert_eq!(delivered.len(), world.delivered.len(), "no delivery comes twice");
        for stat in &mut world.stats {
            prop_assert!(matches!(stat.try_recv(), Ok(Some(_))), "a question was not answered");
        }
    }
}
