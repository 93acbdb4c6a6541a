//! Takes messages that are due, hands them over, and records what became of each. The record of an
//! attempt is on disk before the attempt is made (see ADR 23): so of two workers only one makes it,
//! and after a crash nobody makes it again without knowing.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Report, Sender};
use crate::app::App;
use crate::domain::actor::Actor;
use crate::domain::command::Command;
use crate::domain::delivery::attempt::{Claim, Fate, HoldBack, LEASE, Settle};
use crate::domain::delivery::message::{Channel, Message, MessageStatus};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::record::Key;
use crate::pipeline::{Envelope, Reply};
use crate::{sabotage, telemetry};

/// Messages of a status that one look goes through.
const LOOK: i64 = 10_000;
/// Messages that are read at a time.
const PAGE: usize = 100;
/// Messages of one channel on their way at the same time.
const LANES: u32 = 4;
/// How long it may take to take a message before others go on in its lane.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);
/// How long what is on its way may take after the worker was told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How often a fault of ours may keep an outcome from being recorded before that is given up.
const FAULTS_MAX: u32 = 4;
/// After the first of these; longer each time.
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// How history names what the worker does.
const REQUEST: &str = "worker";

/// How often to look.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between looks when there is nothing to do.
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
        let mut tasks = JoinSet::new();
        for channel in Channel::ALL {
            if !senders.iter().any(|sender| sender.channel() == channel) {
                let (app, stopped) = (app.clone(), stopped.clone());
                let alarm = app.store.alarm().clone();
                let start = move || hold(app.clone(), channel, pace, stopped.clone());
                tasks.spawn(alarm.keep_up("holding messages back", start));
            }
        }
        for sender in senders {
            let (office, stopped) = (Office::new(app.clone(), sender, pace), stopped.clone());
            // Attempts on their way outlive a fault of who began them.
            let attempts = Arc::new(tokio::sync::Mutex::default());
            let start = move || deliver(office.clone(), attempts.clone(), stopped.clone());
            tasks.spawn(app.store.alarm().clone().keep_up("delivery", start));
        }
        Self { stop, tasks }
    }

    /// Starts no further attempt, and waits for those on their way.
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
}

/// The way out of one channel's messages.
struct Office {
    app: App,
    sender: Sender,
    pace: Pace,
    lanes: Arc<Semaphore>,
    is_down: AtomicBool,
    /// Messages on their way, and those that could not be taken: not to be tried before that time.
    aside: Mutex<HashMap<i64, Instant>>,
}

/// Delivers the messages of one channel.
async fn deliver(
    office: Arc<Office>,
    attempts: Arc<tokio::sync::Mutex<JoinSet<()>>>,
    mut stopped: watch::Receiver<bool>,
) {
    let (mut attempts, pace) = (attempts.lock().await, office.pace);
    let mut rest = pace.rest_first;
    while !*stopped.borrow() {
        sabotage::stumble("delivery");
        office.is_down.store(false, Ordering::Relaxed);
        office.look(&mut attempts, &stopped).await;
        let pause = if office.is_down.load(Ordering::Relaxed) {
            let channel = office.sender.channel().name();
            tracing::warn!(channel, pause_s = rest.as_secs(), "cannot deliver");
            let pause = rest;
            rest = (rest * 2).min(pace.rest_longest);
            pause
        } else {
            rest = pace.rest_first;
            pace.look_every
        };
        office.sender.rest().await;
        wait(pause, &mut stopped).await;
    }
    while attempts.join_next().await.is_some() {}
    office.sender.rest().await;
}

