//! Taking back what one command did, whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Command, Context, Decision, Expected, Kept, Write, permit_document};
use crate::domain::access::Right;
use crate::domain::change::{Action, Change, MASK};
use crate::domain::error::Error;
use crate::domain::facts::{self, Facts, Known, Need, Stop};
use crate::domain::fields::Fields;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::domain::table::Data;

/// What stands in the way of a second undo.
const UNDONE: &str = "undone";
/// What stands in the way where a record was made, removed or brought back since.
const RECORD: &str = "record";
/// Changes since the act that are looked through in a batch.
const WALK_MAX: usize = 1_000;

/// Takes back an act: each record gets the fields back that it had before, what was made ends, and
/// what ended comes back, all or nothing. What has moved on since is in the way, by record and field;
/// what is declared lasting stays, and is told of.
#[derive(Debug)]
pub struct Undo {
    /// One of the act's changes.
    pub change_id: i64,
    /// From which version of that change's record.
    pub expected: Expected,
    /// Locked from the start: the act's records, and those that they name, whose rules they may touch
    /// when they come back (the places of a class).
    pub held: Vec<(Kind, Key)>,
    /// More than a batch may have.
    pub is_large: bool,
    /// Of each record that has changed since: what did.
    pub trails: Vec<Trail>,
}

/// The way back from a record's newest change to an act, as somebody has gone it who holds up nobody
/// meanwhile: it may be long. What has changed since is little.
#[derive(Debug)]
pub struct Trail {
    record: (Kind, Key),
    /// The change from which it goes back.
    newest: i64,
    /// The change that is next; none at its end.
    next: Option<i64>,
    walk: Walk,
    is_undone: bool,
}

impl Undo {
    /// An undo of the act that `change` belongs to, with all that it is sure to touch, unless that is
    /// much.
    ///
    /// # Errors
    /// [`Stop::Missing`] until the records are loaded.
    pub fn of(change: &Arc<Change>, expected: Expected, facts: &Facts) -> Known<Self> {
        let mut this = Self {
            change_id: change.id,
            expected,
            held: Vec::new(),
            is_large: false,
            trails: Vec::new(),
        };
        let Some(act) = act_of(change, super::FOLLOW_MAX, facts)? else {
            return Ok(Self { is_large: true, ..this });
        };
        facts.want(act.iter().filter_map(place))?;
        for (kind, key) in act.iter().filter_map(place) {
            if let Some(document) = facts.document(kind, &key)? {
                this.held.extend(kind.references(&document)?);
                let newest = document.meta.change_id;
                let is_new = !this.trails.iter().any(|trail| trail.record == (kind, key.clone()));
                if is_new && !act.iter().any(|change| change.id == newest) {
                    let (record, walk) = ((kind, key.clone()), Walk::default());
                    let next = Some(newest);
                    this.trails.push(Trail { record, newest, next, walk, is_undone: false });
                }
                this.held.push((kind, key));
            }
        }
        Ok(this)
    }

    /// The change from which some record's way back goes on; none when all are gone.
    pub fn way_on(&self) -> Option<i64> {
        self.trails.iter().find_map(|trail| trail.next)
    }

    /// Goes on, over a record's changes from [`Undo::way_on`] back, newest first.
    pub fn go(&mut self, act_id: i64, changes: &[Change]) {
        let Some(trail) = self.trails.iter_mut().find(|trail| trail.next.is_some()) else { return };
        trail.next = None;
        for change in changes {
            match trail.walk.step(change, act_id) {
                Ok(false) => trail.next = change.previous_id,
                Ok(true) => return trail.next = None,
                Err(_) => {
                    trail.is_undone = true;
                    return trail.next = None;
                }
            }
        }
    }
}

impl Command for Undo {
    fn needs(&self) -> Vec<Need> {
        let held = self.held.iter().map(|(kind, key)| Need::Record(*kind, key.clone()));
        held.chain([Need::Change(self.change_id)]).collect()
    }

