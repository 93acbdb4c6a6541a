//! The one door at which passwords are judged, whatever the dialect: not too many at once, not too many
//! of one person, and those of whom nobody knows as well. Those who wait take turns by where they come
//! from, and whoever comes from where the person has signed in before is no stranger.

use std::net::IpAddr;

use super::{Call, Dialect};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::people::network::{SITE, SUBSCRIBER, network};
use crate::domain::people::person::Person;
use crate::domain::people::throttle::{CountGuess, Familiar, Guesser, Recognise, Throttle};
use crate::domain::record::Stored;
use crate::guesses::Turn;
use crate::payer::Payer;
use crate::pipeline::{Envelope, Reply};
use crate::sabotage::Protection;
use crate::vault::{hash_token, is_password};

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
    let hash = known.as_ref().and_then(|person| person.record.password_hash.clone());
    // A new password is not known from anywhere, and the old one again from where it was.
    let of = hash.as_deref().unwrap_or(NOBODYS_HASH);
    let place = network(call.peer, SUBSCRIBER);
    let mark = call.app.vault.mark(&format!("{account_id} {person_id} {of} {place}"));
    let guesser = Guesser::person(account_id, "password", person_id).from(mark.clone());
    let familiar = call.read(|facts| guesser.familiar(call.at, facts)).await?;
    // Those whom nobody knows wait as others do, or waiting would tell who is known. Names of any length
    // can be made up.
    let door = match (&known, familiar) {
        (None, _) => format!("?{}", hex::encode(hash_token(name))),
        (Some(_), Familiar::Not) => guesser.key().to_owned(),
        (Some(_), Familiar::Long | Familiar::Recently) => format!("{} {mark}", guesser.key()),
    };
    let site = network(call.peer, SITE);
    let turn = call.app.guesses.turn(door, site, &call.app.clock).await?;
    let actor = Actor { dialect, ..Actor::worker(account_id) };
    let turn = counted(call, turn, actor.clone(), guesser.clone(), known.is_none()).await?;
    let known = known.filter(|_| turn.guess.is_some());
    let hash = hash.filter(|_| known.is_some());
    let is_right = is_right(call, site, given, hash, turn).await?;
    if is_right && familiar != Familiar::Recently {
        let envelope = Envelope::new(actor, call.request_id.clone());
        if let Err(error) = call.app.pipeline.run(Recognise(guesser), envelope).await {
            tracing::warn!(error.cause = %error, "where a person signs in was not kept");
        }
    }
    Ok(known.filter(|_| is_right))
}

/// Has a guess of this turn counted, if it is none that was kept; none where there were too many. In a
/// task of its own: of whoever hangs up meanwhile the guess is kept. A guess at nobody's goes the same
/// way, and nothing is written.
async fn counted(
    call: &Call,
    mut turn: Turn,
    actor: Actor,
    guesser: Guesser,
    is_nobodys: bool,
) -> Result<Turn, Error> {
    if turn.guess.is_some() {
        return Ok(turn);
    }
    let envelope = Envelope {
        is_dry_run: is_nobodys,
        // How long it takes must not tell who is known.
        payer: Payer::stranger(call.peer),
        ..Envelope::new(actor, call.request_id.clone())
    };
    let app = call.app.clone();
    let counting = tokio::spawn(async move {
        match app.pipeline.run(CountGuess(guesser.clone()), envelope).await {
            Ok(Reply::Done(outcome, _)) if !is_nobodys => {
                let throttle = outcome.subject.typed::<Throttle>()?;
                turn.guess = Some(guesser.count_in(&throttle.record, app.clock.now()));
            }
            Ok(_) | Err(Error::TooManyRequests { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(turn)
    });
    counting.await.map_err(Error::internal)?
}

/// Whether a password is the one behind `hash`; where there is no hash it is wrong, and that takes as
/// long to say.
async fn is_right(
    call: &Call,
    site: IpAddr,
    password: &str,
    hash: Option<String>,
    turn: Turn,
) -> Result<bool, Error> {
    if hash.is_none() && !Protection::NobodysPassword.is_on() {
        return Ok(false);
    }
    let is_known = hash.is_some();
    let hash = hash.unwrap_or_else(|| NOBODYS_HASH.to_owned());
    let password = password.to_owned();
    let place = call.app.guesses.check(site).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_that_nobody_has_can_be_checked() {
        assert!(matches!(is_password("", NOBODYS_HASH), Ok(false)));
    }
}
