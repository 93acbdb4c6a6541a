//! `haksa migrate`, `check`, `history` and `undo`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::key::KeyPlace;
use super::{DatabaseOptions, Desk, address, say};
use crate::check::{self, Findings};
use crate::domain::actor::Actor;
use crate::domain::command::{Expected, Undo};
use crate::domain::error::Error;
use crate::domain::fields::Fields;
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::pipeline::Envelope;
use crate::store::Store;

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
    let store = Store::open(address(&options.config()?)?).await?;
    let applied = store.migrate().await?;
    if applied.is_empty() {
        say("up to date")?;
    }
    for name in applied {
        say(format_args!("applied {name}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn check(options: &DatabaseOptions) -> anyhow::Result<ExitCode> {
    let store = options.open().await?;
    let Findings { records, mut faults } = check::run(&store).await?;
    match KeyPlace::find(&options.config()?) {
        Some(place) if place.is_there() => faults.extend(place.fault(&store).await?),
        _ if store.master_key_proof().await?.is_some() => {
            say("the master key is not here and was not checked")?;
        }
        _ => {}
    }
    if faults.is_empty() {
        say(format_args!("{records} records, no faults"))?;
        return Ok(ExitCode::SUCCESS);
    }
    for fault in &faults {
        say(fault)?;
    }
    say(format_args!("{records} records, {} faults", faults.len()))?;
    Ok(ExitCode::from(1))
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
    let command = desk.store.read(|facts| Undo::of(&change, Expected::Any, facts)).await?;
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
