//! Takes messages that are due, hands them over, and records what became of each. The record of an
//! attempt is on disk before the attempt is made (see ADR 23): so of two workers only one makes it,
//! and after a crash nobody makes it again without knowing.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Report, Sender};
use crate::app::App;
use crate::domain::actor::Actor;
use crate::domain::command::Command;
use crate::domain::delivery::attempt::{Claim, Fate, HoldBack, LEASE, Settle};
use crate::domain::delivery::message::{Channel, Message, MessageStatus};
use crate::domain::error::Error;
use crate::domain::list::List;
use crate::pipeline::{Envelope, Reply};
use crate::{sabotage, telemetry};

/// Accounts whose messages are looked for at a time.
const PAGE: i64 = 100;
/// Messages of one account that are looked through for one that is not put aside.
const LOOK: usize = 10_000;
/// Messages of one channel on their way at the same time.
const LANES: u32 = 4;
/// Outcomes that wait to be recorded, at the most; with more of them nothing is sent.
const OUTCOMES_MAX: usize = 1_024;
/// How long it may take to take a message before others go on in its lane.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);
/// How long what is on its way, and its record, may take after the worker was told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// After an outcome could not be recorded while the worker stops.
const STOP_PAUSE: Duration = Duration::from_millis(250);
/// How history names what the worker does.
const REQUEST: &str = "worker";

/// How often to look.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between looks when there is nothing to do. And after an outcome could not be recorded; twice as
    /// long each time, up to [`Pace::rest_longest`].
    pub look_every: Duration,
    /// After a channel was found down; twice as long each time, up to [`Pace::rest_longest`]. And how
    /// long a message is left alone that could not be taken, because somebody else held it.
    pub rest_first: Duration,
    /// The longest rest of a channel that stays down. And how long a message is left alone that could
    /// not be read.
    pub rest_longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
            rest_first: Duration::from_secs(5),
            rest_longest: Duration::from_mins(5),
        }
    }
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Worker {
    /// Starts one, with the ways that are configured.
    pub fn start(app: &App, senders: Vec<Sender>, pace: Pace) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (outcomes, to_record) = mpsc::channel(1);
        let mut senders: HashMap<Channel, Sender> =
            senders.into_iter().map(|sender| (sender.channel(), sender)).collect();
        let mut tasks = JoinSet::new();
        for channel in Channel::ALL {
            let office = Office {
                app: app.clone(),
                channel,
                sender: senders.remove(&channel),
                pace,
                lanes: Arc::new(Semaphore::new(LANES as usize)),
                is_down: AtomicBool::new(false),
                is_up: AtomicBool::new(false),
                aside: Mutex::default(),
                outcomes: outcomes.clone(),
            };
            let (office, stopped) = (Arc::new(office), stopped.clone());
            // Attempts on their way outlive a fault of who began them.
            let attempts = Arc::new(tokio::sync::Mutex::default());
            let run = move || Arc::clone(&office).run(Arc::clone(&attempts), stopped.clone());
            tasks.spawn(app.store.alarm().clone().keep_up("delivery", run));
        }
        let (to_record, recording) = (Arc::new(tokio::sync::Mutex::new(to_record)), app.clone());
        let record = move || record(recording.clone(), to_record.clone(), pace, stopped.clone());
        tasks.spawn(app.store.alarm().clone().keep_up("recording outcomes", record));
        Self { stop, tasks }
    }

    /// Starts no further attempt, and waits for those on their way and for their record.
    pub async fn stop(self) {
        let Self { stop, mut tasks } = self;
        let _ = stop.send(true);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::warn!("attempts were cut off; what became of them is not known");
            tasks.shutdown().await;
        }
    }

    /// Ends at once, as a crash would: attempts are cut off, and nothing is recorded.
    pub async fn abort(mut self) {
        self.tasks.shutdown().await;
    }
}

/// A message that somebody has to look at.
#[derive(Clone, Copy, Debug)]
struct DueMessage {
    id: i64,
    account_id: i64,
    status: MessageStatus,
}

