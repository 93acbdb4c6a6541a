//! Commands that stop between their decision and their commit.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use haksa::domain::command::{Command, Context, Decision};
use haksa::domain::facts::{Facts, Known, Need};
use tokio::sync::oneshot;

/// A command that waits, once it is decided, until it is let go; one without a gate does not.
pub struct Paused {
    inner: Box<dyn Command>,
    is_large: bool,
    gate: Mutex<Option<(oneshot::Sender<()>, mpsc::Receiver<()>)>>,
}

impl Paused {
    /// One that waits: told when it is decided, and let go by whoever waits for that.
    pub fn new(
        inner: Box<dyn Command>,
        is_large: bool,
    ) -> (Self, oneshot::Receiver<()>, mpsc::Sender<()>) {
        let (decided, is_decided) = oneshot::channel();
        let (let_go, go) = mpsc::channel();
        (Self { inner, is_large, gate: Mutex::new(Some((decided, go))) }, is_decided, let_go)
    }

    /// One that does not wait.
    pub fn never(inner: Box<dyn Command>) -> Self {
        Self { inner, is_large: false, gate: Mutex::new(None) }
    }
}

impl Command for Paused {
    fn needs(&self) -> Vec<Need> {
        self.inner.needs()
    }

    fn is_large(&self) -> bool {
        self.is_large
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let decision = self.inner.decide(context, facts)?;
        if let Some((decided, go)) = self.gate.lock().unwrap().take() {
            decided.send(()).expect("the test waits");
            let waited = tokio::task::block_in_place(|| go.recv_timeout(Duration::from_secs(20)));
            waited.expect("let go");
        }
        Ok(decision)
    }
}
