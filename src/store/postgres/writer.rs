//! The task that writes: it locks the rows that its batch names in id order, decides, writes each
//! table with one statement, and commits.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::{HashSet, HashSetExt as _};
use futures_util::future::join_all;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio_postgres::types::ToSql;

use super::aside::{self, Aside};
use super::{
    Connection, Parameters, Patience, PgFault, Way, alone, fate, naming, parameter, sets,
    statistics,
};
use crate::domain::change::Change;
use crate::domain::command::Entropy;
use crate::domain::facts::{Fact, Facts, Need, Selector, Sequence};
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::domain::table::KeyType;
use crate::pipeline::{
    Batch, Blame, Job, Jobs, Look, Next, Part, Pending, Touched, WeakQueue, When, Writes,
};
use crate::sabotage::{self, APART_FOR, Protection};
use crate::store::search;
use crate::store::sql::{self, Sql};
use crate::store::{Blamed, RETRY_PAUSE};

/// How often a batch is tried again after a deadlock or a serialisation failure.
const RETRIES_MAX: u32 = 3;
/// Rows in one statement at the most: putting more into words would keep the thread from others.
pub(super) const ROWS_MAX: usize = 1000;
/// Statements of a large command that are under way at once: while the database works on one, the
/// next are put into words.
const STEPS_AT_ONCE: usize = 3;

/// How long a batch waits for a lock before it looks who holds what.
const WAIT_LONG: &str = "SET lock_timeout = '50ms'";
/// The same while something is known to be held, and for a while after a lock was not had.
const WAIT_BRIEFLY: &str = "SET lock_timeout = '5ms'";

/// How long that while is.
const BRIEF_FOR: Duration = Duration::from_secs(1);

/// Large commands append many people's grams to the index's list of new ones: putting that in order is
/// left for when the command is answered. Until then a search reads the list too. Ten thousand questions
/// about a column in which one value is everywhere were ten thousand looks through the whole table: each
/// has an index.
const LARGE_SETTINGS: &str = "SET gin_pending_list_limit = '64MB'; SET enable_seqscan = off";
const GRAMS_NOW: &str = "SELECT gin_clean_pending_list('person_by_grams')";

/// What a writer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Commands in batches. Rows are locked before anything is decided, so that it holds.
    Batches,
    /// Large commands, one at a time, on a connection of their own. They would hold their locks too
    /// long for others to wait: what they decided by is looked at again just before the commit.
    Large,
}

impl Lane {
    const fn name(self) -> &'static str {
        match self {
            Self::Batches => "haksa-writer",
            Self::Large => "haksa-bulk",
        }
    }

    /// Runs what takes the processor for long, so that the thread's other tasks go on elsewhere.
    fn run<T>(self, f: impl FnOnce() -> T) -> T {
        match self {
            Self::Batches => f(),
            Self::Large => tokio::task::block_in_place(f),
        }
    }
}

/// A writer of one node.
pub struct WriterTask {
    lane: Lane,
    /// Where a job goes that turns out to be large.
    to_large: WeakQueue,
    way: Arc<Way>,
    connection: Option<Arc<Connection>>,
    aside: Aside,
    /// Whether the connection waits for locks only briefly.
    is_brief: bool,
    /// When a lock was last not had.
    locked_at: Option<Instant>,
}

impl WriterTask {
    /// One that connects when there is something to write.
    pub const fn new(way: Arc<Way>, lane: Lane, to_large: WeakQueue) -> Self {
        Self {
            lane,
            to_large,
            way,
            connection: None,
            aside: Aside::new(),
            is_brief: false,
            locked_at: None,
        }
    }

    /// Writes until every sender of the queue is gone.
    pub async fn run(
        &mut self,
        mut jobs: Jobs,
        now: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>,
        mut entropy: Box<dyn Entropy + Send>,
    ) {
        loop {
            let patience = Some(aside::LOOK_EVERY).filter(|_| !self.aside.is_empty());
            match jobs.next(patience).await {
                Next::Part(part) => self.run_part(part, &mut jobs, &*now, &mut *entropy).await,
                Next::Nobody => {}
                Next::Closed if self.aside.is_empty() => return,
                Next::Closed => tokio::time::sleep(aside::LOOK_EVERY).await,
            }
            let freed = self.look_aside().await;
            jobs.freed(freed);
            sabotage::stumble(self.lane.name());
        }
    }

