use super::*;
use crate::domain::command::{Context, Decision, Expected, Undo};
use crate::domain::learning::course::Course;

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_keeps_nothing() {
    let (pipeline, Queues { mut jobs, large: _large, .. }) = Pipeline::new();
    let envelope = || Envelope::new(Actor::operator(1), "test");
    let command =
        || Undo { change_id: 1, expected: Expected::Any, held: Vec::new(), is_large: false };
    let mut waiting = Vec::new();
    for _ in 0..QUEUE_MAX {
        let pipeline = pipeline.clone();
        waiting.push(tokio::spawn(async move { pipeline.run(command(), envelope()).await }));
    }
    while jobs.len() < QUEUE_MAX {
        tokio::task::yield_now().await;
    }
    let refused = pipeline.run(command(), envelope()).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    // A writer that ends refuses all that waited.
    jobs.close();
    while jobs.try_recv().is_ok() {}
    for waiter in waiting {
        let refused = waiter.await.unwrap();
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
    }
}

fn job(id: i64) -> (Job, oneshot::Receiver<Result<Reply, Error>>) {
    let (reply, answer) = oneshot::channel();
    let command =
        Undo { change_id: id, expected: Expected::Any, held: Vec::new(), is_large: false };
    let envelope = Box::new(Envelope::new(Actor::operator(1), id.to_string()));
    let ask = Ask::Command { command: Box::new(command), envelope };
    (Job { ask, reply, is_large: false, held_since: None, meter: None }, answer)
}

/// A batch of eight jobs, each of which has written a course of its own.
fn decided() -> (Batch, Vec<oneshot::Receiver<Result<Reply, Error>>>) {
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
        batch.results.push(Ok(Reply::Done(outcome, Answer::default())));
    }
    (batch, answers)
}

/// The jobs of each commit to come, and the looks they had.
fn commits(queue: &VecDeque<(Vec<Job>, u32)>) -> Vec<(Vec<String>, u32)> {
    let id = |job: &Job| match &job.ask {
        Ask::Command { envelope, .. } => envelope.request_id.clone(),
        _ => String::new(),
    };
    queue.iter().map(|(jobs, looks)| (jobs.iter().map(id).collect(), *looks)).collect()
}

#[test]
fn who_did_not_write_where_the_fault_is_goes_on_in_one_commit() {
    let ids = |ids: &[i64]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let error = Error::Conflict(vec!["course_key".to_owned()]);
    let mut queue = VecDeque::new();
    let (batch, _answers) = decided();
    let holds = batch.holds().unwrap();
    assert_eq!(holds[2], [Hold::Record(Kind::Course, Key::Int(3))]);
    batch.split(0, &mut queue, &Blame::Record(Kind::Course, Key::Int(3)), &error);
    assert_eq!(commits(&queue), [(ids(&[1, 2, 4, 5, 6, 7, 8]), 0), (ids(&[3]), 0)]);

    // Where all or nobody may be at fault, by halves.
    for blame in [Blame::Unknown, Blame::Kind(Kind::Course), Blame::Kind(Kind::Class)] {
        queue.clear();
        let (batch, _answers) = decided();
        batch.split(0, &mut queue, &blame, &error);
        assert_eq!(commits(&queue), [(ids(&[1, 2, 3, 4]), 0), (ids(&[5, 6, 7, 8]), 0)]);
    }

    // Alone, it gets a second look, and is then told.
    queue.clear();
    let (one, mut answer) = job(3);
    let batch = |jobs| Batch::new(jobs, Timestamp::UNIX_EPOCH, Facts::default());
    batch(vec![one]).split(0, &mut queue, &Blame::Unknown, &error);
    let (jobs, looks) = queue.pop_front().unwrap();
    assert_eq!(looks, 1);
    batch(jobs).split(looks, &mut queue, &Blame::Unknown, &error);
    assert!(queue.is_empty());
    assert!(matches!(answer.try_recv(), Ok(Err(Error::Conflict(_)))));
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
    let (reply, mut answer) = oneshot::channel();
    let envelope = Box::new(Envelope::new(Actor::operator(1), "endless"));
    let ask = Ask::Command { command: Box::new(Endless(1.into())), envelope };
    let (other, mut other_answer) = job(1);
    let jobs = vec![Job { ask, reply, is_large: false, held_since: None, meter: None }, other];
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
