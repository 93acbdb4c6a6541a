//! Records that stand below each other: none below itself, whoever moves what at the same time; and what is
//! asked of a deep tree is asked in few rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use haksa::domain::access::{Grant, Right, Scope};
use haksa::domain::actor::Actor;
use haksa::domain::command::{
    All, Command, Context, Decision, Delete, Edit, Expected, Policy, Undo,
};
use haksa::domain::error::Error;
use haksa::domain::facts::{Facts, Known, Need};
use haksa::domain::kind::Kind;
use haksa::domain::learning::course::Course;
use haksa::domain::learning::enrollment::{Enrollment, EnrollmentEdit};
use haksa::domain::patch::Patch;
use haksa::domain::people::department::{Department, DepartmentEdit};
use haksa::domain::people::person::Person;
use haksa::domain::record::Key;
use haksa::pipeline::Outcome;

use crate::support::command::{make, run_as, try_run};
use crate::support::paused::Paused;
use crate::support::{Backend, Server, new_postgres_database, on_both_stores};

on_both_stores!(
    a_large_move_and_a_small_one_close_no_circle,
    a_move_in_a_deep_tree_costs_few_rounds,
    rights_in_a_deep_tree_cost_few_rounds,
    what_a_batch_moves_counts_as_moved,
);

async fn department(server: &Server, above: Option<&Key>) -> Key {
    let parent_id = above.map(ToString::to_string);
    make(server, Department { parent_id, ..Department::default() }).await
}

fn to_below(moved: &Key, above: &Key) -> Box<dyn Command> {
    let parent_id = Patch::Value(above.to_string());
    let edit = DepartmentEdit { parent_id, ..DepartmentEdit::default() };
    Box::new(Edit::<Department> { key: moved.clone(), edit, expected: Expected::Any })
}

fn is_refused(moved: &Result<Outcome, Error>, code: &str) -> bool {
    matches!(moved, Err(Error::Invalid(errors)) if errors.iter().any(|error| error.code == code))
}

/// The first has decided when the second comes, is done, and lets the first go on.
async fn overtaken(
    (one, first, is_large): (&Server, Box<dyn Command>, bool),
    (other, second): (&Server, impl Command),
) -> (Result<Outcome, Error>, Result<Outcome, Error>) {
    let (first, decided, go) = Paused::new(first, is_large);
    tokio::join!(try_run(one, first), async {
        let _ = decided.await;
        let second = try_run(other, second).await;
        let _ = go.send(());
        second
    })
}

/// Y goes below X when it is decided that X goes below Y.
async fn cross(nodes: [&Server; 2], are_large: [bool; 2]) {
    let [root, x, y] = [
        department(nodes[0], None).await,
        department(nodes[0], None).await,
        department(nodes[0], None).await,
    ];
    // Deeper than by one, too.
    let below_x = department(nodes[0], Some(&x)).await;
    let below_y = department(nodes[0], Some(&y)).await;
    let (second, _decided, at_once) = Paused::new(to_below(&y, &below_x), are_large[1]);
    let _ = at_once.send(());
    let first = (nodes[0], to_below(&x, &below_y), are_large[0]);
    let (first, second) = overtaken(first, (nodes[1], second)).await;
    second.unwrap_or_else(|error| panic!("{are_large:?}: {error:?}"));
    assert!(is_refused(&first, "cycle"), "{are_large:?}: {first:?}");
    // Nor by taking back what had been so before.
    let away = try_run(nodes[0], to_below(&y, &root)).await.expect("away from X");
    let change_id = away.changes[0].id;
    let undo = Undo {
        change_id,
        expected: Expected::Any,
        held: Vec::new(),
        is_large: false,
        trails: Vec::new(),
    };
    let (undone, moved) =
        overtaken((nodes[0], Box::new(undo), are_large[0]), (nodes[1], to_below(&x, &below_y)))
            .await;
    moved.unwrap_or_else(|error| panic!("{are_large:?}: {error:?}"));
    assert!(is_refused(&undone, "cycle"), "{are_large:?}: {undone:?}");
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_departments_moved_into_each_other_at_two_nodes_close_no_circle() {
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    for are_large in [[false, false], [false, true], [true, true]] {
        cross([&nodes[0], &nodes[1]], are_large).await;
    }
}

async fn a_large_move_and_a_small_one_close_no_circle(server: Server) {
    cross([&server, &server], [true, false]).await;
}

/// Statement against statement, as chance has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn moves_at_two_nodes_close_no_circle() {
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    for round in 0..40 {
        let [x, y] = [department(&nodes[0], None).await, department(&nodes[0], None).await];
        let both = [try_run(&nodes[0], to_below(&x, &y)), try_run(&nodes[1], to_below(&y, &x))];
        let moved = futures_util::future::join_all(both).await;
        let [one, other] = [0, 1].map(|n| moved[n].is_ok());
        assert!(one != other, "round {round}: {moved:?}");
    }
    nodes[0].assert_sound().await;
}