/// What became of an attempt, to be recorded.
#[derive(Debug)]
struct Outcome {
    found: DueMessage,
    attempt: i64,
    fate: Fate,
}

/// Messages on their way, and those that could not be taken: whose, and until when others go first.
type Aside = HashMap<i64, (i64, Instant)>;

/// One channel's messages. Where nothing is configured they are held back.
struct Office {
    app: App,
    channel: Channel,
    sender: Option<Sender>,
    pace: Pace,
    lanes: Arc<Semaphore>,
    is_down: AtomicBool,
    is_up: AtomicBool,
    aside: Mutex<Aside>,
    outcomes: mpsc::Sender<Outcome>,
}

impl Office {
    /// Begins an attempt at what is due whenever a lane is free.
    async fn run(
        self: Arc<Self>,
        attempts: Arc<tokio::sync::Mutex<JoinSet<()>>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut round = Round::new(Arc::clone(&self));
        let mut attempts = attempts.lock().await;
        let mut rest = self.pace.rest_first;
        while !*stopped.borrow() {
            sabotage::stumble("delivery");
            while attempts.try_join_next().is_some() {}
            let Ok(lane) = Arc::clone(&self.lanes).acquire_owned().await else { return };
            if self.is_down.load(Ordering::Relaxed) {
                drop(lane);
                rest = self.pause(rest, &mut stopped).await;
            } else if let Some(found) = round.next().await {
                if *stopped.borrow() {
                    break;
                }
                self.put_aside(found, LEASE.unsigned_abs());
                attempts.spawn(Arc::clone(&self).attempt(found, lane));
            } else {
                drop(lane);
                self.rest().await;
                wait(self.pace.look_every, &mut stopped).await;
            }
        }
        while attempts.join_next().await.is_some() {}
        self.rest().await;
    }

    /// Lets a channel alone that was found down, when all have come back from it. The next pause.
    async fn pause(&self, rest: Duration, stopped: &mut watch::Receiver<bool>) -> Duration {
        let all = self.lanes.acquire_many(LANES).await;
        self.is_down.store(false, Ordering::Relaxed);
        let is_new = self.is_up.swap(false, Ordering::Relaxed);
        let rest = if is_new { self.pace.rest_first } else { rest };
        drop(all);
        tracing::warn!(channel = self.channel.name(), pause_s = rest.as_secs(), "cannot deliver");
        self.rest().await;
        wait(rest, stopped).await;
        (rest * 2).min(self.pace.rest_longest)
    }

    async fn rest(&self) {
        if let Some(sender) = &self.sender {
            sender.rest().await;
        }
    }

    fn put_aside(&self, found: DueMessage, pause: Duration) {
        self.aside.lock().insert(found.id, (found.account_id, Instant::now() + pause));
    }

    /// Makes one attempt. Whoever cannot take the message in time does not keep the lane meanwhile.
    async fn attempt(self: Arc<Self>, found: DueMessage, lane: OwnedSemaphorePermit) {
        let mut taking = std::pin::pin!(self.take(found));
        let mut lane = Some(lane);
        let taken = if let Ok(taken) = timeout(TAKEN_WITHIN, &mut taking).await {
            taken
        } else {
            drop(lane.take());
            let taken = taking.await;
            lane = Arc::clone(&self.lanes).acquire_owned().await.ok();
            taken
        };
        match taken {
            Ok(message) => {
                if let Some(sender) = &self.sender {
                    self.send(sender, found, message).await;
                }
                self.aside.lock().remove(&found.id);
            }
            // Another worker was first, or the message was deleted.
            Err(Error::Conflict(_) | Error::NotFound(_)) => {
                self.aside.lock().remove(&found.id);
            }
            Err(error) => {
                log("cannot take a message", &error);
                let is_held = matches!(error, Error::Unavailable { .. });
                let Pace { rest_first, rest_longest, .. } = self.pace;
                self.put_aside(found, if is_held { rest_first } else { rest_longest });
            }
        }
        drop(lane);
    }