    async fn run_part(
        &mut self,
        Part { jobs: mut waiting, look }: Part,
        jobs: &mut Jobs,
        now: &(dyn Fn() -> jiff::Timestamp + Send + Sync),
        entropy: &mut (dyn Entropy + Send),
    ) {
        self.aside.keep_out(&mut waiting);
        if waiting.is_empty() {
            return;
        }
        let begun = Instant::now();
        let mut batch = Batch::new(waiting, now(), Facts::default());
        match self.commit(&mut batch, entropy).await {
            Ok(()) => {
                batch.answer(Some(&self.to_large));
                self.tidy().await;
            }
            Err(refused) => self.take_back(batch, look, refused, jobs).await,
        }
        jobs.took(look, begun.elapsed());
    }

    /// Sees to the jobs of a batch that was not committed.
    async fn take_back(
        &mut self,
        batch: Batch,
        look: Look,
        Blamed { fault, blame }: Blamed<PgFault>,
        queue: &mut Jobs,
    ) {
        let Look { attempt, .. } = look;
        let once_more = Look { attempt: attempt + 1, ..look };
        match fault {
            PgFault::Locked if self.lane == Lane::Batches => {
                self.locked_at = Some(Instant::now());
                let holds = batch.holds().unwrap_or_default();
                let all = holds.iter().flatten().cloned().collect();
                let held = match self.connection().await {
                    Ok(connection) => aside::held(&connection, all).await,
                    Err(fault) => Err(fault),
                };
                match held {
                    Ok(held) if held.is_empty() => {
                        batch.separate(look, queue, &blame, aside::WAIT_MAX);
                    }
                    Ok(held) => {
                        let rest = self.aside.put(batch.into_jobs(), holds, &held);
                        queue.again(rest, look, When::Next);
                    }
                    Err(fault) => self.give_up(batch, fault).await,
                }
            }
            PgFault::Retry | PgFault::Undone if attempt < RETRIES_MAX => {
                queue.again(batch.into_jobs(), once_more, When::Next);
            }
            PgFault::Constraint(_) | PgFault::Internal(_) | PgFault::Retry => {
                batch.split(look, queue, &blame, &fault.into_error());
            }
            _ => self.give_up(batch, fault).await,
        }
    }

