//! The one way in which anything is written. Waiting commands are gathered, what they name is
//! loaded, each is decided in order against the state left by the one before, everything is applied
//! and committed once, and only then is anybody answered.
//!
//! [`Batch`] is the whole of that without I/O; a store drives it: `needs` → load → `advance` (load,
//! `advance` …) → write [`Batch::writes`] → commit → [`Batch::answer`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use foldhash::{HashSet, HashSetExt as _};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::domain::actor::Actor;
use crate::domain::change::{self, Action, Change};
use crate::domain::command::{Command, Content, Context, Decision, Entropy};
use crate::domain::error::Error;
use crate::domain::facts::{
    Fact, Facts, Header, Known, Need, Sequence, Signature, Stop, StoredAnswer, Token,
};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::sabotage::Protection;

/// Commands in one commit at the most.
pub const BATCH_MAX: usize = 512;
/// Commands that may wait; more are refused with [`Error::Unavailable`].
pub const QUEUE_MAX: usize = 8192;
/// Large commands that may wait; more are refused in the same way.
pub const LARGE_QUEUE_MAX: usize = 16;
/// How long an idempotency key is remembered.
const KEY_LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// An accepted command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The record that the command is about, as it is now (or would be, in a dry run).
    pub subject: Arc<Document>,
    /// The changes made, oldest first (in a dry run, those that would be); empty when nothing
    /// differed.
    pub changes: Vec<Arc<Change>>,
    /// The records that these changed, as they are now, in the same order.
    pub written: Vec<Arc<Document>>,
    /// How many records change.
    pub changed_count: usize,
}

/// An HTTP answer as bytes, for an idempotency key to repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case, with values.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
}

/// A request to repeat the first answer when the same key comes again.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the request, hex.
    pub request_hash: String,
}

/// Words the outcome for the caller, as part of the decision: so the answer shows what was committed
/// and not what came after, and an idempotency key can keep it in the same commit.
pub type Encode = Box<dyn Fn(&Outcome, &mut Facts) -> Known<Answer> + Send>;

/// How a command is to be run.
pub struct Envelope {
    /// Who asks.
    pub actor: Actor,
    /// The request's id, for history.
    pub request_id: String,
    /// Decide, write nothing.
    pub is_dry_run: bool,
    /// Repeatable under a key.
    pub idempotency: Option<Idempotency>,
    /// The signature of the request, where it is good once: used up by the same commit, whatever
    /// becomes of the command.
    pub signature: Option<Signature>,
    /// How to word the outcome.
    pub encode: Encode,
}

impl Envelope {
    /// A plain run for `actor`.
    pub fn new(actor: Actor, request_id: impl Into<String>) -> Self {
        Self {
            actor,
            request_id: request_id.into(),
            is_dry_run: false,
            idempotency: None,
            signature: None,
            encode: Box::new(|_, _| Ok(Answer::default())),
        }
    }
}

enum Ask {
    Command {
        command: Box<dyn Command>,
        envelope: Box<Envelope>,
    },
    /// A signature by itself, and why what it signed is refused, where it is known.
    Signature(Signature, Option<Error>),
    Token(Token),
}

/// What the pipeline answers.
#[derive(Debug)]
pub enum Reply {
    /// The command was accepted, and this is how it is worded.
    Done(Outcome, Answer),
    /// It was accepted before, under the same idempotency key.
    Repeated(Answer),
    /// A signature or a token was noted.
    Noted,
}

/// One thing to do, and whom to tell.
pub struct Job {
    ask: Ask,
    reply: oneshot::Sender<Result<Reply, Error>>,
}

/// The sending end of the queue.
#[derive(Clone, Debug)]
pub struct Pipeline {
    queue: mpsc::Sender<Job>,
    large: mpsc::Sender<Job>,
}

/// The ends that a store's writers take from.
#[derive(Debug)]
pub struct Queues {
    /// What is gathered into batches.
    pub jobs: mpsc::Receiver<Job>,
    /// Large commands, each a batch of its own; see [`Command::is_large`].
    pub large: mpsc::Receiver<Job>,
}

