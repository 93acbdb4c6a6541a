//! The one way in which anything is written. Waiting commands are gathered, what they name is
//! loaded, each is decided in order against the state left by the one before, everything is applied
//! and committed once, and only then is anybody answered.
//!
//! [`Batch`] is the whole of that without I/O; a store drives it: `needs` → load → `advance` (load,
//! `advance` …) → write [`Batch::writes`] → commit → [`Batch::answer`].

mod alone;
mod doubt;
mod evaluate;
mod job;
mod kept;
mod meter;
mod naming;
mod queue;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::{HashSet, HashSetExt as _};
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::command::{Command, Content, Entropy, Kept, RefusedItem};
use crate::domain::error::Error;
use crate::domain::facts::{
    Answered, Fact, Facts, Header, Known, Need, Sequence, Signature, Stop, StoredAnswer, Token,
};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key, Meta};
use crate::payer::Payer;
use crate::sabotage::Protection;
use crate::turns::Bounds;
pub use alone::{Latch, Sought, SoughtValues};
use doubt::AGAIN;
use evaluate::{Evaluated, evaluate};
use job::Ask;
pub use job::{Hold, Job};
use kept::{answered, kept_length};
pub use meter::{Meter, Room};
pub use naming::Link;
pub use queue::{Jobs, Look, Next, Part, WeakQueue, When};
use queue::{Queue, Rules, queue};

/// What waits to be gathered into batches; beyond it, [`Error::Unavailable`]. A batch's bytes are in
/// memory several times over, and others wait while they are written.
const BATCHES: Rules = Rules {
    bounds: Bounds {
        each: 2048,
        each_weight: 8 << 20,
        in_all: 8192,
        weight: 32 << 20,
        quantum: 8 << 10,
    },
    longest: Duration::from_secs(5),
    jobs: 512,
    weight: 2 << 20,
};
/// The same of large commands.
const LARGE: Rules = Rules {
    bounds: Bounds {
        each: 4,
        each_weight: 16 << 20,
        in_all: 16,
        weight: 32 << 20,
        quantum: 8 << 10,
    },
    longest: Duration::from_mins(1),
    jobs: 1,
    weight: 0,
};
/// How often a command may come back for more facts before that is taken for a fault of its own.
const ROUNDS_MAX: u32 = 64;
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
    /// What stays of the act that was taken back.
    pub kept: Vec<Kept>,
    /// Which of several commands were not done.
    pub refused: Vec<RefusedItem>,
    /// What it adds to history, and contents, bytes.
    pub bytes: u64,
}

impl Outcome {
    /// A record as it is: nothing was done to it now.
    pub fn of(subject: Arc<Document>) -> Self {
        let (changes, written, kept, refused) = Default::default();
        Self { subject, changes, written, changed_count: 0, kept, refused, bytes: 0 }
    }
}

/// An HTTP answer as bytes, for an idempotency key to repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header names in lower case, with values.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Bytes,
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
pub type Encode = Arc<dyn Fn(&Outcome, &mut Facts) -> Known<Answer> + Send + Sync>;

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
    /// becomes of the command once it is begun.
    pub signature: Option<Signature>,
    /// Tokens that are given out, kept in the same commit.
    pub tokens: Vec<Token>,
    /// The length of what the caller sent, bytes.
    pub body_length: usize,
    /// Whose turn it takes: the actor's account's, unless nobody may be known by that.
    pub payer: Payer,
    /// How to word the outcome.
    pub encode: Encode,
}

impl Envelope {
    /// A plain run for `actor`.
    pub fn new(actor: Actor, request_id: impl Into<String>) -> Self {
        Self {
            payer: Payer::Account(actor.account_id),
            actor,
            request_id: request_id.into(),
            is_dry_run: false,
            idempotency: None,
            signature: None,
            tokens: Vec::new(),
            body_length: 0,
            encode: Arc::new(|_, _| Ok(Answer::default())),
        }
    }
}

/// What the pipeline answers.
#[derive(Debug)]
pub enum Reply {
    /// The command was accepted, and this is how it is worded; where nothing is, others would have had to
    /// wait for it, and a read is to word it.
    Done(Outcome, Option<Answer>),
    /// It was accepted before, under the same idempotency key.
    Repeated(Answered),
    /// A signature or a token was noted.
    Noted,
}

/// The sending end of the queues.
#[derive(Clone, Debug)]
pub struct Pipeline {
    queue: Queue,
    large: Queue,
    meter: Option<Arc<Meter>>,
}

