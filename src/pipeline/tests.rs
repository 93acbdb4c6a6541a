use futures_util::FutureExt as _;

use super::*;
use crate::domain::command::{Context, Decision, Expected, Undo};
use crate::domain::learning::course::Course;

fn undo(change_id: i64) -> Undo {
    let (held, trails) = (Vec::new(), Vec::new());
    Undo { change_id, expected: Expected::Any, held, is_large: false, trails }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_keeps_nothing() {
    let (pipeline, Queues { jobs, large: _large, .. }) = Pipeline::new();
    let command = || undo(1);
    let run = |account_id| {
        let pipeline = pipeline.clone();
        async move { pipeline.run(command(), Envelope::new(Actor::operator(account_id), "test")).await }
    };
    let mut waiting = Vec::new();
    for n in 0..BATCHES.bounds.in_all {
        // One account may have a quarter of it.
        let account_id = i64::try_from(n % 4).unwrap();
        let mut waiter = Box::pin(run(account_id));
        assert!(waiter.as_mut().now_or_never().is_none());
        waiting.push(waiter);
        if n + 4 == BATCHES.bounds.in_all {
            let refused = run(account_id).now_or_never().expect("at once");
            assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
        }
    }
    let refused = run(5).now_or_never().expect("at once");
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    // A writer that ends refuses all that waited.
    drop(jobs);
    assert!(pipeline.is_closed());
    for waiter in waiting {
        let refused = waiter.await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
    }
}

type Waiter = oneshot::Receiver<Result<Reply, Error>>;

/// A job of the account, called by its number.
fn job_of(account_id: i64, number: i64) -> (Job, Waiter) {
    let command = undo(number);
    let envelope = Box::new(Envelope::new(Actor::operator(account_id), number.to_string()));
    asked(Payer::Account(account_id), Ask::Command { command: Box::new(command), envelope })
}

fn asked(payer: Payer, ask: Ask) -> (Job, Waiter) {
    let (reply, answer) = oneshot::channel();
    let since = Instant::now();
    (Job { ask, payer, reply, since, is_large: false, held_since: None, meter: None }, answer)
}

fn job(number: i64) -> (Job, Waiter) {
    job_of(1, number)
}

/// A batch of eight jobs, each of which has written a course of its own.
fn decided() -> (Batch, Vec<Waiter>) {
    let at = Timestamp::UNIX_EPOCH;
    let (jobs, answers) = (1..=8).map(job).unzip();
    let mut batch = Batch::new(jobs, at, Facts::default());
    for id in 1..=8_i64 {
        let meta = Meta {
            kind: Kind::Course,
            key: id.into(),
            account_id: 1,
            version: 2,
            change_id: id,
            created_at: at,
            updated_at: at,
            deleted_at: None,
        };
        let subject = Arc::new(Document::of(meta, Course::default()));
        let written = vec![Arc::clone(&subject)];
        let outcome = Outcome {
            subject,
            changes: Vec::new(),
            written,
            changed_count: 1,
            kept: Vec::new(),
            refused: Vec::new(),
            bytes: 0,
        };
        batch.results.push(Ok(Reply::Done(outcome, Some(Answer::default()))));
    }
    (batch, answers)
}

/// The numbers of jobs.
fn numbers(jobs: &[Job]) -> Vec<i64> {
    let number = |job: &Job| match &job.ask {
        Ask::Command { envelope, .. } => envelope.request_id.parse().unwrap(),
        _ => 0,
    };
    jobs.iter().map(number).collect()
}

fn part(next: Next) -> Option<Part> {
    match next {
        Next::Part(part) => Some(part),
        Next::Nobody | Next::Closed => None,
    }
}

/// The jobs of the next commit, and what is known of them.
fn next(jobs: &mut Jobs) -> Option<(Vec<i64>, Look)> {
    part(jobs.blocking_next(Some(Duration::ZERO))).map(|part| (numbers(&part.jobs), part.look))
}

#[test]
fn who_did_not_write_where_the_fault_is_goes_on_in_one_commit() {
    let (queue, mut jobs) = queue(BATCHES);
    let error = Error::Conflict(vec!["course_key".to_owned()]);
    let first = Look::default();
    let (batch, _answers) = decided();
    let holds = batch.holds().unwrap();
    let account = Hold::Named(Kind::Account, Key::Int(1));
    assert_eq!(holds[2], [account, Hold::Record(Kind::Course, Key::Int(3))]);
    batch.split(first, &mut jobs, &Blame::Record(Kind::Course, Key::Int(3)), &error);
    // Others have their turns between.
    let (other, _other_answer) = job_of(2, 9);
    queue.push(other).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| next(&mut jobs)).collect();
    assert_eq!(all[0], (vec![1, 2, 4, 5, 6, 7, 8], first));
    assert_eq!(all[1..], [(vec![9], first), (vec![3], first)]);

    // Where all or nobody may be at fault, by halves.
    for blame in [Blame::Unknown, Blame::Kind(Kind::Course), Blame::Kind(Kind::Class)] {
        let (batch, _answers) = decided();
        batch.split(first, &mut jobs, &blame, &error);
        let all: Vec<_> = std::iter::from_fn(|| next(&mut jobs)).collect();
        assert_eq!(all, [(vec![1, 2, 3, 4], first), (vec![5, 6, 7, 8], first)]);
    }

    // Alone, it gets a second look, and is then told.
    let (one, mut answer) = job(3);
    let batch = |jobs| Batch::new(jobs, Timestamp::UNIX_EPOCH, Facts::default());
    batch(vec![one]).split(first, &mut jobs, &Blame::Unknown, &error);
    let Part { jobs: one, look } = part(jobs.blocking_next(None)).expect("a look");
    assert_eq!(look, Look { attempt: 1, is_apart: false });
    batch(one).split(look, &mut jobs, &Blame::Unknown, &error);
    assert_eq!(next(&mut jobs), None);
    assert!(matches!(answer.try_recv(), Ok(Err(Error::Conflict(_)))));
}