    fn is_large(&self) -> bool {
        self.is_large
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let change = facts
            .change(self.change_id)?
            .filter(|change| change.account_id == context.actor.account_id)
            .ok_or_else(|| Error::Conflict(vec!["change".to_owned()]))?;
        let act = act_of(&change, context.follow_max, facts)?.ok_or(Stop::Large)?;
        facts.want(act.iter().filter_map(place))?;
        let mut records: Vec<Taken> = Vec::new();
        let mut places = HashMap::new();
        for change in act {
            let place = place(&change).ok_or_else(|| no_record(&change))?;
            if let Some(index) = places.get(&place) {
                if let Some(taken) = records.get_mut::<usize>(*index) {
                    taken.changes.push(change);
                }
                continue;
            }
            let document = facts.document(place.0, &place.1)?.ok_or_else(|| no_record(&change))?;
            places.insert(place, records.len());
            records.push(Taken { document, changes: vec![change] });
        }
        let own = places.get(&place(&change).ok_or_else(|| no_record(&change))?);
        let own = own.and_then(|index| records.get(*index)).ok_or_else(|| no_record(&change))?;
        self.expected.check(&own.document, facts)?;
        let subject = Arc::clone(&own.document);
        let back = Back {
            act_id: act_id(&change),
            subject: Arc::clone(&subject),
            trails: &self.trails,
            kept: Vec::new(),
            naming: Vec::new(),
        };
        let (writes, kept) = back.decide(&records, context, facts)?;
        let undoes = Some(act_id(&change));
        Ok(Decision { subject: Some(subject), writes, undoes, kept, ..Decision::default() })
    }
}

/// The first change of a change's act.
pub fn act_id(change: &Change) -> i64 {
    change.act_id.unwrap_or(change.id)
}

/// The fields of an edit that stay when it is taken back.
fn lasting(change: &Change) -> HashSet<String> {
    let table = change.kind.table();
    let names = || change.after.iter().flat_map(Fields::iter).map(|(name, _)| name);
    let is_lasting = |name: &&str| table.lasting.contains(name);
    let follows = |name: &&str| table.follows_lasting.contains(name);
    let has_lasting = names().any(|name| is_lasting(&name));
    let stays = names().filter(|name| is_lasting(name) || has_lasting && follows(name));
    stays.map(str::to_owned).collect()
}

fn place(change: &Arc<Change>) -> Option<(Kind, Key)> {
    let key = Key::parse(change.kind.table().key, &change.record_id)?;
    Some((change.kind, key))
}

fn no_record(change: &Change) -> Error {
    Error::internal(format!("change {} names a record that does not exist", change.id))
}

/// The changes of a change's act, newest first; none where there are more than `follow_max` beside one.
fn act_of(
    change: &Arc<Change>,
    follow_max: usize,
    facts: &Facts,
) -> Known<Option<Vec<Arc<Change>>>> {
    let Some(first) = change.act_id else {
        return Ok(Some(vec![Arc::clone(change)]));
    };
    let broken = || Error::internal(format!("change {first} does not say where its act ends"));
    let last = facts.change(first)?.and_then(|first| first.act_end).ok_or_else(broken)?;
    let most = follow_max.saturating_add(1);
    let limit = i64::try_from(most.saturating_add(1)).unwrap_or(i64::MAX);
    let changes = facts.act(first, last, limit)?;
    Ok((changes.len() <= most).then(|| changes.into_iter().map(Arc::new).collect()))
}

/// A record that the act changed.
struct Taken {
    /// As it is now.
    document: Arc<Document>,
    /// The act's changes of it, newest first.
    changes: Vec<Arc<Change>>,
}

/// An undo on its way.
struct Back<'a> {
    act_id: i64,
    subject: Arc<Document>,
    trails: &'a [Trail],
    kept: Vec<Kept>,
    /// The kinds of those who name what stays.
    naming: Vec<String>,
}