/// The ends that a store's writers take from.
#[derive(Debug)]
pub struct Queues {
    /// What is gathered into batches.
    pub jobs: Jobs,
    /// Where a job goes that turns out to be large.
    pub to_large: WeakQueue,
    /// Large commands, each a batch of its own; see [`Command::is_large`].
    pub large: Jobs,
}

impl Pipeline {
    /// The queues, and the ends that a store's writers take from.
    pub fn new() -> (Self, Queues) {
        let ((queue, jobs), (large, large_jobs)) = (self::queue(BATCHES), self::queue(LARGE));
        let to_large = large.downgrade();
        (Self { queue, large, meter: None }, Queues { jobs, to_large, large: large_jobs })
    }

    /// Runs a command and waits until it is durable.
    ///
    /// # Errors
    /// The command's refusal, [`Error::TooManyRequests`] to an account that writes too much, or
    /// [`Error::Unavailable`] when the queue or the disk is full or the database is away.
    pub async fn run(&self, command: impl Command, envelope: Envelope) -> Result<Reply, Error> {
        let (is_large, payer) = (command.is_large(), envelope.payer);
        if let (Some(meter), Payer::Account(account_id)) = (&self.meter, payer)
            && !envelope.actor.is_of_the_house()
        {
            meter.admit(account_id)?;
        }
        let ask = Ask::Command { command: Box::new(command), envelope: Box::new(envelope) };
        self.ask(ask, payer, is_large).await
    }

    /// Marks a signature of an account's as used.
    ///
    /// # Errors
    /// [`Error::Replayed`] when it was used before.
    pub async fn burn_signature(&self, account_id: i64, signature: Signature) -> Result<(), Error> {
        let ask = Ask::Signature(Box::new((signature, None)));
        self.ask(ask, Payer::Account(account_id), false).await.map(|_| ())
    }

    /// Keeps an access token of an account's.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it could not be kept.
    pub async fn keep_token(&self, account_id: i64, token: Token) -> Result<(), Error> {
        self.ask(Ask::Token(Box::new(token)), Payer::Account(account_id), false).await.map(|_| ())
    }

    /// Does nothing, by the way that commands go.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that is not open.
    pub async fn probe(&self) -> Result<(), Error> {
        self.ask(Ask::Probe, Payer::House, false).await.map(|_| ())
    }

    /// Refuses what has waited for too long. Whoever comes or takes sees to that as well: this is for when
    /// nobody does.
    pub fn look(&self) {
        self.queue.look();
        self.large.look();
    }

    /// True when the writer is gone: nothing can be written any more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    async fn ask(&self, ask: Ask, payer: Payer, is_large: bool) -> Result<Reply, Error> {
        let queue = if is_large { &self.large } else { &self.queue };
        let (reply, answer) = oneshot::channel();
        let meter = self.meter.clone();
        let since = Instant::now();
        let job = Job { ask, payer, reply, since, is_large, held_since: None, meter };
        let is_harmless = job.may_be_repeated();
        queue.push(job).map_err(|_| Error::Unavailable { retry_after_s: 1 })?;
        // A writer that was cut off may have been about to answer.
        let dropped = |_| if is_harmless { AGAIN } else { Error::Uncertain };
        answer.await.map_err(dropped)?
    }
}

/// What of a stored row a write changes, beside its version, newest change and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// Anything.
    All,
    /// These columns of its kind's, a bit for each in their order, and perhaps fields without one.
    Columns(u64),
    /// No field with a column of its own: the row's index entries and references stay as they are.
    Body,
    /// No field: it was deleted, or brought back.
    State,
}

/// A row to write.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The row.
    pub document: Arc<Document>,
    /// The version that is stored now; absent for a new row.
    pub stored_version: Option<i64>,
    /// What of the stored row differs.
    pub touched: Touched,
}

