//! Where commands wait for their writer. Accounts take turns there, so that one's crowd is in nobody
//! else's way, and whoever keeps sending what the database refuses is served apart from the others.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::Job;
use crate::domain::error::Error;
use crate::payer::Payer;
use crate::sabotage::Protection;
use crate::turns::{Bounds, May, Turns};

/// How much may wait, for how long, and how much of it is done at once.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What may wait; weights are bytes.
    pub bounds: Bounds,
    /// How long a job waits to be begun.
    pub longest: Duration,
    /// Jobs in one commit at the most.
    pub jobs: usize,
    /// What the jobs of one commit may weigh together; a single one may weigh more.
    pub weight: usize,
}

/// Jobs in one commit at the most, of those who are served apart.
const APART_JOBS: usize = 16;
/// How long it is others' turn for each of these jobs, at the least,
const APART_PAUSE: Duration = Duration::from_micros(6_250);
/// and how many times as long as these took.
const APART_SHARE: u32 = 4;
/// A second fault within so long sets an account apart for so long: one may be anybody's.
const FAULT_SPAN: Duration = Duration::from_secs(10);
/// Each further fault doubles that, up to this.
const FAULT_SPAN_MAX: Duration = Duration::from_mins(5);
/// How often it is looked who has waited for too long.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The sending end. The queue is closed when the last is dropped.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Open>);

/// A sending end that keeps nothing open.
#[derive(Clone, Debug)]
pub struct WeakQueue(Weak<Open>);

#[derive(Debug)]
struct Open(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    rules: Rules,
    state: Mutex<State>,
    /// Wakes a thread that waits, or a task.
    came: Condvar,
    noticed: Notify,
}

#[derive(Debug)]
struct State {
    waiting: Turns<Payer, Job>,
    apart: Turns<Payer, Job>,
    /// Of the accounts whose jobs the database refused.
    faults: HashMap<Payer, Faults>,
    looked: Instant,
    /// How often anything came, the end of the queue included.
    arrivals: u64,
    is_open: bool,
    is_served: bool,
}

/// An account's, as far as they are remembered.
#[derive(Clone, Copy, Debug)]
struct Faults {
    last: Instant,
    span: Duration,
    /// Until when it is served apart.
    until: Option<Instant>,
}

/// How jobs are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// How many looks they had.
    pub attempt: u32,
    /// They are of those whom the database keeps refusing.
    pub is_apart: bool,
}

/// Jobs to be done in one commit.
#[derive(Debug)]
pub struct Part {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// See [`Look`].
    pub look: Look,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// This is to be done.
    Part(Part),
    /// Nobody came in time.
    Nobody,
    /// Nobody will come any more.
    Closed,
}

/// When jobs that were taken before are to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything else.
    Next,
    /// As soon as it is the turn of such jobs.
    Soon,
    /// After the others of that sort.
    Last,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    New,
    Again,
    Apart,
}

/// The end that a writer takes from, with what it has still to do of what it took.
#[derive(Debug)]
pub struct Jobs {
    shared: Arc<Shared>,
    again: VecDeque<Part>,
    again_apart: VecDeque<Part>,
    turn: Turn,
    /// What of [`State::arrivals`] was seen.
    seen: u64,
    /// Of those apart, it was a new part's turn.
    was_new_apart: bool,
    /// From when on those apart may be served again.
    apart_from: Instant,
}

/// A queue's two ends.
pub fn queue(rules: Rules) -> (Queue, Jobs) {
    let now = Instant::now();
    let state = State {
        waiting: Turns::new(rules.bounds),
        apart: Turns::new(rules.bounds),
        faults: HashMap::new(),
        looked: now,
        arrivals: 0,
        is_open: true,
        is_served: true,
    };
    let (came, noticed) = (Condvar::new(), Notify::new());
    let shared = Arc::new(Shared { rules, state: Mutex::new(state), came, noticed });
    let jobs = Jobs {
        shared: Arc::clone(&shared),
        again: VecDeque::new(),
        again_apart: VecDeque::new(),
        turn: Turn::New,
        seen: 0,
        was_new_apart: false,
        apart_from: now,
    };
    (Queue(Arc::new(Open(shared))), jobs)
}

