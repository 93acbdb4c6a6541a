//! What a command decides, and how its outcome is worded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use foldhash::HashMap;
use jiff::Timestamp;

use super::alone::Sought;
use super::naming::Naming;
use super::{Answer, Envelope, Outcome, Pending, Touched};
use crate::domain::change::{self, Action, Change};
use crate::domain::command::{Command, Content, Context, Decision, Entropy};
use crate::domain::error::Error;
use crate::domain::facts::{Checkpoint, Facts, Known, Sequence, Stop};
use crate::domain::fields::Fields;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};

/// An accepted command, worded, before anything of it counts.
pub(super) struct Evaluated {
    pub(super) outcome: Outcome,
    /// None where others would have to wait for it: it is worded after the commit.
    pub(super) answer: Option<Answer>,
    pub(super) recorded: Recorded,
}

/// Decides a command and words its outcome. Ids are taken from `facts`; it is the caller's to keep
/// or release them.
pub(super) fn evaluate(
    command: &dyn Command,
    envelope: &Envelope,
    follow_max: usize,
    at: Timestamp,
    entropy: &mut dyn Entropy,
    facts: &mut Facts,
) -> Known<Evaluated> {
    let evaluation = || {
        let mut context = Context { actor: &envelope.actor, at, entropy, follow_max };
        let decided = command.decide(&mut context, facts);
        facts.lift(Checkpoint::default());
        let mut decision = decided?;
        let changed_count = decision.writes.len();
        let kept = std::mem::take(&mut decision.kept);
        let refused = std::mem::take(&mut decision.refused);
        let (subject, recorded) = record(decision, envelope, at, facts)?;
        let written = recorded.documents.iter().map(|pending| Arc::clone(&pending.document));
        let written = written.collect();
        let changes = recorded.changes.clone();
        let bytes = recorded.bytes();
        let outcome = Outcome { subject, changes, written, changed_count, kept, refused, bytes };
        let answer = match facts.word(|facts| (envelope.encode)(&outcome, facts)) {
            Err(Stop::Long) => None,
            worded => Some(worded?),
        };
        Ok(Evaluated { outcome, answer, recorded })
    };
    // A fault in one rule must not end the writer, which all callers share.
    catch_unwind(AssertUnwindSafe(evaluation))
        .unwrap_or_else(|_| Err(Error::internal("a decision panicked").into()))
}

pub(super) struct Recorded {
    pub(super) documents: Vec<Pending>,
    pub(super) changes: Vec<Arc<Change>>,
    pub(super) contents: Vec<Content>,
    pub(super) naming: Naming,
    pub(super) sought: Vec<Sought>,
}

impl Recorded {
    /// What it adds to history, and contents, bytes.
    fn bytes(&self) -> u64 {
        let fields = |fields: &Option<Fields>| fields.as_ref().map_or(0, Fields::len);
        let changes = self.changes.iter().map(|it| fields(&it.before) + fields(&it.after));
        let contents = self.contents.iter().map(|content| content.bytes.len());
        changes.chain(contents).map(|length| u64::try_from(length).unwrap_or(u64::MAX)).sum()
    }
}

/// Gives each write its version and its change.
fn record(
    decision: Decision,
    envelope: &Envelope,
    at: Timestamp,
    facts: &mut Facts,
) -> Known<(Arc<Document>, Recorded)> {
    let Decision { mut subject, writes, contents, undoes, sought, .. } = decision;
    let account_id = envelope.actor.account_id;
    let sought = sought.into_iter().map(|by| Sought { account_id, by }).collect();
    if writes.len() > 1 {
        facts.want_ids(&[(Sequence::Change, writes.len())])?;
    }
    let mut documents = Vec::with_capacity(writes.len());
    let mut changes = Vec::with_capacity(writes.len());
    // A command of several writes may write one record more than once.
    let is_single = writes.len() == 1;
    let mut latest: HashMap<(Kind, Key), Arc<Document>> = HashMap::default();
    let mut naming = Naming::default();
    for write in writes {
        let mut after = write.after;
        let written = (!is_single)
            .then(|| latest.remove(&(after.meta.kind, after.meta.key.clone())))
            .flatten();
        let before = written.or(write.before);
        if let Some(before) = &before {
            after.keep_unknown(before);
        }
        let (before_value, after_value) = change::diff(before.as_deref(), &after, write.action)?;
        let touched = match &before {
            Some(_) if write.action == Action::Edit => {
                let columns = after.meta.kind.table().columns;
                let differing = after_value.iter().flat_map(Fields::iter);
                let place = |(name, _)| columns.iter().position(|column| column.name == name);
                match differing.filter_map(place).fold(0, |all, place| all | 1 << place) {
                    0 => Touched::Body,
                    columns => Touched::Columns(columns),
                }
            }
            Some(before) if after.fields()?.changes(before.fields()?).next().is_none() => {
                Touched::State
            }
            _ => Touched::All,
        };
        let previous = before.as_ref().map(|document| document.meta.change_id);
        let stored_version = before.as_ref().map(|document| document.meta.version);
        after.meta.version = stored_version.unwrap_or(0) + 1;
        after.meta.change_id = facts.take(Sequence::Change)?;
        if write.action != Action::Create {
            after.meta.updated_at = at;
        }
        changes.push(Change {
            id: after.meta.change_id,
            account_id: after.meta.account_id,
            kind: after.meta.kind,
            record_id: after.meta.key.to_string(),
            version: after.meta.version,
            previous_id: previous,
            act_id: None,
            act_end: None,
            undoes,
            at,
            actor: envelope.actor.label(),
            dialect: envelope.actor.dialect.name().to_owned(),
            request_id: envelope.request_id.clone(),
            action: write.action,
            before: before_value,
            after: after_value,
        });
        debug_assert!(write.action != Action::Create || stored_version.is_none());
        naming.note(before.as_deref(), &after, touched == Touched::Body)?;
        let after = Arc::new(after);
        let is_subject = subject.as_ref().is_none_or(|subject: &Arc<Document>| {
            subject.meta.kind == after.meta.kind && subject.meta.key == after.meta.key
        });
        if is_subject {
            subject = Some(Arc::clone(&after));
        }
        if !is_single {
            latest.insert((after.meta.kind, after.meta.key.clone()), Arc::clone(&after));
        }
        documents.push(Pending { document: after, stored_version, touched });
    }
    let subject = subject.ok_or_else(|| Error::internal("a decision about nothing"))?;
    if let [first, .., last] = &mut *changes {
        let (act_id, act_end) = (first.id, last.id);
        first.act_end = Some(act_end);
        for change in &mut changes {
            change.act_id = Some(act_id);
        }
    }
    let changes = changes.into_iter().map(Arc::new).collect();
    Ok((subject, Recorded { documents, changes, contents, naming, sought }))
}
