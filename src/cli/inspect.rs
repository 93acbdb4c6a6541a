//! `haksa migrate`, `check`, `history` and `undo`.

use std::convert::Infallible;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::key::KeyPlace;
use super::{DatabaseOptions, Desk, address, say};
use crate::check::{self, Findings, How, Progress};
use crate::domain::actor::Actor;
use crate::domain::command::{Expected, Undo};
use crate::domain::error::Error;
use crate::domain::fields::Fields;
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::log;
use crate::pipeline::Envelope;
use crate::store::{Store, Whom};

/// How often a terminal is told how far a check is, and whatever else standard error may be.
const TOLD_EVERY: Duration = Duration::from_secs(1);
const LOGGED_EVERY: Duration = Duration::from_secs(30);

/// Options of `haksa check`.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// Leave out what takes long: histories, but their newest changes, and pictures.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    database: DatabaseOptions,
}

/// Options of `haksa history`.
#[derive(Args, Debug)]
pub struct HistoryOptions {
    /// KIND/ID, e.g. achievement/1539.
    record: String,
    /// Changes to show at the most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    #[command(flatten)]
    database: DatabaseOptions,
}

/// Options of `haksa undo`.
#[derive(Args, Debug)]
pub struct UndoOptions {
    /// The change's id, as `haksa history` shows it.
    change: i64,
    #[command(flatten)]
    database: DatabaseOptions,
}

pub(super) async fn migrate(options: &DatabaseOptions) -> anyhow::Result<ExitCode> {
    let store = Store::open_for(Whom::Operator, address(&options.config()?)?).await?;
    let applied = store.migrate().await?;
    if applied.is_empty() {
        say("up to date")?;
    }
    for name in applied {
        say(format_args!("applied {name}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn check(options: &CheckOptions) -> anyhow::Result<ExitCode> {
    let config = options.database.config()?;
    let store = Store::open_to_look(address(&config)?).await?;
    let mut vault = None;
    let mut wrong_key = None;
    match KeyPlace::find(&config) {
        Some(place) if place.is_there() => match place.look(&store).await? {
            Ok(found) => vault = Some(found),
            Err(fault) => wrong_key = Some(fault),
        },
        _ if store.master_key_proof().await?.is_some() => {
            say("the master key is not here and was not checked, nor were sealed secrets")?;
        }
        _ => {}
    }
    let progress = Progress::default();
    let how = How { is_quick: options.quick, vault: vault.as_ref(), progress: Some(&progress) };
    let Findings { records, mut faults, mut count, notes } = tokio::select! {
        findings = check::run_as(&store, how) => findings?,
        never = tell_of(&progress) => match never {},
    };
    if let Some(fault) = wrong_key {
        faults.push(fault);
        count += 1;
    }
    for line in faults.iter().chain(&notes) {
        say(line)?;
    }
    if count == 0 {
        say(format_args!("{records} records, no faults"))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("{records} records, {count} faults"))?;
    Ok(ExitCode::from(1))
}

/// Tells how far a check is: each second on a terminal, in one line; elsewhere now and then.
async fn tell_of(progress: &Progress) -> Infallible {
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let pause = if is_terminal { TOLD_EVERY } else { LOGGED_EVERY };
    loop {
        tokio::time::sleep(pause).await;
        let [records, changes] = [&progress.records, &progress.changes]
            .map(|counter| counter.load(std::sync::atomic::Ordering::Relaxed));
        let words = format!("checked {records} records and {changes} changes so far");
        let line = if is_terminal { format!("\r{words} ") } else { format!("haksa: {words}\n") };
        let _ = log::Lines.write(line.as_bytes());
    }
}

pub(super) async fn history(options: HistoryOptions) -> anyhow::Result<ExitCode> {
    let (kind, key) = parse_record(&options.record)?;
    let store = options.database.open().await?;
    let document = store
        .read(|facts| facts.document(kind, &key))
        .await?
        .with_context(|| format!("there is no {}", options.record))?;
    let meta = &document.meta;
    for change in store.history(meta.account_id, meta.change_id, options.limit, i64::MAX).await? {
        say(format_args!(
            "change {}  version {}  {}  {} by {} through {} ({})",
            change.id,
            change.version,
            change.at,
            change.action.name(),
            change.actor,
            change.dialect,
            change.request_id
        ))?;
        for (name, after) in change.after.iter().flat_map(Fields::iter) {
            match change.before.as_ref().map(|before| before.get(name)) {
                Some(before) => say(format_args!("    {name}: {before} -> {after}"))?,
                None => say(format_args!("    {name}: {after}"))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_record(text: &str) -> anyhow::Result<(Kind, Key)> {
    let (kind, id) = text
        .split_once('/')
        .with_context(|| format!("{text:?} is not KIND/ID, e.g. achievement/1539"))?;
    let kind = Kind::parse(kind).with_context(|| {
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("no kind {kind:?}; there are {}", kinds.join(", "))
    })?;
    let key = Key::parse(kind.table().key, id)
        .with_context(|| format!("{id:?} cannot be the id of a {}", kind.name()))?;
    Ok((kind, key))
}

pub(super) async fn undo(options: UndoOptions) -> anyhow::Result<ExitCode> {
    let desk = Desk::start(options.database.open().await?)?;
    let change = desk
        .store
        .read(|facts| facts.change(options.change))
        .await?
        .with_context(|| format!("there is no change {}", options.change))?;
    let mut command = desk.store.read(|facts| Undo::of(&change, Expected::Any, facts)).await?;
    desk.store.go_back(&change, &mut command).await?;
    let envelope = Envelope::new(Actor::operator(change.account_id), "haksa undo");
    match desk.run(command, envelope).await {
        Ok(outcome) => {
            for change in outcome.changes {
                say(format_args!(
                    "change {} takes back change {} of {}/{}",
                    change.id,
                    options.change,
                    change.kind.name(),
                    change.record_id
                ))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Conflict(fields)) => anyhow::bail!(
            "not undone: in the way: {} (fields that later changes touched, or kinds of other records). \
             Look at `haksa history {}/{}` and undo those first",
            fields.join(", "),
            change.kind.name(),
            change.record_id
        ),
        Err(error) => Err(error.into()),
    }
}