impl Queue {
    /// Puts a job behind those of its account.
    ///
    /// # Errors
    /// The job, where there is no room for it, or nobody to do it.
    pub fn push(&self, job: Job) -> Result<(), Job> {
        let shared = &self.0.0;
        let (over, pushed) = {
            let mut state = shared.state.lock();
            if !state.is_served {
                return Err(job);
            }
            let over = state.look(job.since, shared.rules.longest);
            let key = if Protection::FairTurns.is_on() { job.payer } else { Payer::House };
            let is_apart = state.is_apart(key);
            state.arrivals += 1;
            let turns = if is_apart { &mut state.apart } else { &mut state.waiting };
            (over, turns.push(key, job.weight(), job))
        };
        shared.wake();
        refuse(over);
        pushed
    }

    /// Sees to those who have waited for too long.
    pub fn look(&self) {
        let shared = &self.0.0;
        let over = shared.state.lock().look(Instant::now(), shared.rules.longest);
        refuse(over);
    }

    /// True when nobody takes from it any more.
    pub fn is_closed(&self) -> bool {
        !self.0.0.state.lock().is_served
    }

    /// An end that does not keep the queue open.
    pub fn downgrade(&self) -> WeakQueue {
        WeakQueue(Arc::downgrade(&self.0))
    }
}

impl WeakQueue {
    /// The queue, while it is open.
    pub fn upgrade(&self) -> Option<Queue> {
        self.0.upgrade().map(Queue)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        {
            let mut state = self.0.state.lock();
            state.is_open = false;
            state.arrivals += 1;
        }
        self.0.wake();
    }
}

/// Whoever waits is told that nobody will see to it.
impl Drop for Jobs {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.is_served = false;
        let State { waiting, apart, .. } = &mut *state;
        let left = [waiting, apart].map(|turns| turns.take_if(|_| true));
        drop(state);
        let again = self.again.drain(..).chain(self.again_apart.drain(..));
        // Nothing was done of any of these.
        for job in left.into_iter().flatten().chain(again.flat_map(|part| part.jobs)) {
            job.refuse(Error::Unavailable { retry_after_s: 1 });
        }
    }
}

impl Shared {
    fn wake(&self) {
        self.came.notify_one();
        self.noticed.notify_one();
    }
}

impl State {
    /// Lets accounts in again whose time apart is over. Gives the jobs that have waited for too long or
    /// whose callers have gone: to be refused when this is no longer locked.
    #[must_use]
    fn look(&mut self, now: Instant, longest: Duration) -> Vec<Job> {
        if now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return Vec::new();
        }
        self.looked = now;
        let Self { waiting, apart, faults, .. } = self;
        let mut over = waiting.take_if(|job| job.is_over(now, longest));
        over.extend(apart.take_if(|job| job.is_over(now, longest)));
        faults.retain(|payer, faults| {
            if faults.until.is_some_and(|until| until <= now) {
                faults.until = None;
                over.extend(move_line(*payer, apart, waiting));
            }
            faults.until.is_some() || now.saturating_duration_since(faults.last) < faults.span
        });
        over
    }

    fn is_apart(&self, payer: Payer) -> bool {
        self.faults.get(&payer).is_some_and(|faults| faults.until.is_some())
    }

    /// Notes that the database refused what a job of an account would have written. Gives the jobs that
    /// have no room apart.
    #[must_use]
    fn blame(&mut self, payer: Payer, now: Instant) -> Vec<Job> {
        let new = Faults { last: now, span: FAULT_SPAN, until: None };
        let Some(faults) = self.faults.get_mut(&payer) else {
            self.faults.insert(payer, new);
            return Vec::new();
        };
        faults.last = now;
        if faults.until.is_some() {
            return Vec::new();
        }
        faults.until = Some(now + faults.span);
        faults.span = FAULT_SPAN_MAX.min(2 * faults.span);
        let Self { waiting, apart, .. } = self;
        move_line(payer, waiting, apart)
    }

    /// The next jobs, as many as go into one commit: of those apart, one account's.
    fn take(&mut self, is_apart: bool, count: usize, weight: usize) -> Vec<Job> {
        let turns = if is_apart { &mut self.apart } else { &mut self.waiting };
        let (mut jobs, mut room) = (Vec::<Job>::new(), weight);
        while jobs.len() < count {
            let mut weight = 0;
            let next = turns.next(|payer, next| {
                weight = next;
                match jobs.first() {
                    Some(first) if is_apart && first.payer != *payer => May::Skip,
                    Some(_) if next > room => May::Stop,
                    _ => May::Go,
                }
            });
            let Some((_, job)) = next else { break };
            if !job.reply.is_closed() {
                room = room.saturating_sub(weight);
                jobs.push(job);
            }
        }
        jobs
    }
}