impl Pipeline {
    /// The queues, and the ends that a store's writers take from.
    pub fn new() -> (Self, Queues) {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let (large, large_jobs) = mpsc::channel(LARGE_QUEUE_MAX);
        (Self { queue, large }, Queues { jobs, large: large_jobs })
    }

    /// Runs a command and waits until it is durable.
    ///
    /// # Errors
    /// The command's refusal, or [`Error::Unavailable`] when the queue is full or the database is
    /// away.
    pub async fn run(&self, command: impl Command, envelope: Envelope) -> Result<Reply, Error> {
        let queue = if command.is_large() { &self.large } else { &self.queue };
        let ask = Ask::Command { command: Box::new(command), envelope: Box::new(envelope) };
        Self::ask(queue, ask).await
    }

    /// Marks a signature as used.
    ///
    /// # Errors
    /// [`Error::Replayed`] when it was used before.
    pub async fn burn_signature(&self, signature: Signature) -> Result<(), Error> {
        Self::ask(&self.queue, Ask::Signature(signature, None)).await.map(|_| ())
    }

    /// Keeps an access token.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it could not be kept.
    pub async fn keep_token(&self, token: Token) -> Result<(), Error> {
        Self::ask(&self.queue, Ask::Token(token)).await.map(|_| ())
    }

    /// True when the writer is gone: nothing can be written any more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    async fn ask(queue: &mpsc::Sender<Job>, ask: Ask) -> Result<Reply, Error> {
        let (reply, answer) = oneshot::channel();
        queue.try_send(Job { ask, reply }).map_err(|_| Error::Unavailable { retry_after_s: 1 })?;
        answer.await.map_err(|_| Error::Unavailable { retry_after_s: 1 })?
    }
}

/// A row to write.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The row.
    pub document: Arc<Document>,
    /// The version that is stored now; absent for a new row.
    pub stored_version: Option<i64>,
    /// Only the body differs from the stored row, no field with a column of its own: the row's
    /// index entries and references stay as they are.
    pub is_body_only: bool,
}

/// Everything that one commit writes.
#[derive(Debug, Default)]
pub struct Writes {
    /// Rows by kind and id: the order in which they are written.
    pub documents: BTreeMap<(Kind, Key), Pending>,
    /// Changes by id.
    pub changes: Vec<Arc<Change>>,
    /// Content that rows name by its hash.
    pub contents: Vec<Content>,
    /// Answers to idempotency keys.
    pub answers: Vec<(i64, String, StoredAnswer)>,
    /// Access tokens.
    pub tokens: Vec<Token>,
    /// Used signatures.
    pub signatures: Vec<Signature>,
    /// Kinds with new rows whose ids did not come from the kind's sequence.
    pub foreign_ids: HashSet<Kind>,
}

impl Writes {
    /// True when there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
            && self.answers.is_empty()
            && self.tokens.is_empty()
            && self.signatures.is_empty()
    }
}

/// Commands on their way through one commit.
pub struct Batch {
    jobs: Vec<Job>,
    results: Vec<Result<Reply, Error>>,
    facts: Facts,
    writes: Writes,
    at: Timestamp,
}

impl Batch {
    /// A batch to be decided at `at`, by `facts` and what they lack.
    pub fn new(jobs: Vec<Job>, at: Timestamp, facts: Facts) -> Self {
        Self { results: Vec::with_capacity(jobs.len()), jobs, facts, writes: Writes::default(), at }
    }

