//! What becomes of a server whose threads and tasks do not all go on. Nothing that works in the
//! background ends unnoticed: without some of them the program stops, so that whoever watches over it
//! starts it anew; others are started again where they stood.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::watch;

use crate::sabotage::Protection;

/// How often a task may end in a panic within [`SPAN`] before it is better to begin with everything anew.
const RESTARTS_MAX: usize = 5;
const SPAN: Duration = Duration::from_mins(1);

/// Rung when the server cannot go on. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<watch::Sender<Option<String>>>);

impl Alarm {
    /// Rings it. The first cause stands.
    pub fn ring(&self, cause: impl Into<String>) {
        self.0.send_if_modified(|rung| {
            let is_first = rung.is_none();
            rung.get_or_insert_with(|| cause.into());
            is_first
        });
    }

    /// Why it was rung; none as long as all is well.
    pub fn cause(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits until it is rung, and gives the cause.
    pub async fn rung(&self) -> String {
        let mut seen = self.0.subscribe();
        let rung = seen.wait_for(Option::is_some).await;
        rung.ok().and_then(|cause| cause.clone()).unwrap_or_default()
    }

    /// Watches over a thread or a task that nothing goes on without, as long as it has this: it rings
    /// when that is dropped, as it is in a panic, and not given back.
    pub fn guard(&self, name: &'static str) -> Guard {
        Guard { name, alarm: Some(self.clone()) }
    }

    /// Runs a task, and starts it again when it ends in a panic; rings when that happens more than
    /// [`RESTARTS_MAX`] times a minute. Ends when the task does so by itself.
    pub async fn keep_up<F: Future<Output = ()>>(self, name: &'static str, start: impl Fn() -> F) {
        let mut ends = VecDeque::new();
        loop {
            let ended = AssertUnwindSafe(async { start().await }).catch_unwind().await;
            if ended.is_ok() || !Protection::Supervision.is_on() {
                return;
            }
            let now = Instant::now();
            ends.retain(|end| now.duration_since(*end) < SPAN);
            ends.push_back(now);
            if ends.len() > RESTARTS_MAX {
                return self.ring(format!("{name} ended in a panic {} times", ends.len()));
            }
            tracing::error!(task = name, "ended in a panic, and is started again");
        }
    }
}

/// See [`Alarm::guard`].
#[derive(Debug)]
pub struct Guard {
    name: &'static str,
    alarm: Option<Alarm>,
}

impl Guard {
    /// The thread or the task has done all it had to do.
    pub fn done(mut self) {
        self.alarm = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm.take().filter(|_| Protection::Supervision.is_on()) {
            alarm.ring(format!("{} ended before its time", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_is_started_again_but_not_for_ever() {
        for (panics, is_rung) in [(0, false), (1, false), (5, false), (6, true), (100, true)] {
            let (alarm, starts) = (Alarm::default(), AtomicUsize::new(0));
            let start = || async {
                assert!(starts.fetch_add(1, Ordering::SeqCst) >= panics, "not yet");
            };
            alarm.clone().keep_up("a task", start).await;
            assert_eq!(alarm.cause().is_some(), is_rung, "{panics} panics");
            assert_eq!(starts.into_inner(), panics.min(5) + 1);
        }
    }

    #[tokio::test]
    async fn who_ends_in_a_panic_rings() {
        let alarm = Alarm::default();
        let guard = alarm.guard("one");
        std::thread::spawn(move || guard.done()).join().unwrap();
        assert_eq!(alarm.cause(), None);
        let guard = alarm.guard("another");
        let ended = std::thread::spawn(move || {
            let _guard = guard;
            assert!(std::hint::black_box(false), "a fault");
        });
        assert!(ended.join().is_err());
        assert_eq!(alarm.rung().await, "another ended before its time");
        alarm.ring("something else");
        assert_eq!(alarm.rung().await, "another ended before its time");
    }
}