/// Everything that one commit writes.
#[derive(Debug, Default)]
pub struct Writes {
    /// Rows by kind and id: the order in which they are written.
    pub documents: BTreeMap<(Kind, Key), Pending>,
    /// Changes by id.
    pub changes: Vec<Arc<Change>>,
    /// Links that stand from now on, and those that do not.
    pub links: BTreeMap<Link, bool>,
    /// What records name that they did not name before; see [`Writes::relied_on`].
    pub named: BTreeSet<(Kind, Key)>,
    /// What was looked for in vain; see [`Writes::sought`].
    pub sought: BTreeSet<Sought>,
    /// What stands below another of its tree than before.
    pub moved: BTreeSet<(Kind, Key)>,
    /// What the commit has to have to itself at its end, and which jobs need it.
    pub latches: BTreeMap<Latch, Vec<usize>>,
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

/// Where a database refused what a batch wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Blame {
    /// It does not say.
    #[default]
    Unknown,
    /// Among the rows of a kind.
    Kind(Kind),
    /// At this row.
    Record(Kind, Key),
}

/// Commands on their way through one commit.
pub struct Batch {
    jobs: Vec<Job>,
    /// How often each job came back for more facts.
    rounds: Vec<u32>,
    /// Of which jobs it was seen that they lack nothing, as things stood.
    ready: Vec<bool>,
    results: Vec<Result<Reply, Error>>,
    /// The jobs that turned out to be large.
    large: Vec<usize>,
    facts: Facts,
    writes: Writes,
    at: Timestamp,
}

impl Batch {
    /// A batch to be decided at `at`, by `facts` and what they lack.
    pub fn new(jobs: Vec<Job>, at: Timestamp, facts: Facts) -> Self {
        let (rounds, results) = (vec![0; jobs.len()], Vec::with_capacity(jobs.len()));
        let ready = vec![false; jobs.len()];
        Self {
            jobs,
            rounds,
            ready,
            results,
            large: Vec::new(),
            facts,
            writes: Writes::default(),
            at,
        }
    }