    /// Refuses all of a batch: what stands in the way is nobody's among them.
    async fn give_up(&mut self, batch: Batch, fault: PgFault) {
        if let PgFault::Unavailable(_) | PgFault::Lost(_) = fault {
            self.connection = None;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        match fault {
            PgFault::Unknown => batch.refuse_uncertain(),
            fault => batch.refuse(&fault.into_error()),
        }
    }

    /// The jobs put aside that may try again.
    async fn look_aside(&mut self) -> Vec<Job> {
        let Some(asked) = self.aside.due() else {
            return Vec::new();
        };
        let held = match self.connection().await {
            Ok(connection) => aside::held(&connection, asked).await,
            Err(fault) => Err(fault),
        };
        // Without an answer they try: what is wrong with the database is then told to all alike.
        self.aside.take(&held.unwrap_or_default())
    }

    async fn connection(&mut self) -> Result<Arc<Connection>, PgFault> {
        match &self.connection {
            Some(connection) if connection.is_good() => Ok(Arc::clone(connection)),
            _ => {
                let patience = match self.lane {
                    Lane::Batches => Patience::Batches,
                    Lane::Large => Patience::Large,
                };
                let connection = Arc::new(Connection::open(&self.way, patience).await?);
                if self.lane == Lane::Large {
                    connection.script(LARGE_SETTINGS).await?;
                }
                self.is_brief = false;
                self.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
        }
    }

    /// Does what a large command has left for afterwards.
    async fn tidy(&mut self) {
        if let (Lane::Large, Some(connection)) = (self.lane, &self.connection)
            && let Err(cause) = connection.script(GRAMS_NOW).await
        {
            tracing::warn!(error.cause = ?cause, "the index of grams was not put in order");
        }
    }

    async fn commit(
        &mut self,
        batch: &mut Batch,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<(), Blamed<PgFault>> {
        let connection = self.connection().await?;
        // While something is held by somebody else, each batch may run into it.
        let was_locked = self.locked_at.is_some_and(|at| at.elapsed() < BRIEF_FOR);
        let is_brief = (was_locked || !self.aside.is_empty()) && Protection::LockLimit.is_on();
        if is_brief != self.is_brief {
            let wait = if is_brief { WAIT_BRIEFLY } else { WAIT_LONG };
            connection.script(wait).await?;
            self.is_brief = is_brief;
        }
        let result = decide_and_apply(&connection, batch, entropy, self.lane).await;
        if result.is_err() && connection.is_open() {
            // Without a transaction this is only a warning of the server's.
            let _ = connection.script("ROLLBACK").await;
        }
        match result {
            Err(Blamed { fault: PgFault::InDoubt(cause), .. }) => {
                self.connection = None;
                Ok(fate::settle(&connection, &self.way, batch.writes(), &cause).await?)
            }
            result => result,
        }
    }
}

async fn decide_and_apply(
    connection: &Connection,
    batch: &mut Batch,
    entropy: &mut (dyn Entropy + Send),
    lane: Lane,
) -> Result<(), Blamed<PgFault>> {
    let mut locked = HashSet::new();
    let mut is_first = true;
    let mut needs = batch.needs();
    // The batch sees to it that there is an end.
    loop {
        if is_first || !needs.is_empty() {
            let round = match lane {
                _ if !is_first => Round::Later,
                Lane::Batches => Round::Locking,
                Lane::Large => Round::First,
            };
            for (need, fact) in load_round(connection, needs, round).await? {
                if round == Round::Locking
                    && let Need::Record(kind, key) = &need
                {
                    locked.insert((*kind, key.clone()));
                }
                batch.supply(need, fact);
            }
            is_first = false;
        }
        needs = lane.run(|| batch.advance(entropy));
        if needs.is_empty() {
            return apply(connection, batch.writes(), &locked, lane).await;
        }
    }
}

/// Which round of loading it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Opens the transaction, and locks.
    Locking,
    /// Opens the transaction.
    First,
    /// What a decision asked for, or a read.
    Later,
}

/// Loads in one go: all statements are sent before the first answer is awaited. The first round
/// opens the transaction and locks idempotency keys, because an answer that another node is about
/// to keep has to be seen before anything else is, and then its rows, kind by kind, in id order:
/// every node does it in that order, so none waits for another in a circle.
pub async fn load_round(
    connection: &Connection,
    needs: Vec<Need>,
    round: Round,
) -> Result<Vec<(Need, Fact)>, PgFault> {
    let is_first = round != Round::Later;
    let is_locking = round == Round::Locking;
    let mut records: BTreeMap<Kind, Vec<Key>> = BTreeMap::new();
    let mut selections: BTreeMap<(Kind, &'static str), Vec<Key>> = BTreeMap::new();
    let mut ids: HashMap<Sequence, i64> = HashMap::new();
    let mut others = Vec::new();
    let mut locks = Vec::new();
    for need in needs {
        if let (true, Need::Idempotency(credential_id, key)) = (is_first, &need) {
            locks.push(aside::lock_number(*credential_id, key));
        }
        match need {
            Need::Record(kind, key) => records.entry(kind).or_default().push(key),
            Need::Select(Selector { kind, column, value }) => {
                selections.entry((kind, column)).or_default().push(value);
            }
            Need::Id(sequence) => *ids.entry(sequence).or_default() += 1,
            other => others.push(other),
        }
    }
    locks.sort_unstable();
    if is_locking {
        for kind in records.keys() {
            connection.prepare_lock(*kind).await?;
        }
    }
    // What makes no change is not in doubt, and a probe is to leave no trace on the disk.
    let is_numbered = ids.contains_key(&Sequence::Change);
    let opening = async {
        if !is_first {
            return Ok(());
        }
        let mut text = String::new();
        for number in locks {
            let _ = write!(text, "; SELECT pg_advisory_xact_lock({number})");
        }
        connection.begin(&text, is_numbered).await
    };
    let mut kinds = Vec::with_capacity(records.len());
    for (kind, keys) in &mut records {
        keys.sort_unstable();
        keys.dedup();
        let text = (*kind, &*keys);
        kinds.push(async move {
            let (kind, keys) = text;
            let borrowed: Vec<&Key> = keys.iter().collect();
            connection.load_records(kind, &borrowed, is_locking).await
        });
    }
    let chosen = selections.iter().map(|((kind, column), values)| async move {
        connection.load_selections(*kind, column, &values.iter().collect::<Vec<_>>()).await
    });
    let sequences: Vec<(Sequence, i64)> = ids.into_iter().collect();
    let numbers = sequences.iter().map(|(sequence, count)| async move {
        let name = match sequence {
            Sequence::Change => "change",
            Sequence::Record(kind) => kind.table().name,
        };
        let text = format!("SELECT nextval('{name}_id_seq') FROM generate_series(1, $1::bigint)");
        connection.query(&text, &vec![Box::new(*count)], 1).await
    });
    let (questions, others) = sets::split(others);
    let questions = questions.into_iter().map(|question| sets::load(connection, question));
    let rest = others.iter().map(|need| connection.load_one(need));
    // The first poll of each future sends its statement, in this order.
    let (begun, loaded, chosen, numbers, answers, taken) = tokio::join!(
        opening,
        join_all(kinds),
        join_all(chosen),
        join_all(numbers),
        join_all(rest),
        join_all(questions)
    );
    begun?;
    let mut found = Vec::new();
    for ((kind, keys), documents) in records.into_iter().zip(loaded) {
        for (key, document) in keys.into_iter().zip(documents?) {
            found.push((Need::Record(kind, key), document));
        }
    }
    for (((kind, column), values), documents) in selections.into_iter().zip(chosen) {
        for (value, documents) in values.into_iter().zip(documents?) {
            let selector = Selector { kind, column, value };
            found.push((Need::Select(selector), documents));
        }
    }
    for ((sequence, _), rows) in sequences.into_iter().zip(numbers) {
        let given = rows?.iter().filter_map(|row| sql::first_int(row)).collect();
        found.push((Need::Id(sequence), Fact::Ids(given)));
    }
    for (need, fact) in others.into_iter().zip(answers) {
        found.push((need, fact?));
    }
    for answers in taken {
        found.extend(answers?);
    }
    Ok(found)
}

/// Parameters of a statement, and the number of rows that it must write.
pub(super) type StepValues = (Parameters, Option<u64>);

/// A statement whose parameters are put into words when its turn comes.
pub(super) struct WriteStep<'a> {
    /// The kind whose rows it writes.
    pub(super) kind: Option<Kind>,
    pub(super) text: String,
    pub(super) values: Box<dyn Fn() -> Result<StepValues, PgFault> + Send + Sync + 'a>,
}

async fn apply(
    connection: &Connection,
    writes: &Writes,
    locked: &HashSet<(Kind, Key)>,
    lane: Lane,
) -> Result<(), Blamed<PgFault>> {
    if writes.is_empty() {
        connection.script("ROLLBACK").await?;
        return Ok(());
    }
    if !Protection::CommitFirst.is_on() && writes.changes.len() % 2 == 1 {
        connection.script("ROLLBACK").await?;
        return Ok(());
    }
    let mut steps = steps(writes);
    steps.extend(alone::latch(writes));
    steps.extend(naming::agree(writes, locked));
    steps.extend(lane.run(|| alone::look(writes)).map_err(PgFault::Internal)?);
    // A statement that had to be prepared in between would fall behind the others.
    for step in &steps {
        connection.statement(&step.text).await?;
    }
    // A row that was not locked may have moved on, and a key may have come in by another node: then
    // the numbers of rows have to be seen before the commit is sent.
    let is_certain = lane == Lane::Batches
        && writes.answers.is_empty()
        && writes
            .documents
            .iter()
            .all(|(place, pending)| pending.stored_version.is_none() || locked.contains(place));
    if is_certain {
        let values = || steps.iter().map(|step| (step.values)()).collect::<Result<Vec<_>, _>>();
        let values = lane.run(values)?;
        let all =
            steps.iter().zip(values).map(|(step, values)| run(connection, &step.text, values));
        let commit = connection.commit();
        // The first poll of each future sends its statement, in this order.
        let (written, committed) = tokio::join!(join_all(all), commit);
        // The commit of a transaction that has failed answers success, so every step counts.
        return match check(&steps, written) {
            Ok(()) => Ok(committed.map_err(doubt)?),
            Err(Blamed { fault: fault @ PgFault::Lost(_), .. }) => Err(doubt(fault).into()),
            Err(refused) => Err(refused),
        };
    }
    let mut written = Vec::with_capacity(steps.len());
    let mut under_way = FuturesOrdered::new();
    for (index, step) in steps.iter().enumerate() {
        if under_way.len() == STEPS_AT_ONCE {
            written.extend(under_way.next().await);
        }
        if !Protection::AllAtOnce.is_on() && lane == Lane::Large && index == steps.len() / 2 {
            written.extend(under_way.by_ref().collect::<Vec<_>>().await);
            connection.script("COMMIT").await?;
            tokio::time::sleep(APART_FOR).await;
            connection.script("BEGIN").await?;
        }
        let values = lane.run(&step.values)?;
        under_way.push_back(run(connection, &step.text, values));
    }
    written.extend(under_way.collect::<Vec<_>>().await);
    check(&steps, written)?;
    if lane == Lane::Large {
        statistics::count_anew(connection, writes).await?;
    }
    Ok(connection.commit().await.map_err(doubt)?)
}

/// A fault of a commit. What the server says against it is certain, unless it says that it ends.
fn doubt(fault: PgFault) -> PgFault {
    match fault {
        PgFault::Lost(cause) | PgFault::Unavailable(cause) => PgFault::InDoubt(cause),
        fault => fault,
    }
}

/// Runs a statement; true when it wrote as many rows as it must.
async fn run(
    connection: &Connection,
    text: &str,
    (parameters, rows): StepValues,
) -> Result<bool, PgFault> {
    let written = connection.execute(text, &parameters).await?;
    Ok(rows.is_none_or(|rows| rows == written))
}

fn check(
    steps: &[WriteStep<'_>],
    written: Vec<Result<bool, PgFault>>,
) -> Result<(), Blamed<PgFault>> {
    let mut moved = None;
    for (step, is_whole) in steps.iter().zip(written) {
        let blame = || step.kind.map_or(Blame::Unknown, Blame::Kind);
        match is_whole {
            // What follows a fault fails with it.
            Err(fault) => return Err(Blamed { fault, blame: blame() }),
            Ok(false) if moved.is_none() => moved = Some(blame()),
            Ok(_) => {}
        }
    }
    moved.map_or(Ok(()), |blame| Err(Blamed { fault: PgFault::Retry, blame }))
}

fn steps(writes: &Writes) -> Vec<WriteStep<'_>> {
    let mut steps = Vec::new();
    let mut by_kind: BTreeMap<Kind, Vec<&Pending>> = BTreeMap::new();
    for ((kind, _), pending) in &writes.documents {
        by_kind.entry(*kind).or_default().push(pending);
    }
    for (kind, rows) in by_kind {
        let (new, old): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|pending| pending.stored_version.is_none());
        for rows in new.chunks(ROWS_MAX) {
            steps.push(insert(kind, rows.to_vec()));
        }
        let is_numbered = kind.table().key == KeyType::Int;
        if !new.is_empty() && is_numbered && writes.foreign_ids.contains(&kind) {
            let name = kind.table().name;
            let text = format!(
                "SELECT setval('{name}_id_seq', \
                 greatest((SELECT max(id) FROM {name}), (SELECT last_value FROM {name}_id_seq)))"
            );
            let values = Box::new(|| Ok((Vec::new(), None)));
            steps.push(WriteStep { kind: Some(kind), text, values });
        }
        let (ends, edits): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|pending| pending.touched == Touched::State);
        steps.extend(edits.chunks(ROWS_MAX).map(|rows| update(kind, rows.to_vec())));
        steps.extend(ends.chunks(ROWS_MAX).map(|rows| update_state(kind, rows.to_vec())));
    }
    steps.extend(naming::links(writes));
    steps.extend(writes.changes.chunks(ROWS_MAX).map(change_insert));
    for content in &writes.contents {
        let values = || Ok((sql::encode_content(content).iter().map(parameter).collect(), None));
        let text = sql::CONTENT_PUT.to_owned();
        steps.push(WriteStep { kind: None, text, values: Box::new(values) });
    }
    for (credential_id, key, answer) in &writes.answers {
        let values = move || {
            let values = sql::encode_answer(*credential_id, key, answer)?;
            Ok((values.iter().map(parameter).collect(), Some(1)))
        };
        let text = sql::IDEMPOTENCY_PUT.to_owned();
        steps.push(WriteStep { kind: None, text, values: Box::new(values) });
    }
    if !writes.tokens.is_empty() {
        let head = "INSERT INTO token (hash, credential_id, expires_at) SELECT * FROM";
        let rows = || Ok(writes.tokens.iter().map(sql::encode_token).collect());
        steps.push(set_based(head, "", "tbb".to_owned(), rows));
    }
    if !writes.signatures.is_empty() {
        let head = "INSERT INTO signature (expires_at, credential_id, digest) SELECT * FROM";
        let rows = || Ok(writes.signatures.iter().map(sql::encode_signature).collect());
        steps.push(set_based(head, "", "bbt".to_owned(), rows));
    }
    steps
}

