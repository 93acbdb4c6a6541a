//! Whether the server can do what it is asked. One task finds out, by the ways that requests go; whoever
//! asks is told what it last saw, so that asking costs nothing and is never waited for.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::sabotage;

/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How long each way may take.
const WITHIN: Duration = Duration::from_secs(2);
/// What was seen longer ago is worth nothing.
const GOOD_FOR: Duration = Duration::from_secs(6);

/// What was seen, and when.
#[derive(Debug, Default)]
pub struct Health(watch::Sender<Option<(Instant, bool)>>);

impl Health {
    /// Whether all ways were open when they were last tried. Waits for the first time only.
    pub async fn is_ready(&self) -> bool {
        let mut seen = self.0.subscribe();
        let seen = seen.wait_for(Option::is_some).await.ok().and_then(|seen| *seen);
        seen.is_some_and(|(at, is_ready)| is_ready && at.elapsed() < GOOD_FOR)
    }
}

/// Tries all ways again and again.
pub async fn watch(app: App) {
    loop {
        sabotage::stumble("health");
        // Where the writer stands still, nobody else sees to those who wait for it.
        app.pipeline.look();
        let (write, read, list) = tokio::join!(
            timeout(WITHIN, app.pipeline.probe()),
            timeout(WITHIN, app.store.probe_read()),
            timeout(WITHIN, app.store.probe_list()),
        );
        let ways = [("writes", write), ("reads", read), ("lists", list)];
        let closed: Vec<&str> =
            ways.iter().filter(|(_, open)| !matches!(open, Ok(Ok(())))).map(|way| way.0).collect();
        let is_ready = closed.is_empty();
        let before = app.health.0.send_replace(Some((Instant::now(), is_ready)));
        match before {
            Some((_, was_ready)) if was_ready == is_ready => {}
            None if is_ready => {}
            _ if is_ready => tracing::info!("ready again"),
            _ => tracing::warn!(?closed, "not ready"),
        }
        app.pipeline.look();
        sleep(TRY_EVERY).await;
    }
}