#[test]
fn strangers_have_lines_of_their_own() {
    let (queue, mut jobs) = queue(BATCHES);
    let ask = |last: u8| asked(Payer::stranger([192, 0, 2, last].into()), Ask::Probe);
    let mut waiters = Vec::new();
    for _ in 0..BATCHES.bounds.each {
        let (job, waiter) = ask(1);
        queue.push(job).unwrap();
        waiters.push(waiter);
    }
    assert!(queue.push(ask(1).0).is_err(), "one address has all that it may have");
    let (other, _waiter) = ask(2);
    queue.push(other).unwrap();
    let Next::Part(part) = jobs.blocking_next(None) else { panic!("somebody waits") };
    let of_other = |job: &Job| job.payer() == Payer::stranger([192, 0, 2, 2].into());
    assert!(part.jobs.iter().any(of_other), "it is its turn in the first commit");
}

#[test]
fn an_account_that_is_refused_again_and_again_is_served_apart() {
    let (queue, mut jobs) = queue(BATCHES);
    let mut waiters = Vec::new();
    let push = |waiters: &mut Vec<Waiter>, account_id, number| {
        let (job, waiter) = job_of(account_id, number);
        queue.push(job).unwrap();
        waiters.push(waiter);
    };
    let (faulty, _) = job_of(1, 0);
    for number in 0..40 {
        push(&mut waiters, 1, number);
    }
    jobs.blame(&faulty);
    push(&mut waiters, 2, 100);
    let (both, look) = next(&mut jobs).unwrap();
    assert_eq!((both.len(), look.is_apart), (41, false), "once is nothing");
    for number in 0..20 {
        push(&mut waiters, 1, number);
    }
    jobs.blame(&faulty);
    push(&mut waiters, 1, 20);
    push(&mut waiters, 2, 100);
    let (mut apart, mut others) = (Vec::new(), Vec::new());
    while let Some((numbers, look)) = next(&mut jobs) {
        if look.is_apart { apart.extend(numbers) } else { others.extend(numbers) }
    }
    assert_eq!((others, apart), (vec![100], (0..16).collect()), "so many in a while");
    push(&mut waiters, 2, 101);
    assert_eq!(next(&mut jobs).unwrap().0, [101]);
    let began = Instant::now();
    let rest = part(jobs.blocking_next(None)).expect("the rest waits");
    assert!(rest.look.is_apart && began.elapsed() < Duration::from_secs(5));
    assert_eq!(numbers(&rest.jobs), [16, 17, 18, 19, 20]);
    // What takes too long ends the while as well.
    push(&mut waiters, 1, 21);
    let began = Instant::now();
    jobs.took(rest.look, Duration::from_millis(60));
    assert_eq!(next(&mut jobs), None);
    assert!(matches!(jobs.blocking_next(None), Next::Part(_)), "until then");
    assert!(began.elapsed() >= Duration::from_millis(240));
    // What was taken of it before goes with it.
    let (one, _) = job_of(1, 30);
    let (other, _waiter) = job_of(2, 31);
    let (mine, _own_waiter) = job_of(1, 32);
    jobs.took(Look { is_apart: true, attempt: 0 }, Duration::from_millis(60));
    jobs.again(vec![one, other, mine], Look::default(), When::Soon);
    assert_eq!(next(&mut jobs), Some((vec![31], Look::default())), "one has gone");
    assert_eq!(next(&mut jobs), None);
    // In the end nobody waits.
    drop(queue);
    let left = part(jobs.blocking_next(None)).expect("it is done");
    assert_eq!((numbers(&left.jobs), left.look.is_apart), (vec![32], true));
    assert!(matches!(jobs.blocking_next(None), Next::Closed));
}

