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

/// What of it may wait, and be done at once, of those who are served apart.
const APART: Bounds = Bounds { each: 512, in_all: 2048, weight: 8 << 20, quantum: 8 << 10 };
/// So many of their jobs are done in each [`WINDOW`],
const APART_JOBS: usize = 16;
/// or as many as take so long.
const APART_TIME: Duration = Duration::from_millis(20);
/// See [`APART_JOBS`].
const WINDOW: Duration = Duration::from_millis(100);
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
    waiting: Turns<i64, Job>,
    apart: Turns<i64, Job>,
    faults: HashMap<i64, Faults>,
    looked: Instant,
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
    /// Since when, how many and for how long those apart were served.
    window: (Instant, usize, Duration),
}

/// A queue's two ends.
pub fn queue(rules: Rules) -> (Queue, Jobs) {
    let now = Instant::now();
    let state = State {
        waiting: Turns::new(rules.bounds),
        apart: Turns::new(APART),
        faults: HashMap::new(),
        looked: now,
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
        window: (now, 0, Duration::ZERO),
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
        {
            let mut state = shared.state.lock();
            if !state.is_served {
                return Err(job);
            }
            state.look(job.since, shared.rules.longest);
            let key = if Protection::FairTurns.is_on() { job.account_id } else { 0 };
            let is_apart = state.is_apart(key);
            let turns = if is_apart { &mut state.apart } else { &mut state.waiting };
            turns.push(key, job.weight(), job)?;
        }
        shared.wake();
        Ok(())
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
        self.0.state.lock().is_open = false;
        self.0.wake();
    }
}