    /// The time of its decisions.
    pub const fn at(&self) -> Timestamp {
        self.at
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
        let mut seen = HashSet::with_capacity(self.jobs.len());
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
                Ask::Signature(signed) => vec![Need::Signature(signed.0.clone())],
                Ask::Token(_) | Ask::Probe => Vec::new(),
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
                    if self.may_ask_again(index) {
                        return self.missing_from(index, needs, entropy);
                    }
                    let error = Error::internal("a command asked for facts without end");
                    self.results.push(Err(error));
                }
                Err(Stop::Large) => {
                    self.facts.release_ids();
                    self.large.push(index);
                    // Said where there is no room for it beside the batches.
                    self.results.push(Err(Error::Unavailable { retry_after_s: 1 }));
                }
                Err(Stop::Long) => {
                    self.facts.release_ids();
                    self.results.push(Err(Error::internal("a decision shows nothing")));
                }
            }
        }
        Vec::new()
    }

    /// Counts that a job lacks something; false when it did so too often.
    fn may_ask_again(&mut self, index: usize) -> bool {
        self.rounds.get_mut(index).is_some_and(|rounds| {
            *rounds += 1;
            *rounds <= ROUNDS_MAX
        })
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
            // To look at everybody again for each round that one of them needs would take others' time.
            if self.ready.get(later).is_some_and(|ready| *ready) {
                continue;
            }
            let Some(job) = self.jobs.get(later) else { continue };
            let Ask::Command { command, envelope } = &job.ask else { continue };
            let follow_max = job.follow_max();
            let stopped =
                evaluate(&**command, envelope, follow_max, self.at, entropy, &mut self.facts);
            self.facts.release_ids();
            let Err(Stop::Missing(lacking)) = stopped else {
                if let Some(ready) = self.ready.get_mut(later) {
                    *ready = true;
                }
                continue;
            };
            // What asks without end is refused when its turn comes.
            if !self.may_ask_again(later) {
                continue;
            }
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
            Ask::Signature(signed) => Some(signed.0.clone()),
            Ask::Token(_) | Ask::Probe => None,
        };
        let Some(signature) = signature.filter(|_| Protection::SignatureOnce.is_on()) else {
            return self.decide_signed(index, entropy);
        };
        if self.facts.signature_used(&signature)? {
            return Err(Error::Replayed.into());
        }
        let decided = self.decide_signed(index, entropy);
        if !matches!(decided, Err(Stop::Missing(_) | Stop::Large)) {
            self.facts.remember(Need::Signature(signature.clone()), Fact::Signature(true));
            self.writes.signatures.push(signature);
        }
        decided
    }

    /// Decides what nobody asked with the same signature.
    fn decide_signed(&mut self, index: usize, entropy: &mut dyn Entropy) -> Known<Reply> {
        let Self { jobs, facts, writes, at, .. } = self;
        let follow_max = jobs.get(index).map_or(0, Job::follow_max);
        // It may have waited for long.
        let is_large = jobs.get(index).is_some_and(|job| job.is_large);
        let (command, envelope) = match jobs.get(index).map(|job| &job.ask) {
            Some(Ask::Command { command, envelope }) => (command, envelope),
            Some(Ask::Signature(signed)) => match &signed.1 {
                Some(refusal) => return Err(refusal.clone().into()),
                None => return Ok(Reply::Noted),
            },
            Some(Ask::Token(token)) => {
                writes.tokens.push(Token::clone(token));
                return Ok(Reply::Noted);
            }
            Some(Ask::Probe) | None => return Ok(Reply::Noted),
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
            return Ok(Reply::Repeated(answer.answered));
        }
        if is_large && !actor.is_live(*at, facts)? {
            return Err(Error::Unauthenticated.into());
        }
        let Evaluated { outcome, answer, recorded } =
            evaluate(&**command, envelope, follow_max, *at, entropy, facts)?;
        if envelope.is_dry_run {
            facts.release_ids();
            return Ok(Reply::Done(outcome, answer));
        }
        if let Some(meter) = jobs.get(index).and_then(|job| job.metered().map(|(meter, _)| meter)) {
            meter.fits(outcome.bytes + kept_length(envelope, &outcome, answer.as_ref()))?;
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
            facts.overlay(&pending.document);
            match writes.documents.entry(place) {
                Entry::Occupied(mut earlier) => {
                    let earlier = earlier.get_mut();
                    earlier.document = pending.document;
                    if earlier.touched != pending.touched {
                        earlier.touched = Touched::All;
                    }
                }
                Entry::Vacant(place) => {
                    place.insert(pending);
                }
            }
        }
        writes.contents.extend(recorded.contents);
        writes.tokens.extend_from_slice(&envelope.tokens);
        let moved = writes.take_in(recorded.naming);
        writes.take_alone(index, recorded.sought, moved, actor.account_id);
        let act_id = recorded.changes.first().map(|change| change.id);
        for change in recorded.changes {
            facts.remember_change(Arc::clone(&change));
            writes.changes.push(change);
        }
        if let Some(idempotency) = &envelope.idempotency {
            let stored = StoredAnswer {
                request_hash: idempotency.request_hash.clone(),
                answered: answered(answer.as_ref(), &outcome),
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

    /// Tells everybody what became of it, once it is durable. What turned out to be large goes on to
    /// `large`, where there is room.
    pub fn answer(self, large: Option<&WeakQueue>) {
        let mut moving = self.large.into_iter().peekable();
        let large = moving.peek().and(large).and_then(WeakQueue::upgrade);
        for (index, (mut job, result)) in self.jobs.into_iter().zip(self.results).enumerate() {
            if moving.next_if_eq(&index).is_some()
                && let Some(large) = &large
            {
                (job.is_large, job.since) = (true, Instant::now());
                match large.push(job) {
                    Ok(()) => continue,
                    Err(refused) => job = refused,
                }
            }
            if let (Some((meter, account_id)), Ok(Reply::Done(outcome, answer))) =
                (job.metered(), &result)
                && let Ask::Command { envelope, .. } = &job.ask
            {
                let kept = kept_length(envelope, outcome, answer.as_ref());
                meter.charge(account_id, outcome.bytes + kept);
            }
            // A caller that hung up has no use for the answer; the write stands.
            let _ = job.reply.send(result);
        }
    }

    /// Gives the jobs back undecided, to be run again.
    pub fn into_jobs(self) -> Vec<Job> {
        self.jobs
    }

    /// What to do when the database refused the whole: who did not write where it points goes on in
    /// one commit; the others are halved until the one at fault stands alone. That one gets a second
    /// look at fresh facts and is then refused. `queue` sees to it that others have their turns between.
    pub fn split(self, look: Look, queue: &mut Jobs, blame: &Blame, error: &Error) {
        let once_more = Look { attempt: 0, ..look };
        if let [job] = &*self.jobs {
            if look.attempt == 0 {
                queue.again(self.into_jobs(), Look { attempt: 1, ..look }, When::Next);
                return;
            }
            // What is only in the way is nobody's fault, and the server's own work is not the account's.
            if !matches!(error, Error::Unavailable { .. }) && !job.is_of_the_house() {
                queue.blame(job);
            }
            queue.again(self.refuse_signed(error).into_iter().collect(), once_more, When::Soon);
            return;
        }
        let mut results = self.results.iter();
        let (mut suspects, innocent): (Vec<Job>, Vec<Job>) =
            self.jobs.into_iter().partition(|job| wrote(job, results.next(), blame));
        if innocent.is_empty() || suspects.is_empty() {
            suspects.extend(innocent);
            let second = suspects.split_off(suspects.len() / 2);
            queue.again(second, once_more, When::Soon);
            queue.again(suspects, once_more, When::Soon);
        } else {
            queue.again(suspects, once_more, When::Soon);
            queue.again(innocent, once_more, When::Next);
        }
    }

    /// What to do when the database made the whole wait for what no job is known to need, an entry of an
    /// index that another transaction has written, say: as with [`Batch::split`], but that the one which
    /// stands alone is tried again, apart from the others, until it was held up for `longest`.
    pub fn separate(mut self, look: Look, queue: &mut Jobs, blame: &Blame, longest: Duration) {
        let in_the_way = Error::Unavailable { retry_after_s: 1 };
        let now = Instant::now();
        for job in &mut self.jobs {
            job.held_since(now);
        }
        if self.jobs.len() > 1 || look.attempt == 0 {
            return self.split(look, queue, blame, &in_the_way);
        }
        for mut job in self.into_jobs() {
            if now.duration_since(job.held_since(now)) > longest {
                job.refuse(in_the_way.clone());
            } else {
                queue.again(vec![job], Look { is_apart: true, ..look }, When::Last);
            }
        }
    }

    /// What each job has to have to itself, as far as is known: what it was sure to ask for, and what
    /// it wrote.
    ///
    /// # Errors
    /// [`Error::Internal`] when a record cannot be read.
    pub fn holds(&self) -> Result<Vec<Vec<Hold>>, Error> {
        let mut results = self.results.iter();
        let of = |job: &Job| {
            let mut holds = job.holds();
            let written = written(results.next());
            if let Some(document) = written.first() {
                holds.push(Hold::Named(Kind::Account, document.meta.account_id.into()));
            }
            for document in written {
                let Meta { kind, key, version, deleted_at, .. } = &document.meta;
                if deleted_at.is_some() {
                    holds.push(Hold::Ended(*kind, key.clone()));
                    continue;
                }
                if *version > 1 {
                    holds.push(Hold::Record(*kind, key.clone()));
                }
                let named = kind.references(document)?.into_iter();
                holds.extend(named.map(|(kind, key)| Hold::Named(kind, key)));
            }
            Ok(holds)
        };
        let mut all = self.jobs.iter().map(of).collect::<Result<Vec<_>, Error>>()?;
        for (latch, jobs) in &self.writes.latches {
            for index in jobs {
                all.get_mut(*index).into_iter().for_each(|holds| holds.push(Hold::Latch(*latch)));
            }
        }
        Ok(all)
    }

    /// Refuses a job with `error`. Its signature is used up all the same: that is left to be done.
    pub fn refuse_signed(self, error: &Error) -> Option<Job> {
        let mut job = self.jobs.into_iter().next()?;
        let signature = match &mut job.ask {
            Ask::Command { envelope, .. } => envelope.signature.take(),
            _ => None,
        };
        let Some(signature) = signature else {
            job.refuse(error.clone());
            return None;
        };
        job.ask = Ask::Signature(Box::new((signature, Some(error.clone()))));
        Some(job)
    }

    /// Refuses everything with `error`.
    pub fn refuse(self, error: &Error) {
        for job in self.into_jobs() {
            job.refuse(error.clone());
        }
    }
}

/// The records that a job would have written.
fn written(result: Option<&Result<Reply, Error>>) -> &[Arc<Document>] {
    match result {
        Some(Ok(Reply::Done(outcome, _))) => &outcome.written,
        _ => &[],
    }
}

/// Whether a job may be the one that the database points at.
fn wrote(job: &Job, result: Option<&Result<Reply, Error>>, blame: &Blame) -> bool {
    let is_dry_run = matches!(&job.ask, Ask::Command { envelope, .. } if envelope.is_dry_run);
    !is_dry_run
        && written(result).iter().any(|document| match blame {
            Blame::Unknown => true,
            Blame::Kind(kind) => document.meta.kind == *kind,
            Blame::Record(kind, key) => document.meta.kind == *kind && document.meta.key == *key,
        })
}

#[cfg(test)]
mod tests;