#[tokio::test]
async fn who_hung_up_or_waited_too_long_is_not_served() {
    let (queue, mut jobs) = queue(Rules { longest: Duration::from_millis(150), ..BATCHES });
    let (gone, answer) = job_of(1, 1);
    drop(answer);
    let (here, _here_answer) = job_of(1, 2);
    queue.push(gone).unwrap();
    queue.push(here).unwrap();
    let found = part(jobs.next(None).await).expect("one is there");
    assert_eq!(numbers(&found.jobs), [2]);

    // Nobody takes it: whoever comes later sees to it.
    let (late, late_answer) = job_of(1, 3);
    queue.push(late).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (other, _other_answer) = job_of(2, 4);
    queue.push(other).unwrap();
    let late = late_answer.await.unwrap();
    assert!(matches!(late, Err(Error::Unavailable { .. })), "{late:?}");
    let found = part(jobs.next(None).await).expect("one is there");
    assert_eq!(numbers(&found.jobs), [4]);
    assert!(matches!(jobs.next(Some(Duration::from_millis(1))).await, Next::Nobody));
    drop(queue);
    assert!(matches!(jobs.next(None).await, Next::Closed));
}

/// Asks for another record each time.
struct Endless(std::sync::atomic::AtomicI64);

impl Command for Endless {
    fn decide(&self, _: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let next = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        facts.document(Kind::Course, &next.into())?;
        Ok(Decision::default())
    }
}

struct Nothing;

impl Entropy for Nothing {
    fn fill(&mut self, _: &mut [u8]) {}
}

#[test]
fn what_asks_without_end_is_refused_alone() {
    let envelope = Box::new(Envelope::new(Actor::operator(1), "endless"));
    let (endless, mut answer) =
        asked(Payer::Account(1), Ask::Command { command: Box::new(Endless(1.into())), envelope });
    let (other, mut other_answer) = job(1);
    let jobs = vec![endless, other];
    let mut batch = Batch::new(jobs, Timestamp::UNIX_EPOCH, Facts::default());
    let mut rounds = 0;
    loop {
        let needs = batch.advance(&mut Nothing);
        if needs.is_empty() {
            break;
        }
        rounds += 1;
        assert!(rounds <= 2 * ROUNDS_MAX, "no end");
        for need in needs {
            let fact = match &need {
                Need::Change(_) => Fact::Change(None),
                _ => Fact::Record(None),
            };
            batch.supply(need, fact);
        }
    }
    batch.answer(None);
    assert!(matches!(answer.try_recv(), Ok(Err(Error::Internal(_)))));
    assert!(matches!(other_answer.try_recv(), Ok(Err(Error::Conflict(_)))), "a plain answer");
}

#[test]
fn where_nobody_knows_only_what_may_be_done_twice_is_to_be_tried_again() {
    let (mut batch, answers) = decided();
    let envelope = |batch: &mut Batch, index: usize, change: fn(&mut Envelope)| {
        if let Ask::Command { envelope, .. } = &mut batch.jobs[index].ask {
            change(envelope);
        }
    };
    envelope(&mut batch, 1, |envelope| envelope.is_dry_run = true);
    envelope(&mut batch, 2, |envelope| {
        let (key, request_hash) = ("key".to_owned(), "hash".to_owned());
        envelope.idempotency = Some(Idempotency { key, request_hash });
    });
    batch.results[3] = Err(Error::Denied(None));
    if let Ok(Reply::Done(outcome, _)) = &mut batch.results[4] {
        outcome.changed_count = 0;
    }
    batch.jobs[5].ask = Ask::Probe;
    // The last ones had not been decided.
    batch.results.truncate(7);
    batch.refuse_uncertain();
    let told = answers.into_iter().map(|mut answer| match answer.try_recv() {
        Ok(Err(Error::Uncertain)) => "uncertain",
        Ok(Err(Error::Unavailable { retry_after_s: 5 })) => "again",
        _ => "something else",
    });
    let expected = ["uncertain", "again", "again", "again", "again", "again", "uncertain", "again"];
    assert!(told.eq(expected));
}