/// Moves what waits for an account from some turns to others; gives what has no room there.
#[must_use]
fn move_line(payer: Payer, from: &mut Turns<Payer, Job>, to: &mut Turns<Payer, Job>) -> Vec<Job> {
    let moved = from.take_out(&payer).into_iter();
    moved.filter_map(|(weight, job)| to.push(payer, weight, job).err()).collect()
}

fn refuse(jobs: Vec<Job>) {
    for job in jobs {
        job.refuse(Error::Unavailable { retry_after_s: 1 });
    }
}

impl Look {
    const fn apart(self) -> Self {
        Self { is_apart: true, ..self }
    }
}

impl Jobs {
    /// What comes next, for a thread that waits up to `patience`, or as long as it takes.
    pub fn blocking_next(&mut self, patience: Option<Duration>) -> Next {
        let until = patience.map(|patience| Instant::now() + patience);
        loop {
            let at = match self.poll(until) {
                Ok(next) => return next,
                Err(at) => at,
            };
            let mut state = self.shared.state.lock();
            // Whoever came since found nobody to wake.
            match at {
                _ if state.arrivals != self.seen => {}
                Some(at) => drop(self.shared.came.wait_until(&mut state, at)),
                None => self.shared.came.wait(&mut state),
            }
        }
    }

    /// What comes next, for a task that waits up to `patience`, or as long as it takes.
    pub async fn next(&mut self, patience: Option<Duration>) -> Next {
        let until = patience.map(|patience| Instant::now() + patience);
        loop {
            let at = match self.poll(until) {
                Ok(next) => return next,
                Err(at) => at,
            };
            let came = self.shared.noticed.notified();
            match at {
                Some(at) => drop(tokio::time::timeout_at(at.into(), came).await),
                None => came.await,
            }
        }
    }

    /// What comes next, by `until`; or when to look again where nobody comes before.
    fn poll(&mut self, until: Option<Instant>) -> Result<Next, Option<Instant>> {
        let shared = Arc::clone(&self.shared);
        let now = Instant::now();
        let mut state = shared.state.lock();
        let mut over = state.look(now, shared.rules.longest);
        let taken = self.take(&mut state, now, &mut over);
        self.seen = state.arrivals;
        drop(state);
        refuse(over);
        match taken {
            Err(_) if until.is_some_and(|until| until <= now) => Ok(Next::Nobody),
            Err(opens) => Err(until.into_iter().chain(opens).min()),
            next => next,
        }
    }