    /// How many jobs it holds.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// What the jobs are sure to ask for. Ids are named once for each that is needed. Records
    /// among these are to be locked until the commit.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = Vec::with_capacity(self.jobs.len() * 2);
        let mut seen = HashSet::new();
        for job in &self.jobs {
            let asked = match &job.ask {
                Ask::Command { command, envelope } => {
                    needs.push(Need::Id(Sequence::Change));
                    let mut asked = command.needs();
                    asked.extend(envelope.idempotency.as_ref().map(|idempotency| {
                        Need::Idempotency(envelope.actor.credential_id, idempotency.key.clone())
                    }));
                    asked.extend(envelope.signature.clone().map(Need::Signature));
                    asked
                }
                Ask::Signature(signature, _) => vec![Need::Signature(signature.clone())],
                Ask::Token(_) => Vec::new(),
            };
            needs.extend(asked.into_iter().filter(|need| seen.insert(need.clone())));
        }
        needs
    }

    /// Takes in what the store found.
    pub fn supply(&mut self, need: Need, fact: Fact) {
        self.facts.supply(need, fact);
    }

    /// Decides as far as the facts reach. Returns what is missing; nothing, when all is decided.
    pub fn advance(&mut self, entropy: &mut dyn Entropy) -> Vec<Need> {
        while self.results.len() < self.jobs.len() {
            let index = self.results.len();
            match self.decide(index, entropy) {
                Ok(reply) => self.results.push(Ok(reply)),
                Err(Stop::Refused(error)) => {
                    self.facts.release_ids();
                    self.results.push(Err(error));
                }
                Err(Stop::Missing(needs)) => {
                    self.facts.release_ids();
                    return self.missing_from(index, needs, entropy);
                }
            }
        }
        Vec::new()
    }

    /// What this and the later jobs lack, so that one round loads it for all.
    fn missing_from(
        &mut self,
        index: usize,
        mut needs: Vec<Need>,
        entropy: &mut dyn Entropy,
    ) -> Vec<Need> {
        let mut seen: HashSet<Need> = needs.iter().cloned().collect();
        for later in index + 1..self.jobs.len() {
            let Some(Job { ask: Ask::Command { command, envelope }, .. }) = self.jobs.get(later)
            else {
                continue;
            };
            let stopped = evaluate(&**command, envelope, self.at, entropy, &mut self.facts);
            self.facts.release_ids();
            let Err(Stop::Missing(lacking)) = stopped else { continue };
            for need in lacking {
                if matches!(need, Need::Id(_)) || seen.insert(need.clone()) {
                    needs.push(need);
                }
            }
        }
        needs
    }

    fn decide(&mut self, index: usize, entropy: &mut dyn Entropy) -> Known<Reply> {
        let Some(job) = self.jobs.get(index) else {
            return Err(Error::internal("no such job").into());
        };
        let signature = match &job.ask {
            Ask::Command { envelope, .. } => envelope.signature.clone(),
            Ask::Signature(signature, _) => Some(signature.clone()),
            Ask::Token(_) => None,
        };
        let Some(signature) = signature.filter(|_| Protection::SignatureOnce.is_on()) else {
            return self.decide_signed(index, entropy);
        };
        if self.facts.signature_used(&signature)? {
            return Err(Error::Replayed.into());
        }
        let decided = self.decide_signed(index, entropy);
        if !matches!(decided, Err(Stop::Missing(_))) {
            self.facts.remember(Need::Signature(signature.clone()), Fact::Signature(true));
            self.writes.signatures.push(signature);
        }
        decided
    }

    /// Decides what nobody asked with the same signature.
    fn decide_signed(&mut self, index: usize, entropy: &mut dyn Entropy) -> Known<Reply> {
        let Self { jobs, facts, writes, at, .. } = self;
        let (command, envelope) = match jobs.get(index).map(|job| &job.ask) {
            Some(Ask::Command { command, envelope }) => (command, envelope),
            Some(Ask::Signature(_, Some(refusal))) => return Err(refusal.clone().into()),
            Some(Ask::Token(token)) => {
                writes.tokens.push(token.clone());
                return Ok(Reply::Noted);
            }
            Some(Ask::Signature(_, None)) | None => return Ok(Reply::Noted),
        };
        let actor = &envelope.actor;
        if let Some(idempotency) = &envelope.idempotency
            && let Some(answer) = facts.answer(actor.credential_id, &idempotency.key)?
            && at.duration_since(answer.at) < KEY_LIFE
            && Protection::IdempotencyKeys.is_on()
        {
            if answer.request_hash != idempotency.request_hash {
                return Err(Error::KeyReused.into());
            }
            let StoredAnswer { status, headers, body, .. } = answer;
            return Ok(Reply::Repeated(Answer { status, headers, body }));
        }
        let Evaluated { outcome, answer, recorded } =
            evaluate(&**command, envelope, *at, entropy, facts)?;
        if envelope.is_dry_run {
            facts.release_ids();
            return Ok(Reply::Done(outcome, answer));
        }
        let mut own_ids: HashSet<(Kind, i64)> = HashSet::new();
        for (sequence, id) in facts.keep_ids() {
            if let Sequence::Record(kind) = sequence {
                own_ids.insert((kind, id));
            }
        }
        for pending in recorded.documents {
            let place = (pending.document.meta.kind, pending.document.meta.key.clone());
            if let (None, Key::Int(id)) = (pending.stored_version, &place.1)
                && !own_ids.contains(&(place.0, *id))
            {
                writes.foreign_ids.insert(place.0);
            }
            facts.overlay(Arc::clone(&pending.document));
            match writes.documents.entry(place) {
                Entry::Occupied(mut earlier) => {
                    let earlier = earlier.get_mut();
                    earlier.document = pending.document;
                    earlier.is_body_only &= pending.is_body_only;
                }
                Entry::Vacant(place) => {
                    place.insert(pending);
                }
            }
        }
        writes.contents.extend(recorded.contents);
        let act_id = recorded.changes.first().map(|change| change.id);
        for change in recorded.changes {
            facts.remember(Need::Change(change.id), Fact::Change(Some(Arc::clone(&change))));
            writes.changes.push(change);
        }
        if let Some(idempotency) = &envelope.idempotency {
            let Answer { status, headers, body } = answer.clone();
            let stored = StoredAnswer {
                request_hash: idempotency.request_hash.clone(),
                status,
                headers,
                body,
                at: *at,
                act_id,
            };
            let need = Need::Idempotency(actor.credential_id, idempotency.key.clone());
            facts.remember(need, Fact::Idempotency(Some(stored.clone())));
            writes.answers.push((actor.credential_id, idempotency.key.clone(), stored));
        }
        Ok(Reply::Done(outcome, answer))
    }

    /// Everything to write in this commit.
    pub fn writes(&self) -> &Writes {
        &self.writes
    }

    /// The records that new ones name and that are not written here: whoever decided without
    /// holding them has to see that they are still there.
    ///
    /// # Errors
    /// [`Error::Internal`] when a record cannot be read.
    pub fn relied_on(&self) -> Result<HashSet<(Kind, Key)>, Error> {
        let mut relied = HashSet::new();
        for pending in self.writes.documents.values() {
            if pending.stored_version.is_none() {
                relied.extend(pending.document.meta.kind.references(&pending.document)?);
            }
        }
        relied.retain(|place| !self.writes.documents.contains_key(place));
        Ok(relied)
    }

    /// Tells everybody what became of it, once it is durable.
    pub fn answer(self) {
        for (job, result) in self.jobs.into_iter().zip(self.results) {
            // A caller that hung up has no use for the answer; the write stands.
            let _ = job.reply.send(result);
        }
    }

    /// Gives the jobs back undecided, to be run again.
    pub fn into_jobs(self) -> Vec<Job> {
        self.jobs
    }

    /// What to do when the database refused the whole: halve it until the job at fault stands alone,
    /// give that one a second look at fresh facts, then refuse it. `queue` holds what is to be run
    /// next, with the number of looks it had.
    pub fn split(self, attempt: u32, queue: &mut VecDeque<(Vec<Job>, u32)>, error: &Error) {
        if self.len() > 1 {
            let mut first = self.into_jobs();
            let second = first.split_off(first.len() / 2);
            queue.push_front((second, 0));
            queue.push_front((first, 0));
        } else if attempt == 0 {
            queue.push_front((self.into_jobs(), 1));
        } else {
            queue.extend(self.refuse_signed(error).map(|job| (vec![job], 0)));
        }
    }

    /// Refuses a job with `error`. Its signature is used up all the same: that is left to be done.
    pub fn refuse_signed(self, error: &Error) -> Option<Job> {
        let Job { ask, reply } = self.jobs.into_iter().next()?;
        if let Ask::Command { envelope, .. } = ask
            && let Some(signature) = envelope.signature
        {
            return Some(Job { ask: Ask::Signature(signature, Some(error.clone())), reply });
        }
        let _ = reply.send(Err(error.clone()));
        None
    }

    /// Refuses everything with `error`.
    pub fn refuse(self, error: &Error) {
        for job in self.into_jobs() {
            let _ = job.reply.send(Err(error.clone()));
        }
    }
}