/// The column that only this database has, beside those of the kind's table: people's grams, for
/// searches.
const fn derived(kind: Kind) -> Option<&'static str> {
    if matches!(kind, Kind::Person) { Some("grams") } else { None }
}

/// The names of a kind's columns here.
fn columns(kind: Kind) -> Vec<String> {
    let mut names: Vec<String> =
        sql::columns(kind.table()).split(", ").map(str::to_owned).collect();
    names.extend(derived(kind).map(str::to_owned));
    names
}

/// How a column's value is taken from those that are sent.
fn taken_from(kind: Kind, name: &str) -> String {
    if derived(kind) == Some(name) {
        format!("CAST(u.{name} AS tsvector)")
    } else {
        format!("u.{name}")
    }
}

/// The types of a kind's columns here: `b` for BIGINT, `t` for TEXT.
fn types(kind: Kind) -> String {
    let table = kind.table();
    let mut types = if table.key == KeyType::Int { "b" } else { "t" }.to_owned();
    types.push_str("bbbbbb");
    for column in table.columns {
        types.push(if column.column_type.is_text() { 't' } else { 'b' });
    }
    types.push('t');
    if derived(kind).is_some() {
        types.push('t');
    }
    types
}

/// A record as the values of its columns here.
fn values(row: &Pending) -> Result<Vec<Sql>, PgFault> {
    let kind = row.document.meta.kind;
    let mut values = sql::encode(&row.document)?;
    if derived(kind).is_some() {
        let text = |column| match sql::column_index(kind.table(), column)
            .and_then(|index| values.get(index))
        {
            Some(Sql::Text(text)) => text.as_str(),
            _ => "",
        };
        values.push(Sql::Text(search::person_grams(text("name_key"), text("email_key"))));
    }
    Ok(values)
}

