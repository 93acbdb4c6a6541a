//! Commands without a wire.

use haksa::domain::actor::Actor;
use haksa::domain::command::{Command, Create};
use haksa::domain::error::Error;
use haksa::domain::record::{Key, Record};
use haksa::pipeline::{Envelope, Outcome, Reply};

use super::Server;

/// Runs a command for `actor`.
pub async fn run_as(
    server: &Server,
    actor: Actor,
    command: impl Command,
) -> Result<Outcome, Error> {
    match server.app.pipeline.run(command, Envelope::new(actor, "test")).await? {
        Reply::Done(outcome, _) => Ok(outcome),
        other => panic!("{other:?}"),
    }
}

/// Runs a command for the operator of the demo account.
pub async fn try_run(server: &Server, command: impl Command) -> Result<Outcome, Error> {
    run_as(server, Actor::operator(3), command).await
}

/// The same, which must be accepted.
pub async fn run(server: &Server, command: impl Command) -> Outcome {
    try_run(server, command).await.expect("accepted")
}

/// Makes a record of the demo account.
pub async fn make<R: Record>(server: &Server, record: R) -> Key {
    run(server, Create::new(record)).await.subject.meta.key.clone()
}
