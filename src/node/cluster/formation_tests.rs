//! Nodes found, join, come back, or are told why not.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::questions::Who;
use super::*;

/// Seeds that give these answers in turn; without any, nobody is there.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    /// So many questions are not answered before.
    silent: AtomicU32,
    asked: Mutex<Vec<(String, Question)>>,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(address, _)| address.clone()).collect()
    }
}

impl AskSeed for Script {
    async fn ask(&self, address: &str, question: Bytes) -> Result<Bytes, String> {
        self.asked.lock().unwrap().push((address.to_owned(), decode(&question).unwrap()));
        let silent = self.silent.load(Ordering::Relaxed);
        if silent > 0 {
            self.silent.store(silent - 1, Ordering::Relaxed);
            return std::future::pending().await;
        }
        let answer = self.answers.lock().unwrap().pop_front();
        answer.map(|answer| encode(&answer).into()).ok_or_else(|| "connection refused".to_owned())
    }
}

fn config(seeds: &[&str]) -> Config {
    let mut config = Config::load(None).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[cluster]\nname = \"node1\"\nbind = \"127.0.0.1:1001\"\nseeds = {seeds:?}\n");
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    config.cluster = Config::load(Some(file.path())).unwrap().cluster;
    config
}

fn addresses() -> Addresses {
    Addresses { peers: "127.0.0.1:1001".to_owned(), clients: "127.0.0.1:5672".to_owned() }
}

fn joined() -> Answer {
    let member = KnownMember { node: 1, name: "node0".to_owned(), address: "127.0.0.1:1000".to_owned() };
    Answer::Joined(Joined {
        cluster: "00000000000000aa".to_owned(),
        node: 4,
        groups: 8,
        members: vec![member],
    })
}

async fn form_in(dir: &Path, seeds: &[&str], script: &Script) -> Result<Formed, FormationError> {
    form(&config(seeds), dir, &addresses(), script).await
}

#[tokio::test]
async fn without_the_section_a_node_is_alone() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::load(None).unwrap();
    let formed = form(&config, dir.path(), &addresses(), &Script::default()).await;
    assert_eq!(formed, Ok(Formed::Alone));
    assert!(!dir.path().join("cluster.toml").exists());
}

#[tokio::test]
async fn a_node_without_seeds_founds_a_cluster_and_knows_it_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    let Ok(Formed::Member(first)) = form_in(dir.path(), &[], &Script::default()).await else { panic!() };
    assert_eq!((first.node, first.run, first.groups, first.is_founder), (1, 1, 16, true));
    let Ok(Formed::Member(second)) = form_in(dir.path(), &[], &Script::default()).await else { panic!() };
    assert_eq!(second, Membership { run: 2, ..first });
}