/// Who moves a department waits for who may move another; nobody else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_a_department_waits_for_who_moves_another_and_nobody_else_does() {
    let server = Server::start(Backend::Postgres).await;
    let [x, y] = [department(&server, None).await, department(&server, None).await];
    let mut outsider = server.outsider().await;
    let latched = outsider.transaction().await.expect("a transaction");
    latched.execute("SELECT pg_advisory_xact_lock(3, 64)", &[]).await.expect("it is free");
    let mut moving = std::pin::pin!(try_run(&server, to_below(&x, &y)));
    let others = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let begun = std::time::Instant::now();
            let edit = DepartmentEdit {
                name: Patch::Value(format!("{begun:?}")),
                ..DepartmentEdit::default()
            };
            let rename = Edit::<Department> { key: y.clone(), edit, expected: Expected::Any };
            try_run(&server, rename).await.expect("a name is no move");
            let made = department(&server, Some(&y)).await;
            try_run(&server, Delete::<Department>::new(made, Expected::Any))
                .await
                .expect("it goes");
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
    };
    tokio::select! {
        moved = &mut moving => panic!("it did not wait: {moved:?}"),
        () = others => {}
    }
    latched.rollback().await.expect("let go");
    moving.await.expect("moved");
    server.assert_sound().await;
}

/// Counts how often a command is decided.
struct Counted {
    inner: Box<dyn Command>,
    count: Arc<AtomicUsize>,
}

impl Command for Counted {
    fn needs(&self) -> Vec<Need> {
        self.inner.needs()
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.inner.decide(context, facts)
    }
}

/// The rounds in which a server that remembers nothing loads what a command needs.
async fn rounds(url: &str, actor: Actor, inner: Box<dyn Command>) -> usize {
    let server = Server::start_on(url).await;
    let count = Arc::default();
    let counted = Counted { inner, count: Arc::clone(&count) };
    run_as(&server, actor, counted).await.expect("accepted");
    count.load(Ordering::Relaxed)
}

/// Departments below each other, the first of them a root.
async fn chain(server: &Server, levels: usize) -> Vec<Key> {
    let mut chain: Vec<Key> = Vec::new();
    for _ in 0..levels {
        let next = department(server, chain.last()).await;
        chain.push(next);
    }
    chain
}

async fn a_move_in_a_deep_tree_costs_few_rounds(server: Server) {
    let upper = chain(&server, 20).await;
    let lower = chain(&server, 12).await;
    let moved = to_below(&lower[0], &upper[19]);
    let needed = rounds(&server.url, Actor::operator(3), moved).await;
    assert!(needed <= 6, "a move: {needed} rounds");
    let more = department(&server, None).await;
    let moved = try_run(&server, to_below(&more, &lower[11])).await;
    assert!(is_refused(&moved, "too_deep"), "{moved:?}");
    server.assert_sound().await;
}

async fn rights_in_a_deep_tree_cost_few_rounds(server: Server) {
    let tree = chain(&server, 32).await;
    let course = Course { title: "과정".to_owned(), ..Course::default() };
    let course_id = make(&server, course).await.as_int().expect("a number");
    let department_id = Some(tree[31].to_string());
    let name = "성춘향".to_owned();
    let learner = Person { name, department_id, ..Person::default() };
    let person_id = make(&server, learner).await.as_int().expect("a number");
    let key = make(&server, Enrollment { course_id, person_id, ..Enrollment::default() }).await;
    let grant = Grant {
        kinds: Some(vec![Kind::Enrollment]),
        rights: vec![Right::Read, Right::Edit],
        scope: Scope::Departments(vec![tree[0].to_string()]),
    };
    let actor = Actor { grants: vec![grant], ..Actor::operator(3) };
    let access_date = Patch::Value("2026-05-01T00:00:00Z".parse().expect("an instant"));
    let edit = EnrollmentEdit { access_date, ..EnrollmentEdit::default() };
    let edit = Box::new(Edit::<Enrollment> { key, edit, expected: Expected::Any });
    let needed = rounds(&server.url, actor, edit).await;
    assert!(needed <= 6, "an edit in a scope: {needed} rounds");
    server.assert_sound().await;
}

async fn what_a_batch_moves_counts_as_moved(server: Server) {
    let all = |commands| All { commands, policy: Policy::AllOrNone };
    let [x, y, z] = [
        department(&server, None).await,
        department(&server, None).await,
        department(&server, None).await,
    ];
    let circle = vec![to_below(&x, &y), to_below(&y, &z), to_below(&z, &x)];
    let moved = try_run(&server, all(circle)).await;
    assert!(is_refused(&moved, "cycle"), "{moved:?}");
    // The other way round, in one commit.
    try_run(&server, to_below(&x, &y)).await.expect("moved");
    let turned = vec![to_below(&x, &z), to_below(&y, &x)];
    try_run(&server, all(turned)).await.expect("turned");
    // Twenty levels, then twelve below these, are as many as there may be; one more is one too many.
    let (upper, lower) = (chain(&server, 20).await, chain(&server, 12).await);
    let more = department(&server, None).await;
    let too_deep = all(vec![to_below(&lower[0], &upper[19]), to_below(&more, &lower[11])]);
    let moved = try_run(&server, too_deep).await;
    assert!(is_refused(&moved, "too_deep"), "{moved:?}");
    let [top, bottom] = [&lower[0], &more];
    let too_deep = all(vec![to_below(bottom, &lower[11]), to_below(top, &upper[19])]);
    let moved = try_run(&server, too_deep).await;
    assert!(is_refused(&moved, "too_deep"), "{moved:?}");
    try_run(&server, to_below(top, &upper[19])).await.expect("as deep as may be");
    server.assert_sound().await;
}