impl Office {
    fn new(app: App, sender: Sender, pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            app,
            sender,
            pace,
            lanes: Arc::new(Semaphore::new(LANES as usize)),
            is_down: AtomicBool::new(false),
            aside: Mutex::default(),
        })
    }

    /// Tries every message that is due, until the channel is found down. Ends before those that are
    /// still to be taken from somebody else.
    async fn look(self: &Arc<Self>, attempts: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
        let statuses = [MessageStatus::Waiting, MessageStatus::Held, MessageStatus::Sending];
        let mut pages = Pages::of(&self.app, self.sender.channel(), &statuses).await;
        self.aside.lock().retain(|_, until| *until > Instant::now());
        while let Some(page) = pages.next().await {
            while attempts.try_join_next().is_some() {}
            for found in page {
                if self.aside.lock().contains_key(&found.id) {
                    continue;
                }
                let Ok(lane) = Arc::clone(&self.lanes).acquire_owned().await else { return };
                if *stopped.borrow() || self.is_down.load(Ordering::Relaxed) {
                    return;
                }
                self.put_aside(found.id, LEASE.unsigned_abs());
                attempts.spawn(Arc::clone(self).attempt(found, lane));
            }
        }
        let _all = self.lanes.acquire_many(LANES).await;
    }

    fn put_aside(&self, id: i64, pause: Duration) {
        self.aside.lock().insert(id, Instant::now() + pause);
    }

    /// Makes one attempt. Whoever cannot take the message in time does not keep the lane meanwhile.
    async fn attempt(self: Arc<Self>, found: DueMessage, lane: OwnedSemaphorePermit) {
        let DueMessage { id, account_id } = found;
        let mut taking = std::pin::pin!(run(&self.app, account_id, Claim { message_id: id }));
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
                let is_down = self.send(found, message).await;
                self.is_down.fetch_or(is_down, Ordering::Relaxed);
                self.aside.lock().remove(&id);
            }
            // Another worker was first, or the message was deleted.
            Err(Error::Conflict(_) | Error::NotFound(_)) => {
                self.aside.lock().remove(&id);
            }
            Err(error) => {
                log("cannot take a message", &error);
                let is_held = matches!(error, Error::Unavailable { .. });
                let Pace { rest_first, rest_longest, .. } = self.pace;
                self.put_aside(id, if is_held { rest_first } else { rest_longest });
            }
        }
        drop(lane);
    }

    /// Hands a message over that was taken. True when the channel is down.
    async fn send(&self, found: DueMessage, message: Message) -> bool {
        let DueMessage { id, account_id } = found;
        if message.status != MessageStatus::Sending {
            tracing::warn!(message_id = id, "found an attempt without an outcome");
            return false;
        }
        // A fault in there must not end the attempt without an outcome.
        let sending = AssertUnwindSafe(self.sender.send(&message, self.app.clock.now()));
        let sent = sending.catch_unwind().await;
        let Report { outcome, is_channel_down } = sent.unwrap_or_else(|_| {
            Report::of(Fate::Unknown("a fault of ours cut the attempt off".to_owned()))
        });
        telemetry::count_attempt(message.channel, name(&outcome));
        if !matches!(outcome, Fate::Sent { .. }) {
            // What the other side said may hold the recipient's address, so it stays in the record.
            tracing::info!(message_id = id, outcome = name(&outcome), "not delivered");
        }
        settle(&self.app, account_id, id, message.attempt_count, outcome).await;
        is_channel_down
    }
}

/// Marks the messages of a channel that is not configured.
async fn hold(app: App, channel: Channel, pace: Pace, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let statuses = [MessageStatus::Waiting, MessageStatus::Sending];
        let mut pages = Pages::of(&app, channel, &statuses).await;
        while let Some(page) = pages.next().await {
            for DueMessage { id, account_id } in page {
                let _ = run(&app, account_id, HoldBack { message_id: id }).await;
            }
        }
        wait(pace.look_every, &mut stopped).await;
    }
}

/// The messages that are due, page by page, the longest due of each status first: each comes once,
/// whatever becomes of those before it.
struct Pages<'a> {
    app: &'a App,
    ids: VecDeque<i64>,
}

impl<'a> Pages<'a> {
    async fn of(app: &'a App, channel: Channel, statuses: &[MessageStatus]) -> Self {
        let mut ids = VecDeque::new();
        for status in statuses {
            let list = List::of_all_accounts::<Message>()
                .is("status", status.name())
                .is("channel", channel.name())
                .until("due_at", app.clock.now().into())
                .by(&["due_at"])
                .page(LOOK, 0);
            match app.store.list(&list).await {
                Ok(found) => ids.extend(found),
                Err(error) => log("cannot look for messages that are due", &error),
            }
        }
        Self { app, ids }
    }

    async fn next(&mut self) -> Option<Vec<DueMessage>> {
        if self.ids.is_empty() {
            return None;
        }
        let ids = self.ids.drain(..self.ids.len().min(PAGE));
        let read =
            |id| self.app.store.read(move |facts| facts.document(Kind::Message, &Key::Int(id)));
        let mut page = Vec::new();
        for document in join_all(ids.map(read)).await {
            match document {
                Ok(Some(document)) => {
                    let id = document.meta.key.as_int().unwrap_or_default();
                    page.push(DueMessage { id, account_id: document.meta.account_id });
                }
                Ok(None) => {}
                // One that cannot be read keeps no other from being sent.
                Err(error) => log("cannot read a message", &error),
            }
        }
        Some(page)
    }
}

async fn wait(pause: Duration, stopped: &mut watch::Receiver<bool>) {
    let _ = timeout(pause, stopped.wait_for(|stopped| *stopped)).await;
}

/// Records an outcome, however long the database is away: without this record nobody would know.
async fn settle(app: &App, account_id: i64, id: i64, attempt: i64, outcome: Fate) {
    let mut faults = 0;
    loop {
        let command = Settle { message_id: id, attempt, outcome: outcome.clone() };
        match run(app, account_id, command).await {
            Err(Error::Unavailable { retry_after_s }) if !app.pipeline.is_closed() => {
                sleep(Duration::from_secs(retry_after_s.into())).await;
            }
            // To record it twice is refused.
            Err(Error::Uncertain) if !app.pipeline.is_closed() => sleep(FAULT_PAUSE).await,
            Err(Error::Internal(_)) if faults < FAULTS_MAX => {
                faults += 1;
                sleep(FAULT_PAUSE * faults).await;
            }
            Err(error) => return log("cannot record an attempt", &error),
            Ok(_) => return,
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