    async fn take(&self, found: DueMessage) -> Result<Message, Error> {
        let DueMessage { id: message_id, account_id, .. } = found;
        match self.sender {
            Some(_) => run(&self.app, account_id, Claim { message_id }).await,
            None => run(&self.app, account_id, HoldBack { message_id }).await,
        }
    }

    /// Hands a message over that was taken.
    async fn send(&self, sender: &Sender, found: DueMessage, message: Message) {
        if message.status != MessageStatus::Sending {
            tracing::warn!(message_id = found.id, "found an attempt without an outcome");
            return;
        }
        // A fault in there must not end the attempt without an outcome.
        let sending = AssertUnwindSafe(sender.send(&message, self.app.clock.now()));
        let sent = sending.catch_unwind().await;
        let Report { outcome: fate, is_channel_down } = sent.unwrap_or_else(|_| {
            Report::of(Fate::Unknown("a fault of ours cut the attempt off".to_owned()))
        });
        telemetry::count_attempt(message.channel, name(&fate));
        if !matches!(fate, Fate::Sent { .. }) {
            // What the other side said may hold the recipient's address, so it stays in the record.
            tracing::info!(message_id = found.id, outcome = name(&fate), "not delivered");
        }
        let found_out = if is_channel_down { &self.is_down } else { &self.is_up };
        found_out.store(true, Ordering::Relaxed);
        let outcome = Outcome { found, attempt: message.attempt_count, fate };
        if self.outcomes.send(outcome).await.is_err() {
            tracing::error!(message_id = found.id, "nobody records what became of a message");
        }
    }
}

/// What is due of one channel. Accounts take turns, each with its longest due message, so that one
/// that has thousands keeps nobody waiting who has one.
struct Round {
    office: Arc<Office>,
    /// Each status by itself, and beyond which account its next page begins.
    beyond: Vec<(MessageStatus, i64)>,
    /// The status whose page is next.
    at: usize,
    page: VecDeque<DueMessage>,
}

impl Round {
    fn new(office: Arc<Office>) -> Self {
        let mut statuses = vec![MessageStatus::Waiting, MessageStatus::Sending];
        if office.sender.is_some() {
            statuses.push(MessageStatus::Held);
        }
        let beyond = statuses.into_iter().map(|status| (status, 0)).collect();
        Self { office, beyond, at: 0, page: VecDeque::new() }
    }

    /// The next, if anything is due that is not put aside.
    async fn next(&mut self) -> Option<DueMessage> {
        // Once round from the first account to the last, in every status: then there is nothing.
        let mut is_round = vec![false; self.beyond.len()];
        let mut is_begun = is_round.clone();
        loop {
            while let Some(found) = self.page.pop_front() {
                if let Some(found) = self.not_aside(found).await {
                    return Some(found);
                }
            }
            if is_round.iter().all(|is_round| *is_round) {
                self.office.aside.lock().retain(|_, (_, until)| *until > Instant::now());
                return None;
            }
            self.at = (self.at + 1) % self.beyond.len();
            let (Some((status, beyond)), Some(is_begun), Some(is_round)) = (
                self.beyond.get_mut(self.at),
                is_begun.get_mut(self.at),
                is_round.get_mut(self.at),
            ) else {
                return None;
            };
            *is_begun |= *beyond == 0;
            let list = of_status(self.office.channel, *status);
            let page = self.office.app.store.first_of_each(&list, *beyond, PAGE).await;
            let page = page.unwrap_or_else(|error| {
                log("cannot look for messages that are due", &error);
                *is_begun = true;
                Vec::new()
            });
            let is_end = i64::try_from(page.len()).is_ok_and(|length| length < PAGE);
            *is_round |= is_end && *is_begun;
            *beyond = if is_end { 0 } else { page.last().map_or(0, |first| first.account_id) };
            let now = self.office.app.clock.now().as_microsecond();
            let due = page.into_iter().filter(|first| first.value <= now);
            self.page.extend(due.map(|first| DueMessage {
                id: first.id,
                account_id: first.account_id,
                status: *status,
            }));
        }
    }