/// An accepted command, worded, before anything of it counts.
struct Evaluated {
    outcome: Outcome,
    answer: Answer,
    recorded: Recorded,
}

/// Decides a command and words its outcome. Ids are taken from `facts`; it is the caller's to keep
/// or release them.
fn evaluate(
    command: &dyn Command,
    envelope: &Envelope,
    at: Timestamp,
    entropy: &mut dyn Entropy,
    facts: &mut Facts,
) -> Known<Evaluated> {
    let evaluation = || {
        let mut context = Context { actor: &envelope.actor, at, entropy };
        let decision = command.decide(&mut context, facts)?;
        let changed_count = decision.writes.len();
        let (subject, recorded) = record(decision, envelope, at, facts)?;
        let written = recorded.documents.iter().map(|pending| Arc::clone(&pending.document));
        let written = written.collect();
        let changes = recorded.changes.clone();
        let outcome = Outcome { subject, changes, written, changed_count };
        let answer = (envelope.encode)(&outcome, facts)?;
        Ok(Evaluated { outcome, answer, recorded })
    };
    // A fault in one rule must not end the writer, which all callers share.
    catch_unwind(AssertUnwindSafe(evaluation))
        .unwrap_or_else(|_| Err(Error::internal("a decision panicked").into()))
}

struct Recorded {
    documents: Vec<Pending>,
    changes: Vec<Arc<Change>>,
    contents: Vec<Content>,
}