#[tokio::test(start_paused = true)]
async fn the_first_of_the_seeds_founds_the_cluster_when_a_majority_looks_for_one() {
    let three = ["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003"];
    // Nobody is there, then one is.
    let refused = || Answer::no("of another release");
    let script = Script::of([refused(), refused(), refused(), Answer::Who(None)]);
    let dir = tempfile::tempdir().unwrap();
    let formed = form_in(dir.path(), &three, &script).await;
    assert!(matches!(formed, Ok(Formed::Member(Membership { is_founder: true, .. }))), "{formed:?}");
    assert_eq!(script.asked(), ["127.0.0.1:1002", "127.0.0.1:1003", "127.0.0.1:1002", "127.0.0.1:1003"]);
    // Of two both must have said so.
    let dir = tempfile::tempdir().unwrap();
    let script = Script { silent: AtomicU32::new(3), ..Script::of([Answer::Who(None)]) };
    let formed = form_in(dir.path(), &three[..2], &script).await;
    assert!(matches!(formed, Ok(Formed::Member(Membership { is_founder: true, .. }))), "{formed:?}");
    assert_eq!(script.asked().len(), 4);
    // Itself alone is a majority of itself.
    let dir = tempfile::tempdir().unwrap();
    let formed = form_in(dir.path(), &three[..1], &Script::default()).await;
    assert!(matches!(formed, Ok(Formed::Member(Membership { is_founder: true, .. }))), "{formed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_of_the_seeds_joins_the_cluster_that_another_one_has() {
    let dir = tempfile::tempdir().unwrap();
    let who = Who { cluster: "00000000000000aa".to_owned(), node: 2, name: "node2".to_owned() };
    let script = Script::of([Answer::Who(Some(who)), joined()]);
    let formed = form_in(dir.path(), &["127.0.0.1:1001", "127.0.0.1:1002"], &script).await;
    let Ok(Formed::Member(member)) = formed else { panic!("{formed:?}") };
    assert_eq!((member.node, member.groups, member.is_founder), (4, 8, false));
    assert_eq!(Membership::read(dir.path()).unwrap(), Some(member));
}

#[tokio::test(start_paused = true)]
async fn a_node_asks_its_seeds_until_one_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::of([
        Answer::not_now("no leader is known"),
        Answer::Who(None),
        Answer::not_now("no leader is known"),
        joined(),
    ]);
    let formed = form_in(dir.path(), &["127.0.0.1:1000", "127.0.0.1:1002"], &script).await;
    assert!(matches!(formed, Ok(Formed::Member(Membership { node: 4, run: 1, .. }))), "{formed:?}");
    assert_eq!(script.asked(), ["127.0.0.1:1000", "127.0.0.1:1002", "127.0.0.1:1000", "127.0.0.1:1002"]);
    let tokens =
        script.asked.lock().unwrap().iter().map(|(_, question)| question.clone()).collect::<Vec<_>>();
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]), "each time it is the same newcomer");
}

#[tokio::test]
async fn a_node_that_is_refused_says_by_whom_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::of([Answer::no("the name \"node1\" is taken by node 2 (127.0.0.1:1002)")]);
    let problem = form_in(dir.path(), &["127.0.0.1:1000"], &script).await.unwrap_err().0;
    assert_eq!(
        problem,
        "127.0.0.1:1000 does not take this node (node1) into its cluster: the name \"node1\" is taken by node 2 \
         (127.0.0.1:1002)"
    );
    assert_eq!(Membership::read(dir.path()), Ok(None));
}

#[tokio::test]
async fn a_node_with_declarations_of_its_own_does_not_join() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("cold")).unwrap();
    let script = Script::of([joined()]);
    let problem = form_in(dir.path(), &["127.0.0.1:1000"], &script).await.unwrap_err().0;
    assert!(problem.contains("has declarations of its own"), "{problem}");
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_data_directory_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let Ok(Formed::Member(member)) = form_in(dir.path(), &[], &Script::default()).await else { panic!() };
    let alone = Config::load(None).unwrap();
    let problem = form(&alone, dir.path(), &addresses(), &Script::default()).await.unwrap_err().0;
    assert!(problem.contains("the configuration has no [cluster]"), "{problem}");
    Membership { name: "other".to_owned(), ..member.clone() }.write(dir.path()).unwrap();
    let problem = form_in(dir.path(), &[], &Script::default()).await.unwrap_err().0;
    assert!(
        problem.contains("belongs to the node \"other\"") && problem.contains("is \"node1\""),
        "{problem}"
    );
    Membership { has_left: true, ..member }.write(dir.path()).unwrap();
    let problem = form_in(dir.path(), &[], &Script::default()).await.unwrap_err().0;
    assert!(problem.contains("has left the cluster"), "{problem}");
}