/// Whoever waits is told that nobody will see to it.
impl Drop for Jobs {
    fn drop(&mut self) {
        let state = &mut *self.shared.state.lock();
        state.is_served = false;
        for turns in [&mut state.waiting, &mut state.apart] {
            turns.take_if(|_| true);
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
    /// Refuses those who have waited for too long, forgets those who have gone, and lets accounts in
    /// again whose time apart is over.
    fn look(&mut self, now: Instant, longest: Duration) {
        if now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        let is_over =
            |job: &Job| job.reply.is_closed() || now.saturating_duration_since(job.since) > longest;
        for turns in [&mut self.waiting, &mut self.apart] {
            for job in turns.take_if(is_over) {
                job.refuse(Error::Unavailable { retry_after_s: 1 });
            }
        }
        let Self { waiting, apart, faults, .. } = self;
        faults.retain(|account_id, faults| {
            if faults.until.is_some_and(|until| until <= now) {
                faults.until = None;
                move_line(*account_id, apart, waiting);
            }
            faults.until.is_some() || now.saturating_duration_since(faults.last) < faults.span
        });
    }

    fn is_apart(&self, account_id: i64) -> bool {
        self.faults.get(&account_id).is_some_and(|faults| faults.until.is_some())
    }

    /// Notes that the database refused what a job of an account would have written.
    fn blame(&mut self, account_id: i64, now: Instant) {
        let new = Faults { last: now, span: FAULT_SPAN, until: None };
        let Some(faults) = self.faults.get_mut(&account_id) else {
            self.faults.insert(account_id, new);
            return;
        };
        faults.last = now;
        if faults.until.is_none() {
            faults.until = Some(now + faults.span);
            faults.span = FAULT_SPAN_MAX.min(2 * faults.span);
            let Self { waiting, apart, .. } = self;
            move_line(account_id, waiting, apart);
        }
    }

    /// The next jobs of some turns, as many as go into one commit.
    fn take(&mut self, is_apart: bool, count: usize, weight: usize) -> Vec<Job> {
        let turns = if is_apart { &mut self.apart } else { &mut self.waiting };
        let (mut jobs, mut room) = (Vec::new(), weight);
        while jobs.len() < count {
            let mut weight = 0;
            let next = turns.next(|_, next| {
                weight = next;
                if jobs.is_empty() || next <= room { May::Go } else { May::Stop }
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

/// Moves what waits for an account from some turns to others.
fn move_line(account_id: i64, from: &mut Turns<i64, Job>, to: &mut Turns<i64, Job>) {
    for (weight, job) in from.take_out(&account_id) {
        if let Err(job) = to.push(account_id, weight, job) {
            job.refuse(Error::Unavailable { retry_after_s: 1 });
        }
    }
}

impl Jobs {
    /// What comes next, for a thread that waits up to `patience`, or as long as it takes.
    pub fn blocking_next(&mut self, patience: Option<Duration>) -> Next {
        let until = patience.map(|patience| Instant::now() + patience);
        loop {
            let shared = Arc::clone(&self.shared);
            let mut state = shared.state.lock();
            let now = Instant::now();
            match self.poll(&mut state, now) {
                Ok(next) => return next,
                Err(opens) => {
                    if until.is_some_and(|until| until <= now) {
                        return Next::Nobody;
                    }
                    match earlier(until, opens) {
                        Some(at) => drop(shared.came.wait_until(&mut state, at)),
                        None => shared.came.wait(&mut state),
                    }
                }
            }
        }
    }

    /// What comes next, for a task that waits up to `patience`, or as long as it takes.
    pub async fn next(&mut self, patience: Option<Duration>) -> Next {
        let until = patience.map(|patience| Instant::now() + patience);
        loop {
            let shared = Arc::clone(&self.shared);
            let now = Instant::now();
            let polled = self.poll(&mut shared.state.lock(), now);
            match polled {
                Ok(next) => return next,
                Err(opens) => {
                    if until.is_some_and(|until| until <= now) {
                        return Next::Nobody;
                    }
                    match earlier(until, opens) {
                        Some(at) => {
                            let _ =
                                tokio::time::timeout_at(at.into(), shared.noticed.notified()).await;
                        }
                        None => shared.noticed.notified().await,
                    }
                }
            }
        }
    }

    /// What comes next, or when to look again where nobody comes before.
    fn poll(&mut self, state: &mut State, now: Instant) -> Result<Next, Option<Instant>> {
        let Rules { longest, jobs: jobs_max, weight, .. } = self.shared.rules;
        state.look(now, longest);
        if now.saturating_duration_since(self.window.0) >= WINDOW {
            self.window = (now, 0, Duration::ZERO);
        }
        let (_, used, took) = self.window;
        let has_time = took < APART_TIME;
        for _ in 0..3 {
            let turn = self.turn;
            self.turn = match turn {
                Turn::New => Turn::Again,
                Turn::Again => Turn::Apart,
                Turn::Apart => Turn::New,
            };
            let part = match turn {
                Turn::New => {
                    let jobs = state.take(false, jobs_max, weight);
                    Some(Part { jobs, look: Look::default() }).filter(|part| !part.jobs.is_empty())
                }
                Turn::Again => self.again.pop_front(),
                Turn::Apart if !has_time => None,
                Turn::Apart => self.again_apart.pop_front().or_else(|| {
                    let count = APART_JOBS.saturating_sub(used).min(jobs_max);
                    let jobs = state.take(true, count, weight);
                    self.window.1 += jobs.len();
                    let look = Look { is_apart: true, ..Look::default() };
                    Some(Part { jobs, look }).filter(|part| !part.jobs.is_empty())
                }),
            };
            if let Some(part) = part {
                return Ok(Next::Part(part));
            }
        }
        let is_apart_waiting = !self.again_apart.is_empty() || !state.apart.is_empty();
        match (is_apart_waiting, state.is_open) {
            (true, _) => Err(Some(self.window.0 + WINDOW)),
            (false, true) => Err(None),
            (false, false) => Ok(Next::Closed),
        }
    }

    /// Says how long it took to do a part.
    pub fn took(&mut self, look: Look, time: Duration) {
        if look.is_apart {
            self.window.2 += time;
        }
    }

    /// Puts jobs that were taken before in front of those that come: at once, or when it is their turn.
    pub fn again(&mut self, jobs: Vec<Job>, mut look: Look, is_next: bool) {
        match &*jobs {
            [] => return,
            [job] => look.is_apart |= self.shared.state.lock().is_apart(job.account_id),
            _ => {}
        }
        let part = Part { jobs, look };
        match (look.is_apart, is_next) {
            (true, _) => self.again_apart.push_front(part),
            (false, true) => {
                self.turn = Turn::Again;
                self.again.push_front(part);
            }
            (false, false) => self.again.push_back(part),
        }
    }

    /// Notes that the database refused what a job would have written, and the others with it.
    pub fn blame(&self, job: &Job) {
        if Protection::OwnFaults.is_on() {
            self.shared.state.lock().blame(job.account_id, Instant::now());
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