impl Back<'_> {
    fn decide(
        mut self,
        records: &[Taken],
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<(Vec<Write>, Vec<Kept>)> {
        let mut conflicts = Vec::new();
        let taken_back = facts::all(records, |taken| match self.take_back(taken, context, facts) {
            Err(Stop::Refused(Error::Conflict(fields))) => {
                conflicts.extend(fields);
                Ok(None)
            }
            others => others,
        });
        let mut writes: Vec<Write> = taken_back?.into_iter().flatten().collect();
        if !conflicts.is_empty() {
            return Err(Error::Conflict(conflicts).into());
        }
        let checkpoint = facts.checkpoint();
        // Each is judged as things will be when all is done: a class and its codes come back together.
        loop {
            for write in &writes {
                facts.lay(&Arc::new(write.after.clone()));
            }
            let kept = self.named_by_others(&writes, facts)?;
            if kept.is_empty() {
                break;
            }
            facts.lift(checkpoint);
            writes.retain(|write| !kept.contains(&of(&write.after)));
        }
        if writes.is_empty() && self.kept.iter().any(|kept| kept.field.is_none()) {
            // Nothing of the act would be taken back.
            self.naming.dedup();
            let in_the_way =
                if self.naming.is_empty() { vec![RECORD.to_owned()] } else { self.naming };
            return Err(Error::Conflict(in_the_way).into());
        }
        facts::all(&writes, |write| {
            let right = match write.action {
                Action::Restore => Right::Create,
                Action::Create | Action::Edit => Right::Edit,
                Action::Delete => return Ok(()),
            };
            let (Some(before), after) = (&write.before, &write.after) else { return Ok(()) };
            permit_document(context, facts, after, right)?;
            after.meta.kind.judge(before, after, facts)
        })?;
        facts.lift(checkpoint);
        Ok((writes, self.kept))
    }

    /// The record as it was before the act; none where it is so, or stays.
    fn take_back(
        &mut self,
        taken: &Taken,
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<Option<Write>> {
        let Taken { document, changes } = taken;
        let (Some(newest), Some(oldest)) = (changes.first(), changes.last()) else {
            return Ok(None);
        };
        let right = match (oldest.action, newest.action) {
            (Action::Create | Action::Restore, _) => Right::Delete,
            (_, Action::Delete) => Right::Create,
            _ => Right::Edit,
        };
        permit_document(context, facts, document, right)?;
        let is_untouched = document.meta.change_id == newest.id || Self::is_lasting(taken);
        let since = if is_untouched {
            Since::default()
        } else {
            let trail = self.trails.iter().find(|trail| trail.record == of(document));
            Since::of(document, self.act_id, trail, context.follow_max, facts)?
        };
        let is_deleted = document.meta.deleted_at.is_some();
        match (oldest.action, newest.action) {
            (Action::Create | Action::Restore, Action::Delete) => Ok(None),
            (Action::Create | Action::Restore, _) => {
                let stays = document.meta.kind.table().stays_when_named;
                if stays && (is_deleted || !since.is_untouched()) {
                    self.keep(document, None);
                    return Ok(None);
                }
                if is_deleted || !since.is_untouched() {
                    return Err(self.in_the_way(document, RECORD).into());
                }
                document.meta.kind.refuse_deletion(document)?;
                Ok(Some(super::end(Arc::clone(document), context)))
            }
            (_, Action::Delete) => {
                if !is_deleted || !since.is_untouched() {
                    return Err(self.in_the_way(document, RECORD).into());
                }
                let mut after = match self.fields_before(taken, &since, context, facts)? {
                    Some(after) => after,
                    None => (**document).clone(),
                };
                after.meta.deleted_at = None;
                let before = Some(Arc::clone(document));
                Ok(Some(Write { action: Action::Restore, before, after }))
            }
            _ => {
                if is_deleted {
                    return Err(self.in_the_way(document, RECORD).into());
                }
                let after = self.fields_before(taken, &since, context, facts)?;
                let before = Some(Arc::clone(document));
                Ok(after.map(|after| Write { action: Action::Edit, before, after }))
            }
        }
    }

    /// True where the act only edited what is lasting: whatever came since is in nobody's way.
    fn is_lasting(Taken { document, changes }: &Taken) -> bool {
        let derived = document.meta.kind.table().fields_of(Data::Derived);
        changes.iter().all(|change| {
            let mut fields = change.after.iter().flat_map(Fields::iter).map(|(name, _)| name);
            let stays = lasting(change);
            change.action == Action::Edit
                && fields.all(|name| stays.contains(name) || derived.contains(&name))
        })
    }

    /// The record with the fields that the act's edits found; none where nothing differs.
    fn fields_before(
        &mut self,
        taken: &Taken,
        since: &Since,
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<Option<Document>> {
        let Taken { document, changes } = taken;
        let kind = document.meta.kind;
        let edits = || changes.iter().filter(|change| change.action == Action::Edit);
        if edits().next().is_none() {
            return Ok(None);
        }
        let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
        for change in edits() {
            was.extend(change.before.iter().flat_map(Fields::values));
        }
        for change in edits().rev() {
            is.extend(change.after.iter().flat_map(Fields::values));
        }
        let stays: HashSet<String> = edits().flat_map(|change| lasting(change)).collect();
        let mut candidate = document.fields()?.values();
        let (mut conflicts, mut masked) = (Vec::new(), Vec::new());
        for (name, old) in was {
            if kind.table().fields_of(Data::Derived).contains(&name.as_str()) {
                // It follows from the others.
                continue;
            }
            if stays.contains(&name) {
                self.keep(document, Some(name));
            } else if since.touched.contains(&name) || !candidate.contains_key(&name) {
                // What only a newer release knows is not this one's to judge.
                conflicts.push(name);
            } else if old == MASK || is.get(&name).is_some_and(|new| new == MASK) {
                masked.push(name);
            } else {
                candidate.insert(name, old);
            }
        }
        if !conflicts.is_empty() {
            return Err(self.all_in_the_way(document, conflicts).into());
        }
        let after = kind.settled(document, &document.with(candidate)?, context, facts)?;
        let (now, then) = (document.fields()?, after.fields()?);
        // A masked value cannot be put back from history. That is well where the record has derived it
        // anew from the other fields.
        let is_changed = then.changes(now).next().is_some();
        if is_changed {
            masked.retain(|name| now.get(name) == then.get(name));
        }
        if !masked.is_empty() {
            return Err(self.all_in_the_way(document, masked).into());
        }
        Ok(is_changed.then_some(after))
    }

    /// Those that end and whom others name: they stay, where their kind does so, else they are in the
    /// way.
    fn named_by_others(&mut self, writes: &[Write], facts: &Facts) -> Known<HashSet<(Kind, Key)>> {
        let ended: BTreeMap<(Kind, Key), &Write> = writes
            .iter()
            .filter(|write| write.action == Action::Delete)
            .map(|write| (of(&write.after), write))
            .collect();
        let naming = facts.naming(ended.keys(), 1)?;
        let (mut kept, mut in_the_way) = (HashSet::new(), Vec::new());
        for (way, named, _) in naming {
            if named.0.table().stays_when_named {
                self.naming.push(way.by.name().to_owned());
                if kept.insert(named.clone())
                    && let Some(write) = ended.get(named)
                {
                    self.keep(&write.after, None);
                }
            } else if !in_the_way.iter().any(|name| name == way.by.name()) {
                in_the_way.push(way.by.name().to_owned());
            }
        }
        if in_the_way.is_empty() { Ok(kept) } else { Err(Error::Conflict(in_the_way).into()) }
    }

    fn keep(&mut self, document: &Document, field: Option<String>) {
        let (kind, key) = of(document);
        self.kept.push(Kept { kind, key, field });
    }

    fn in_the_way(&self, document: &Document, name: &str) -> Error {
        self.all_in_the_way(document, vec![name.to_owned()])
    }

    /// Of the record that was asked about, fields are named alone.
    fn all_in_the_way(&self, document: &Document, names: Vec<String>) -> Error {
        let (kind, key) = of(document);
        if of(&self.subject) == (kind, key.clone()) {
            return Error::Conflict(names);
        }
        let name = |name| format!("{} {key}: {name}", kind.name());
        Error::Conflict(names.into_iter().map(name).collect())
    }
}

fn of(document: &Document) -> (Kind, Key) {
    (document.meta.kind, document.meta.key.clone())
}

/// What happened to a record since an act, but what was taken back.
#[derive(Clone, Debug, Default)]
struct Since {
    /// Fields that were changed.
    touched: HashSet<String>,
    /// It was removed or brought back.
    has_ended: bool,
}

impl Since {
    fn is_untouched(&self) -> bool {
        self.touched.is_empty() && !self.has_ended
    }

    /// Walks from the record's newest change back to the act, or to where a trail begins. A long way is
    /// not gone in a batch.
    fn of(
        document: &Document,
        until: i64,
        trail: Option<&Trail>,
        follow_max: usize,
        facts: &Facts,
    ) -> Known<Self> {
        let mut way = WALK_MAX.max(follow_max);
        let mut walk = Walk::default();
        // What was taken back since the trail was gone may lie on it: then it is gone anew.
        let mut trail = trail.filter(|trail| trail.next.is_none());
        let mut id = document.meta.change_id;
        loop {
            if let Some(trail) = trail.filter(|trail| trail.newest == id) {
                if trail.is_undone {
                    return Err(undone().into());
                }
                let mut since = trail.walk.clone().end();
                since.extend(walk.since);
                return Ok(since);
            }
            let broken = || Error::internal("a record's history does not lead to its change");
            let change = facts.change_in_walk(id)?.ok_or_else(broken)?;
            if walk.step(&change, until)? {
                return Ok(walk.end());
            }
            trail = trail.filter(|_| change.undoes.is_none());
            id = change.previous_id.ok_or_else(broken)?;
            way = way.checked_sub(1).ok_or(Stop::Large)?;
        }
    }

    fn extend(&mut self, other: Self) {
        self.touched.extend(other.touched);
        self.has_ended |= other.has_ended;
    }

    fn add(&mut self, change: &Change) {
        let fields = change.after.iter().chain(&change.before).flat_map(Fields::iter);
        match change.action {
            Action::Edit => self.touched.extend(fields.map(|(name, _)| name.to_owned())),
            Action::Create | Action::Delete | Action::Restore => self.has_ended = true,
        }
    }
}

fn undone() -> Error {
    Error::Conflict(vec![UNDONE.to_owned()])
}

/// What was seen on the way from a record's newest change back to an act.
#[derive(Clone, Debug, Default)]
struct Walk {
    since: Since,
    /// By the act that it took back: what an undo did counts unless that act came after the one that is
    /// walked to, too.
    undoing: HashMap<i64, Since>,
    cancelled: HashSet<i64>,
}

impl Walk {
    /// Looks at the next change; true when the act is reached.
    fn step(&mut self, change: &Change, until: i64) -> Result<bool, Error> {
        let act = act_id(change);
        if act == until {
            return Ok(true);
        }
        if self.cancelled.contains(&act) {
            self.undoing.remove(&act);
        } else if let Some(other) = change.undoes {
            if other == until {
                return Err(undone());
            }
            self.cancelled.insert(other);
            self.undoing.entry(other).or_default().add(change);
        } else {
            self.since.add(change);
        }
        Ok(false)
    }

    fn end(mut self) -> Since {
        for undo in self.undoing.into_values() {
            self.since.extend(undo);
        }
        self.since
    }
}