    fn take(
        &mut self,
        state: &mut State,
        now: Instant,
        over: &mut Vec<Job>,
    ) -> Result<Next, Option<Instant>> {
        let Rules { longest, jobs: jobs_max, weight, .. } = self.shared.rules;
        loop {
            let mut is_idle = true;
            for _ in 0..3 {
                let part = match self.turn {
                    Turn::New => {
                        self.turn = Turn::Again;
                        let jobs = state.take(false, jobs_max, weight);
                        Some(Part { jobs, look: Look::default() })
                            .filter(|part| !part.jobs.is_empty())
                    }
                    Turn::Again => {
                        self.turn = Turn::Apart;
                        self.again.pop_front()
                    }
                    Turn::Apart => {
                        self.turn = Turn::New;
                        if now < self.apart_from && state.is_open {
                            None
                        } else {
                            self.take_apart(state, now)
                        }
                    }
                };
                let Some(Part { jobs, look }) = part else { continue };
                is_idle = false;
                // Whoever was taken before may have gone meanwhile, or be one of those apart now.
                let (gone, jobs): (Vec<_>, Vec<_>) =
                    jobs.into_iter().partition(|job| job.is_over(now, 2 * longest));
                over.extend(gone);
                let (apart, jobs): (Vec<_>, Vec<_>) =
                    jobs.into_iter().partition(|job| !look.is_apart && state.is_apart(job.payer));
                if !apart.is_empty() {
                    self.again_apart.push_back(Part { jobs: apart, look: look.apart() });
                }
                if !jobs.is_empty() {
                    return Ok(Next::Part(Part { jobs, look }));
                }
            }
            if is_idle {
                break;
            }
        }
        if !self.again_apart.is_empty() || !state.apart.is_empty() {
            return Err(Some(self.apart_from));
        }
        if state.is_open { Err(None) } else { Ok(Next::Closed) }
    }

    fn take_apart(&mut self, state: &mut State, now: Instant) -> Option<Part> {
        self.was_new_apart = !self.was_new_apart;
        if !self.was_new_apart
            && let Some(part) = self.again_apart.pop_front()
        {
            return Some(part);
        }
        let Rules { jobs: jobs_max, weight, .. } = self.shared.rules;
        let jobs = state.take(true, APART_JOBS.min(jobs_max), weight);
        if jobs.is_empty() {
            return self.again_apart.pop_front();
        }
        let count = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        self.apart_from = now + APART_PAUSE * count;
        Some(Part { jobs, look: Look::default().apart() })
    }

    /// Says how long it took to do a part.
    pub fn took(&mut self, look: Look, time: Duration) {
        if look.is_apart {
            self.apart_from = self.apart_from.max(Instant::now() + APART_SHARE * time);
        }
    }

    /// Keeps jobs that were taken before.
    pub fn again(&mut self, jobs: Vec<Job>, look: Look, when: When) {
        if jobs.is_empty() {
            return;
        }
        let parts = if look.is_apart { &mut self.again_apart } else { &mut self.again };
        let part = Part { jobs, look };
        if when == When::Last {
            parts.push_back(part);
        } else {
            parts.push_front(part);
        }
        if when == When::Next && !look.is_apart {
            self.turn = Turn::Again;
        }
    }

    /// Keeps jobs that had to wait for something, as if they came anew.
    pub fn freed(&mut self, jobs: Vec<Job>) {
        let Rules { jobs: jobs_max, weight: weight_max, .. } = self.shared.rules;
        let (mut part, mut weight) = (Vec::new(), 0);
        for job in jobs {
            if part.len() == jobs_max || weight + job.weight() > weight_max {
                self.again(std::mem::take(&mut part), Look::default(), When::Last);
                weight = 0;
            }
            weight += job.weight();
            part.push(job);
        }
        self.again(part, Look::default(), When::Last);
    }

    /// Notes that the database refused what a job would have written, and the others with it.
    pub fn blame(&self, job: &Job) {
        if Protection::OwnFaults.is_on() {
            let over = self.shared.state.lock().blame(job.payer, Instant::now());
            refuse(over);
        }
    }
}