#[tokio::test]
async fn a_node_that_was_taken_in_before_its_first_start_is_a_member_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&["127.0.0.1:1000"]);
    config.node.data_dir = dir.path().to_owned();
    let cluster = config.cluster.clone().unwrap();
    join_by(&config, &cluster, &addresses(), &Script::of([joined()])).await.unwrap();
    let again = join_by(&config, &cluster, &addresses(), &Script::of([joined()])).await.unwrap_err();
    assert!(again.0.contains("already"), "{again}");
    let formed = form(&config, dir.path(), &addresses(), &Script::default()).await;
    assert!(matches!(formed, Ok(Formed::Member(Membership { node: 4, run: 1, .. }))), "{formed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_of_the_seeds_founds_nothing_as_long_as_the_others_do_not_say_that_they_have_none() {
    let seeds = ["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003"];
    // Its disk was wiped, and the others stand still or cannot be reached for a minute.
    let dir = tempfile::tempdir().unwrap();
    let who = Who { cluster: "00000000000000aa".to_owned(), node: 2, name: "node2".to_owned() };
    let script = Script { silent: AtomicU32::new(60), ..Script::of([Answer::Who(Some(who)), joined()]) };
    let formed = form_in(dir.path(), &seeds, &script).await;
    assert!(matches!(formed, Ok(Formed::Member(Membership { is_founder: false, .. }))), "{formed:?}");
    // There is none: the other one looks for one itself.
    let dir = tempfile::tempdir().unwrap();
    let script = Script { silent: AtomicU32::new(60), ..Script::of([Answer::Who(None)]) };
    let formed = form_in(dir.path(), &seeds, &script).await;
    assert!(matches!(formed, Ok(Formed::Member(Membership { is_founder: true, .. }))), "{formed:?}");
    assert!(script.asked().len() > 60);
}

#[test]
fn a_node_in_no_cluster_says_so_and_takes_nobody() {
    let answer = |question: &Question| decode::<Answer>(&answer_unformed(&encode(question)));
    assert_eq!(answer(&Question::Who), Some(Answer::Who(None)));
    assert!(matches!(answer(&Question::Report), Some(Answer::Refused(refused)) if refused.for_now));
    assert!(decode::<Answer>(&answer_unformed(b"?")).is_some());
}

#[tokio::test]
async fn a_node_that_lost_its_log_does_not_come_back_under_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let Ok(Formed::Member(member)) = form_in(dir.path(), &[], &Script::default()).await else { panic!() };
    Membership { has_log: true, ..member }.write(dir.path()).unwrap();
    for lost in [true, false] {
        let problem = form_in(dir.path(), &[], &Script::default()).await.unwrap_err().0;
        assert!(problem.contains("has lost the log of node 1 (node1)"), "{problem}");
        if lost {
            // A directory alone is no log.
            std::fs::create_dir(dir.path().join("log")).unwrap();
        }
    }
    std::fs::write(dir.path().join("log").join("1"), "").unwrap();
    form_in(dir.path(), &[], &Script::default()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_was_forgotten_is_told_so_at_its_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let seeds = ["127.0.0.1:1000", "127.0.0.1:1002"];
    let script = Script::of([joined()]);
    let Ok(Formed::Member(member)) = form_in(dir.path(), &seeds, &script).await else { panic!() };
    // Another one knows it still: it starts.
    let script = Script::of([Standing::Member, Standing::Gone].map(Answer::Standing));
    form_in(dir.path(), &seeds, &script).await.unwrap();
    let question = Question::IsMember { cluster: member.cluster.clone(), node: member.node, run: 1 };
    assert_eq!(*script.asked.lock().unwrap(), [("127.0.0.1:1000".to_owned(), question)]);
    // The first one does not say, the next one does.
    let script = Script::of([Answer::not_now("just starting"), Answer::Standing(Standing::Gone)]);
    let problem = form_in(dir.path(), &seeds, &script).await.unwrap_err().0;
    assert!(problem.contains("has left the cluster"), "{problem}");
    // It need not be told again.
    let problem = form_in(dir.path(), &seeds, &Script::default()).await.unwrap_err().0;
    assert!(problem.contains("start it with an empty data directory"), "{problem}");
}

#[tokio::test]
async fn an_older_copy_of_a_node_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let seeds = ["127.0.0.1:1000"];
    form_in(dir.path(), &seeds, &Script::of([joined()])).await.unwrap();
    let script = Script::of([Answer::Standing(Standing::Older)]);
    let problem = form_in(dir.path(), &seeds, &script).await.unwrap_err().0;
    assert!(problem.contains("is an older copy of what node 4 (node1) has had"), "{problem}");
    // Nothing is noted: the newer one may be put in its place.
    form_in(dir.path(), &seeds, &Script::default()).await.unwrap();
}
