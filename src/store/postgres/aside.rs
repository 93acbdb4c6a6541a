//! Jobs whose rows, idempotency keys or latches somebody else holds: another node, or an operator's
//! session. A batch that runs into one asks who needs what is held, puts these aside and goes on with
//! the others; they come back as soon as it is free.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashSet};
use sha2::{Digest as _, Sha256};

use super::{Connection, PgFault, alone, array};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::payer::Payer;
use crate::pipeline::{Hold, Job};
use crate::store::sql::{self, Sql};

/// How often it is asked whether what was held is free.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a job waits for what somebody else holds before it is refused.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// Jobs that may wait; more are refused.
const WAITING_MAX: usize = 2048;
/// Jobs of one account that may.
const WAITING_EACH: usize = 256;

/// Under which number an idempotency key is locked.
pub fn lock_number(credential_id: i64, key: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(credential_id.to_be_bytes());
    hash.update(key);
    hash.finalize().first_chunk().map_or(0, |number| i64::from_be_bytes(*number))
}

/// A job, and what it waits for.
struct Waiting {
    job: Job,
    on: Vec<Hold>,
}

/// See the module.
pub struct Aside {
    waiting: Vec<Waiting>,
    looked: Option<Instant>,
}

impl Aside {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { waiting: Vec::new(), looked: None }
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts those jobs aside whose holds are held. Returns the others.
    pub fn put(&mut self, jobs: Vec<Job>, holds: Vec<Vec<Hold>>, held: &HashSet<Hold>) -> Vec<Job> {
        let now = Instant::now();
        let mut rest = Vec::new();
        let mut counts: HashMap<Payer, usize> = HashMap::default();
        for waiting in &self.waiting {
            *counts.entry(waiting.job.payer()).or_default() += 1;
        }
        for (mut job, mut on) in jobs.into_iter().zip(holds) {
            on.retain(|hold| held.contains(hold));
            if on.is_empty() {
                rest.push(job);
                continue;
            }
            let count = counts.entry(job.payer()).or_default();
            if now.duration_since(job.held_since(now)) > WAIT_MAX
                || self.waiting.len() >= WAITING_MAX
                || *count >= WAITING_EACH
            {
                job.refuse(Error::Unavailable { retry_after_s: 1 });
            } else {
                *count += 1;
                self.waiting.push(Waiting { job, on });
            }
        }
        rest
    }

    /// Puts those of new jobs aside that need what others already wait for.
    pub fn keep_out(&mut self, jobs: &mut Vec<Job>) {
        if self.is_empty() {
            return;
        }
        let held = self.asked();
        let holds = jobs.iter().map(Job::holds).collect();
        *jobs = self.put(std::mem::take(jobs), holds, &held);
    }

    /// What to look for, when it is time to.
    pub fn due(&mut self) -> Option<HashSet<Hold>> {
        if self.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return None;
        }
        self.looked = Some(Instant::now());
        Some(self.asked())
    }

    fn asked(&self) -> HashSet<Hold> {
        self.waiting.iter().flat_map(|waiting| waiting.on.iter().cloned()).collect()
    }

    /// The jobs that wait for nothing that is still held. Those that have waited too long are refused.
    pub fn take(&mut self, held: &HashSet<Hold>) -> Vec<Job> {
        let (mut jobs, mut holds) = (Vec::new(), Vec::new());
        for Waiting { job, on } in self.waiting.drain(..) {
            jobs.push(job);
            holds.push(on);
        }
        self.put(jobs, holds, held)
    }
}

/// Which of these are held by somebody else.
pub async fn held(connection: &Connection, asked: HashSet<Hold>) -> Result<HashSet<Hold>, PgFault> {
    type ToHold = fn(Kind, Key) -> Hold;
    let mut rows: BTreeMap<(Kind, &str), (ToHold, Vec<Key>)> = BTreeMap::new();
    let mut answers: HashMap<i64, Hold> = HashMap::default();
    let mut latches = Vec::new();
    for hold in asked {
        let (to_hold, lock, kind, key): (ToHold, _, _, _) = match hold {
            Hold::Record(kind, key) => (Hold::Record, LOCKS[0], kind, key),
            Hold::Ended(kind, key) => (Hold::Ended, LOCKS[1], kind, key),
            Hold::Named(kind, key) => (Hold::Named, LOCKS[2], kind, key),
            Hold::Answer(credential_id, ref key) => {
                answers.insert(lock_number(credential_id, key), hold);
                continue;
            }
            Hold::Latch(latch) => {
                latches.push(latch);
                continue;
            }
        };
        rows.entry((kind, lock)).or_insert_with(|| (to_hold, Vec::new())).1.push(key);
    }
    let mut held = HashSet::default();
    for ((kind, lock), (to_hold, keys)) in rows {
        let to_hold = |key| to_hold(kind, key);
        let parameters = vec![array(&keys.iter().collect::<Vec<_>>())];
        match connection.query(&skipped(kind, lock), &parameters, 1).await {
            Ok(found) => {
                let found: HashSet<Sql> = found.into_iter().flatten().collect();
                let keys = keys.into_iter().filter(|key| found.contains(&sql::key(key)));
                held.extend(keys.map(to_hold));
            }
            // The whole table is.
            Err(PgFault::Locked) => held.extend(keys.into_iter().map(to_hold)),
            Err(fault) => return Err(fault),
        }
    }
    if !answers.is_empty() {
        let numbers: Vec<i64> = answers.keys().copied().collect();
        let found = connection.query(ANSWERS_SKIPPED, &vec![Box::new(numbers)], 1).await?;
        let found = found.iter().filter_map(|row| sql::first_int(row));
        held.extend(found.filter_map(|number| answers.remove(&number)));
    }
    if !latches.is_empty() {
        held.extend(alone::held(connection, &latches).await?.into_iter().map(Hold::Latch));
    }
    Ok(held)
}

/// How a row is locked by who changes it, who ends it, and who names it.
const LOCKS: [&str; 3] = ["NO KEY UPDATE", "UPDATE", "KEY SHARE"];

/// The rows among `$1` that are there and that somebody else holds, so that they cannot be locked.
fn skipped(kind: Kind, lock: &str) -> String {
    let name = kind.table().name;
    format!(
        "WITH had AS (SELECT id FROM {name} WHERE id = ANY($1) FOR {lock} SKIP LOCKED) \
         SELECT id FROM {name} WHERE id = ANY($1) AND id NOT IN (SELECT id FROM had)"
    )
}

/// The numbers among `$1` that somebody else has locked.
const ANSWERS_SKIPPED: &str = "SELECT number FROM unnest($1::bigint[]) AS asked (number) \
     WHERE NOT pg_try_advisory_xact_lock(number)";

/// The statements of this module, to be prepared by a check.
pub fn statements() -> impl Iterator<Item = String> {
    let of = |kind: &Kind| LOCKS.map(|lock| skipped(*kind, lock));
    Kind::ALL.iter().flat_map(of).chain([ANSWERS_SKIPPED.to_owned()])
}