fn insert(kind: Kind, rows: Vec<&Pending>) -> WriteStep<'_> {
    let all = columns(kind);
    let taken: Vec<String> = all.iter().map(|name| taken_from(kind, name)).collect();
    let (all, taken) = (all.join(", "), taken.join(", "));
    let head = format!("INSERT INTO {} ({all}) SELECT {taken} FROM", kind.table().name);
    let rows = move || rows.iter().map(|row| values(row)).collect();
    let step = set_based(&head, &format!(" AS u ({all})"), types(kind), rows);
    WriteStep { kind: Some(kind), ..step }
}

fn update(kind: Kind, rows: Vec<&Pending>) -> WriteStep<'_> {
    let encode = |row: &&Pending| {
        let mut values = values(row)?;
        values.push(Sql::Int(row.stored_version.unwrap_or_default()));
        Ok(values)
    };
    let rows = move || rows.iter().map(encode).collect();
    let all = columns(kind);
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    update_set(kind, Touched::All, &names, types(kind), rows)
}

/// Ends rows, or brings them back, that else stay as they are.
fn update_state(kind: Kind, rows: Vec<&Pending>) -> WriteStep<'_> {
    let encode = |row: &&Pending| {
        let mut values = sql::encode_edit(&row.document, Touched::State)?;
        values.push(Sql::Int(row.stored_version.unwrap_or_default()));
        Ok(values)
    };
    let rows = move || rows.iter().map(encode).collect();
    let names = sql::written(kind.table(), Touched::State);
    let key = if kind.table().key == KeyType::Int { "b" } else { "t" };
    update_set(kind, Touched::State, &names, format!("{key}bbbbb"), rows)
}