/// Gives each write its version and its change.
fn record(
    decision: Decision,
    envelope: &Envelope,
    at: Timestamp,
    facts: &mut Facts,
) -> Known<(Arc<Document>, Recorded)> {
    let Decision { mut subject, writes, contents } = decision;
    let mut documents = Vec::with_capacity(writes.len());
    let mut changes = Vec::with_capacity(writes.len());
    for write in writes {
        let mut after = write.after;
        let before = write.before;
        let (before_value, after_value) = change::diff(before.as_deref(), &after, write.action)?;
        let previous = before.as_ref().map(|document| document.meta.change_id);
        let stored_version = before.as_ref().map(|document| document.meta.version);
        after.meta.version = stored_version.unwrap_or(0) + 1;
        after.meta.change_id = facts.take(Sequence::Change)?;
        if write.action != Action::Create {
            after.meta.updated_at = at;
        }
        changes.push(Change {
            id: after.meta.change_id,
            account_id: after.meta.account_id,
            kind: after.meta.kind,
            record_id: after.meta.key.to_string(),
            version: after.meta.version,
            previous_id: previous,
            act_id: None,
            act_end: None,
            at,
            actor: envelope.actor.label(),
            dialect: envelope.actor.dialect.name().to_owned(),
            request_id: envelope.request_id.clone(),
            action: write.action,
            before: before_value,
            after: after_value,
        });
        debug_assert!(write.action != Action::Create || stored_version.is_none());
        let is_body_only = match &before {
            Some(before) if before.meta.deleted_at == after.meta.deleted_at => {
                let (old, new) = (before.fields()?, after.fields()?);
                let columns = after.meta.kind.table().columns;
                columns.iter().all(|(name, _)| old.get(name) == new.get(name))
            }
            _ => false,
        };
        let after = Arc::new(after);
        let is_subject = subject.as_ref().is_none_or(|subject: &Arc<Document>| {
            subject.meta.kind == after.meta.kind && subject.meta.key == after.meta.key
        });
        if is_subject {
            subject = Some(Arc::clone(&after));
        }
        documents.push(Pending { document: after, stored_version, is_body_only });
    }
    let subject = subject.ok_or_else(|| Error::internal("a decision about nothing"))?;
    if let [first, .., last] = &mut *changes {
        let (act_id, act_end) = (first.id, last.id);
        first.act_end = Some(act_end);
        for change in &mut changes {
            change.act_id = Some(act_id);
        }
    }
    let changes = changes.into_iter().map(Arc::new).collect();
    Ok((subject, Recorded { documents, changes, contents }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Expected, Undo};

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_keeps_nothing() {
        let (pipeline, Queues { mut jobs, large: _large }) = Pipeline::new();
        let envelope = || Envelope::new(Actor::operator(1), "test");
        let command = || Undo { change_id: 1, expected: Expected::Any, held: Vec::new() };
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
}