    /// The message, or, where that is put aside, the account's next one. After all others come those
    /// that were put aside for long enough.
    async fn not_aside(&self, found: DueMessage) -> Option<DueMessage> {
        let aside = |aside: &Aside| {
            let of_account = aside.values().filter(|(owner, _)| *owner == found.account_id);
            aside.contains_key(&found.id).then(|| of_account.count())
        };
        let Some(count) = aside(&self.office.aside.lock()) else { return Some(found) };
        let list = of_status(self.office.channel, found.status)
            .is("account_id", found.account_id)
            .until("due_at", self.office.app.clock.now().into())
            .page(i64::try_from(LOOK.min(count + 1)).unwrap_or(1), 0);
        let ids = self.office.app.store.list(&list).await.unwrap_or_else(|error| {
            log("cannot look for messages that are due", &error);
            Vec::new()
        });
        let aside = self.office.aside.lock();
        let is_free = |id: &&i64| !aside.contains_key(*id);
        let is_over = |id: &&i64| aside.get(*id).is_none_or(|(_, until)| *until <= Instant::now());
        let id = ids.iter().find(is_free).or_else(|| ids.iter().find(is_over))?;
        Some(DueMessage { id: *id, ..found })
    }
}

/// The messages of a channel and a status that are to be looked at one day, the longest due first.
fn of_status(channel: Channel, status: MessageStatus) -> List {
    List::of_all_accounts::<Message>()
        .is("status", status.name())
        .is("channel", channel.name())
        .set("due_at")
        .by(&["due_at"])
}

async fn wait(pause: Duration, stopped: &mut watch::Receiver<bool>) {
    let _ = timeout(pause, stopped.wait_for(|stopped| *stopped)).await;
}

/// Records outcomes, as many at once as there are, until every office has closed.
async fn record(
    app: App,
    outcomes: Arc<tokio::sync::Mutex<mpsc::Receiver<Outcome>>>,
    pace: Pace,
    stopped: watch::Receiver<bool>,
) {
    let mut outcomes = outcomes.lock().await;
    let outcomes = stream::poll_fn(|context| outcomes.poll_recv(context));
    let settle = |outcome| settle(&app, outcome, pace, stopped.clone());
    outcomes.for_each_concurrent(OUTCOMES_MAX, settle).await;
}

/// Records an outcome, however often that is refused: without this record nobody would know.
async fn settle(app: &App, outcome: Outcome, pace: Pace, mut stopped: watch::Receiver<bool>) {
    let Outcome { found: DueMessage { id, account_id, .. }, attempt, fate } = outcome;
    let mut pause = pace.look_every;
    loop {
        let command = Settle { message_id: id, attempt, outcome: fate.clone() };
        let Err(error) = run(app, account_id, command).await else { return };
        log("cannot record an attempt", &error);
        // To record it twice is refused.
        let may_pass =
            matches!(error, Error::Unavailable { .. } | Error::Uncertain | Error::Internal(_));
        if !may_pass || app.pipeline.is_closed() {
            return;
        }
        if *stopped.borrow() {
            sleep(STOP_PAUSE).await;
        } else {
            wait(pause, &mut stopped).await;
            pause = (pause * 2).min(pace.rest_longest);
        }
    }
}

async fn run(app: &App, account_id: i64, command: impl Command) -> Result<Message, Error> {
    let envelope = Envelope::new(Actor::worker(account_id), REQUEST);
    match app.pipeline.run(command, envelope).await? {
        Reply::Done(outcome, _) => Ok(Message::clone(&outcome.subject.typed::<Message>()?.record)),
        Reply::Repeated(_) | Reply::Noted => Err(Error::internal("the command was not run")),
    }
}

const fn name(outcome: &Fate) -> &'static str {
    match outcome {
        Fate::Sent { .. } => "sent",
        Fate::Postponed(_) => "postponed",
        Fate::Refused(_) => "refused",
        Fate::Unknown(_) => "unknown",
    }
}

fn log(what: &str, error: &Error) {
    match error {
        Error::Internal(cause) => tracing::error!(error.cause = %cause, "{what}"),
        error => tracing::warn!(error.cause = %error, "{what}"),
    }
}