fn update_set<'a>(
    kind: Kind,
    touched: Touched,
    names: &[&str],
    types: String,
    rows: impl Fn() -> Result<Vec<Vec<Sql>>, PgFault> + Send + Sync + 'a,
) -> WriteStep<'a> {
    let table = kind.table();
    let value = |place: usize| names.get(place).map_or(String::new(), |it| taken_from(kind, it));
    let head =
        format!("UPDATE {} t SET {} FROM", table.name, sql::sets(table, touched, names, value));
    // The owner stands in the WHERE: no write can move a row to another account.
    let tail = format!(
        " AS u ({}, expected) \
         WHERE t.id = u.id AND t.account_id = u.account_id AND t.version = u.expected",
        names.join(", ")
    );
    WriteStep { kind: Some(kind), ..set_based(&head, &tail, types + "b", rows) }
}

/// The statements of this store alone, to be prepared by a check.
pub fn statements() -> Vec<String> {
    let texts = |kind: &Kind| {
        let kind = *kind;
        [insert(kind, Vec::new()), update(kind, Vec::new()), update_state(kind, Vec::new())]
    };
    let steps = Kind::ALL.iter().flat_map(texts);
    let columns = || {
        let of =
            |kind: &'static Kind| kind.table().columns.iter().map(|column| (*kind, column.name));
        Kind::ALL.iter().flat_map(of)
    };
    let selections = columns().map(|(kind, column)| sql::select_any(kind, column));
    let taken = columns().map(|(kind, column)| sql::taken_any(kind, column));
    let steps = steps.chain([change_insert(&[])]).map(|step| step.text);
    let others = sets::statements().chain(aside::statements()).chain(naming::statements());
    let others = others.chain(alone::statements());
    steps.chain(selections).chain(taken).chain(others).collect()
}

