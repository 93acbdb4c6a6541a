//! Takes messages that are due, hands them over, and records what became of each. The record of an
//! attempt is on disk before the attempt is made (see ADR 23): so of two workers only one makes it,
//! and after a crash nobody makes it again without knowing.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Report, Sender};
use crate::app::App;
use crate::domain::actor::Actor;
use crate::domain::command::Command;
use crate::domain::delivery::attempt::{Claim, Fate, HoldBack, Settle};
use crate::domain::delivery::message::{Channel, Message, MessageStatus};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::record::{Key, Stored};
use crate::pipeline::{Envelope, Reply};
use crate::telemetry;

/// Messages that are looked up at a time.
const PAGE: i64 = 100;
/// Messages of one channel on their way at the same time.
const LANES: usize = 4;
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
    /// After a channel was found down; twice as long each time, up to [`Pace::rest_longest`].
    pub rest_first: Duration,
    /// The longest rest of a channel that stays down.
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
                tasks.spawn(hold(app.clone(), channel, pace, stopped.clone()));
            }
        }
        for sender in senders {
            tasks.spawn(deliver(app.clone(), sender, pace, stopped.clone()));
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

/// Delivers the messages of one channel.
async fn deliver(app: App, sender: Sender, pace: Pace, mut stopped: watch::Receiver<bool>) {
    let channel = sender.channel();
    let statuses = [MessageStatus::Waiting, MessageStatus::Held, MessageStatus::Sending];
    let mut rest = pace.rest_first;
    while !*stopped.borrow() {
        let due = due(&app, channel, &statuses).await;
        let is_full = i64::try_from(due.len()).is_ok_and(|found| found >= PAGE);
        let is_down = AtomicBool::new(false);
        futures_util::stream::iter(due)
            .for_each_concurrent(LANES, async |found| {
                if !*stopped.borrow()
                    && !is_down.load(Ordering::Relaxed)
                    && attempt(&app, &sender, found).await
                {
                    is_down.store(true, Ordering::Relaxed);
                }
            })
            .await;
        let pause = if is_down.into_inner() {
            tracing::warn!(channel = channel.name(), pause_s = rest.as_secs(), "cannot deliver");
            let pause = rest;
            rest = (rest * 2).min(pace.rest_longest);
            pause
        } else {
            rest = pace.rest_first;
            if is_full { Duration::ZERO } else { pace.look_every }
        };
        if !pause.is_zero() {
            sender.rest().await;
            wait(pause, &mut stopped).await;
        }
    }
    sender.rest().await;
}

/// Marks the messages of a channel that is not configured.
async fn hold(app: App, channel: Channel, pace: Pace, mut stopped: watch::Receiver<bool>) {
    let statuses = [MessageStatus::Waiting, MessageStatus::Sending];
    while !*stopped.borrow() {
        for found in due(&app, channel, &statuses).await {
            let hold = HoldBack { message_id: found.id() };
            let _ = run(&app, found.meta.account_id, hold).await;
        }
        wait(pace.look_every, &mut stopped).await;
    }
}

async fn wait(pause: Duration, stopped: &mut watch::Receiver<bool>) {
    let _ = timeout(pause, stopped.wait_for(|stopped| *stopped)).await;
}

async fn due(app: &App, channel: Channel, statuses: &[MessageStatus]) -> Vec<Stored<Message>> {
    find_due(app, channel, statuses).await.unwrap_or_else(|error| {
        log("cannot look for messages that are due", &error);
        Vec::new()
    })
}

/// Messages of all accounts that go this way, have one of these statuses and are due, the longest due
/// first.
async fn find_due(
    app: &App,
    channel: Channel,
    statuses: &[MessageStatus],
) -> Result<Vec<Stored<Message>>, Error> {
    let mut ids = Vec::new();
    for status in statuses {
        let list = List::of_all_accounts::<Message>()
            .is("status", status.name())
            .is("channel", channel.name())
            .until("due_at", app.clock.now().into())
            .by(&["due_at"])
            .page(PAGE, 0);
        ids.extend(app.store.list(&list).await?);
    }
    let read = |id| app.store.read(move |facts| facts.document(Kind::Message, &Key::Int(id)));
    let mut found = Vec::with_capacity(ids.len());
    for document in join_all(ids.into_iter().map(read)).await {
        match document.and_then(|one| one.map(|one| one.typed::<Message>()).transpose()) {
            Ok(message) => found.extend(message),
            // One that cannot be read keeps no other from being sent.
            Err(error @ Error::Internal(_)) => log("cannot read a message", &error),
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|message| (message.record.due_at, message.id()));
    found.truncate(usize::try_from(PAGE).unwrap_or_default());
    Ok(found)
}

/// Makes one attempt. True when the channel is down.
async fn attempt(app: &App, sender: &Sender, found: Stored<Message>) -> bool {
    let (id, account_id) = (found.id(), found.meta.account_id);
    let message = match run(app, account_id, Claim { message_id: id }).await {
        Ok(message) => message,
        // Another worker was first, or the message was deleted.
        Err(Error::Conflict(_) | Error::NotFound(_)) => return false,
        Err(error) => {
            log("cannot take a message", &error);
            // Without a database there is nothing to be done for the next one either.
            return matches!(error, Error::Unavailable { .. });
        }
    };
    if message.status != MessageStatus::Sending {
        tracing::warn!(message_id = id, "found an attempt without an outcome");
        return false;
    }
    // A fault in there must not end the worker, which all messages share.
    let sending = AssertUnwindSafe(sender.send(&message, app.clock.now())).catch_unwind();
    let Report { outcome, is_channel_down } = sending.await.unwrap_or_else(|_| {
        Report::of(Fate::Unknown("a fault of ours cut the attempt off".to_owned()))
    });
    telemetry::count_attempt(message.channel, name(&outcome));
    if !matches!(outcome, Fate::Sent { .. }) {
        // What the other side said may hold the recipient's address, so it stays in the record.
        tracing::info!(message_id = id, outcome = name(&outcome), "not delivered");
    }
    settle(app, account_id, id, message.attempt_count, outcome).await;
    is_channel_down
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
