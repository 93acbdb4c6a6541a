//! The one door at which passwords are judged, whatever the dialect: not too many at once, not too many
//! of one person, and those of whom nobody knows as well.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Call, Dialect};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::people::person::Person;
use crate::domain::people::throttle::{CountGuess, Guesser, Throttle};
use crate::domain::record::Stored;
use crate::guesses::Turn;
use crate::pipeline::{Envelope, Reply, STRANGERS};
use crate::sabotage::Protection;
use crate::vault::{hash_token, is_password};

/// Who has a password checked: each check takes a core and 19 MiB for tens of milliseconds, so two
/// are done at once. Those who wait for longer than 32 others take had better come again.
static CHECKS: Queue = Queue::new(2, 32);

/// The hash of a password that nobody has: checked for unknown callers, so that the time of an
/// answer does not tell who is known.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1\
    $aGFrc2Etbm9ib2R5c2FsdA$DAGCTE3+cBpEz3fZBne3PTVm2QE7ZTc/g4k3W9Bokj4";

/// `known`, whom the caller called `name`, again, where `given` is the password of that person. Wrong
/// ones are counted, at all doors together: each guess before it is judged, so that however many come
/// at once, none is judged that was not counted. Who has guessed too often is told the same of a right
/// one, and so is anybody of a person whom nobody knows.
///
/// # Errors
/// [`Error::Unavailable`] when too many passwords wait to be checked, or when the guess cannot be
/// counted.
pub async fn owner(
    call: &Call,
    dialect: Dialect,
    name: &str,
    known: Option<Stored<Person>>,
    given: &str,
) -> Result<Option<Stored<Person>>, Error> {
    let (account_id, person_id) =
        known.as_ref().map_or((0, 0), |person| (person.meta.account_id, person.id()));
    let guesser = Guesser::person(account_id, "password", person_id);
    // Those whom nobody knows wait as others do, or waiting would tell who is known. Names of any length
    // can be made up.
    let nobodys = || format!("?{}", hex::encode(hash_token(name)));
    let door = known.as_ref().map_or_else(nobodys, |_| guesser.key().to_owned());
    let mut turn = call.app.guesses.turn(door, &call.app.clock).await?;
    if turn.guess.is_none() {
        let actor = Actor { dialect, ..Actor::worker(account_id) };
        turn.guess = count(call, actor, guesser, known.is_none()).await?;
    }
    let known = known.filter(|_| turn.guess.is_some());
    let hash = known.as_ref().and_then(|person| person.record.password_hash.clone());
    let is_right = is_right(given, hash, turn).await?;
    Ok(known.filter(|_| is_right))
}

/// Counts a guess at `guesser`'s; none where there were too many. A guess at nobody's goes the same
/// way, and nothing is written.
async fn count(
    call: &Call,
    actor: Actor,
    guesser: Guesser,
    is_nobodys: bool,
) -> Result<Option<Throttle>, Error> {
    let envelope = Envelope {
        is_dry_run: is_nobodys,
        // How long it takes must not tell who is known.
        payer: STRANGERS,
        ..Envelope::new(actor, call.request_id.clone())
    };
    match call.app.pipeline.run(CountGuess(guesser), envelope).await {
        Ok(Reply::Done(outcome, _)) if !is_nobodys => {
            Ok(Some(Throttle::clone(&outcome.subject.typed()?.record)))
        }
        Ok(_) | Err(Error::TooManyRequests { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a password is the one behind `hash`; where there is no hash it is wrong, and that takes as
/// long to say.
async fn is_right(password: &str, hash: Option<String>, turn: Turn) -> Result<bool, Error> {
    if hash.is_none() && !Protection::NobodysPassword.is_on() {
        return Ok(false);
    }
    let is_known = hash.is_some();
    let hash = hash.unwrap_or_else(|| NOBODYS_HASH.to_owned());
    let password = password.to_owned();
    let place = CHECKS.turn().await?;
    let check = tokio::task::spawn_blocking(move || {
        // Both end with the check, even when the caller has gone meanwhile.
        let _place = place;
        let is_right = is_password(&password, &hash).map_err(Error::internal)? && is_known;
        if !is_right {
            turn.spend();
        }
        Ok(is_right)
    });
    check.await.map_err(Error::internal)?
}

/// Lets a few in at once and some more wait; turns the rest away.
struct Queue {
    places: Semaphore,
    turns: Semaphore,
}

impl Queue {
    const fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            places: Semaphore::const_new(at_once + waiting),
            turns: Semaphore::const_new(at_once),
        }
    }

    /// Waits for a turn, which lasts until both are dropped.
    async fn turn(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), Error> {
        let place =
            self.places.try_acquire().map_err(|_| Error::Unavailable { retry_after_s: 1 })?;
        let turn = self.turns.acquire().await.map_err(Error::internal)?;
        Ok((turn, place))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_queue_turns_away_whom_it_cannot_seat() {
        let queue = Queue::new(1, 2);
        let first = queue.turn().await.unwrap();
        let mut second = std::pin::pin!(queue.turn());
        let mut third = std::pin::pin!(queue.turn());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        let is_full =
            || matches!(queue.turn().now_or_never(), Some(Err(Error::Unavailable { .. })));
        assert!(is_full());
        // Who leaves makes room, whether waiting or done.
        drop(first);
        let second = second.await.unwrap();
        let mut fourth = Box::pin(queue.turn());
        assert!(fourth.as_mut().now_or_never().is_none());
        assert!(is_full());
        drop(fourth);
        let mut fifth = std::pin::pin!(queue.turn());
        assert!(fifth.as_mut().now_or_never().is_none());
        drop(second);
        drop(third.await.unwrap());
        drop(fifth.await.unwrap());
    }

    #[test]
    fn the_hash_that_nobody_has_can_be_checked() {
        assert!(matches!(is_password("", NOBODYS_HASH), Ok(false)));
    }
}