fn change_insert(changes: &[Arc<Change>]) -> WriteStep<'_> {
    let head = concat!("INSERT INTO change (", sql::change_columns!(), ") SELECT * FROM");
    let rows = || Ok(changes.iter().map(|change| sql::encode_change(change)).collect());
    set_based(head, "", sql::CHANGE_TYPES.to_owned(), rows)
}

/// One statement for many rows: a column of values for each parameter.
pub(super) fn set_based<'a>(
    head: &str,
    tail: &str,
    types: String,
    rows: impl Fn() -> Result<Vec<Vec<Sql>>, PgFault> + Send + Sync + 'a,
) -> WriteStep<'a> {
    let mark = |(index, kind)| {
        format!("${}::{}[]", index + 1, if kind == 't' { "text" } else { "bigint" })
    };
    let marks: Vec<String> = types.chars().enumerate().map(mark).collect();
    let text = format!("{head} unnest({}){tail}", marks.join(", "));
    let values = move || {
        let rows = rows()?;
        let count = rows.len() as u64;
        Ok((by_column(&types, rows), Some(count)))
    };
    WriteStep { kind: None, text, values: Box::new(values) }
}

fn by_column(types: &str, rows: Vec<Vec<Sql>>) -> Parameters {
    let mut columns: Vec<Vec<Sql>> =
        types.chars().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let parameter = |(column, kind): (Vec<Sql>, char)| -> Box<dyn ToSql + Sync + Send> {
        if kind == 't' {
            Box::new(column.into_iter().map(into_text).collect::<Vec<_>>())
        } else {
            Box::new(column.iter().map(int).collect::<Vec<_>>())
        }
    };
    columns.into_iter().zip(types.chars()).map(parameter).collect()
}

fn into_text(value: Sql) -> Option<String> {
    match value {
        Sql::Text(text) => Some(text),
        Sql::Int(_) | Sql::Null | Sql::Bytes(_) => None,
    }
}

fn int(value: &Sql) -> Option<i64> {
    match value {
        Sql::Int(value) => Some(*value),
        Sql::Text(_) | Sql::Null | Sql::Bytes(_) => None,
    }
}
