//! Records on a PostgreSQL server, which several nodes may share. One task writes per node: it locks
//! the rows it names in id order, decides, writes each table with one statement, and commits. Reads
//! share a few pipelined connections; no transaction ever lives in a request.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Statement};

use super::sql::{self, Sql};
use super::{OpenError, RETRY_PAUSE, ROUNDS_MAX, Writer};
use crate::domain::command::Entropy;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Need, Sequence};
use crate::domain::kind::Kind;
use crate::domain::record::{Key, KeyType};
use crate::pipeline::{BATCH_MAX, Batch, Pending, Writes};

mod migrations {
    refinery::embed_migrations!("migrations/postgres");
}

/// Connections that reads share.
const READERS: usize = 4;
/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How often a batch is tried again after a deadlock or a serialisation failure.
const RETRIES_MAX: u32 = 3;
/// Guards migrations against a second node that starts at the same time.
const MIGRATION_LOCK: i64 = 0x4861_6b73_6100;
/// Whether any migration was applied.
pub(super) const SCHEMA_FIND: &str =
    "SELECT count(*) FROM pg_class WHERE oid = to_regclass('refinery_schema_history')";
/// How often the writer forgets outlived keys, tokens and signatures.
const SWEEP_EVERY: Duration = Duration::from_mins(5);

/// A database on a server.
#[derive(Clone, Debug)]
pub struct Postgres {
    config: Arc<tokio_postgres::Config>,
    readers: Arc<Vec<tokio::sync::RwLock<Option<Arc<Connection>>>>>,
    turn: Arc<AtomicUsize>,
}

/// One connection with its prepared statements.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    statements: RwLock<HashMap<String, Statement>>,
}

/// Why a batch failed.
#[derive(Debug)]
enum Fault {
    /// A rule of the database itself.
    Constraint(String),
    /// Another node was in the way: the same batch may succeed now.
    Retry,
    /// The server is away or refuses; the connection is given up.
    Unavailable(String),
    /// A fault of ours.
    Internal(Error),
}

impl Fault {
    fn into_error(self) -> Error {
        match self {
            Self::Constraint(what) => Error::Conflict(vec![what]),
            Self::Retry => Error::Unavailable { retry_after_s: 1 },
            Self::Unavailable(cause) => {
                tracing::error!(error.cause = %cause, "database unavailable");
                Error::Unavailable { retry_after_s: 2 }
            }
            Self::Internal(error) => error,
        }
    }
}

impl Fault {
    /// For an operator.
    fn into_text(self) -> String {
        match self {
            Self::Constraint(text) | Self::Unavailable(text) => text,
            Self::Retry => "another node was in the way".to_owned(),
            Self::Internal(error) => super::cause(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Internal(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::Unavailable(super::causes(&error));
        };
        let text = || refusal.to_string();
        match refusal.code().code().as_bytes() {
            [b'2', b'3', ..] => {
                Self::Constraint(refusal.constraint().unwrap_or("constraint").to_owned())
            }
            b"40001" | b"40P01" | b"55P03" => Self::Retry,
            [b'0', b'8', ..] | [b'5', b'3' | b'7' | b'8', ..] => Self::Unavailable(text()),
            _ => Self::Internal(Error::Internal(text())),
        }
    }
}

/// Parameters of a statement, owned.
type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

fn parameter(value: &Sql) -> Box<dyn ToSql + Sync + Send> {
    match value {
        Sql::Null => Box::new(None::<i64>),
        Sql::Int(value) => Box::new(*value),
        Sql::Text(text) => Box::new(text.clone()),
    }
}

impl Connection {
    async fn open(config: &tokio_postgres::Config) -> Result<Self, Fault> {
        let connecting = tokio::time::timeout(CONNECT_WITHIN, config.connect(NoTls));
        let (client, connection) = connecting
            .await
            .map_err(|_| Fault::Unavailable("no answer to a connection attempt".to_owned()))??;
        tokio::spawn(async move {
            // The error also reaches whoever waits on the connection.
            let _ = connection.await;
        });
        client
            .batch_execute(
                "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
                 SET idle_in_transaction_session_timeout = '60s'; \
                 SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'",
            )
            .await?;
        Ok(Self { client, statements: RwLock::default() })
    }

    async fn statement(&self, text: &str) -> Result<Statement, Fault> {
        let held =
            self.statements.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(statement) = held {
            return Ok(statement);
        }
        let statement = self.client.prepare(text).await?;
        self.statements
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    async fn query(
        &self,
        text: &str,
        parameters: &Parameters,
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, Fault> {
        let statement = self.statement(text).await?;
        let borrowed: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        let rows = self.client.query(&statement, &borrowed).await?;
        rows.iter().map(|row| read_row(row, width)).collect()
    }

    async fn execute(&self, text: &str, parameters: &Parameters) -> Result<u64, Fault> {
        let statement = self.statement(text).await?;
        let borrowed: Vec<&(dyn ToSql + Sync)> =
            parameters.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        Ok(self.client.execute(&statement, &borrowed).await?)
    }

    /// What a read lacks, in one round.
    pub(super) async fn load(&self, needs: Vec<Need>) -> Result<Vec<(Need, Fact)>, Error> {
        load_round(self, needs, false).await.map_err(Fault::into_error)
    }

    async fn load_one(&self, need: &Need, for_update: bool) -> Result<Fact, Fault> {
        Ok(match need {
            Need::Record(kind, key) => {
                let found = self.load_records(*kind, &[key], for_update).await?;
                Fact::Record(found.into_iter().next().flatten().map(Arc::new))
            }
            Need::Select(selector) => {
                let text = sql::select(selector.kind, selector.column);
                let width = sql::column_count(selector.kind.table());
                let parameters = vec![parameter(&sql::key(&selector.value))];
                let rows = self.query(&text, &parameters, width).await?;
                let documents =
                    rows.into_iter().map(|row| sql::decode(selector.kind, row).map(Arc::new));
                Fact::Select(documents.collect::<Result<_, _>>()?)
            }
            Need::Id(_) => return Err(Error::internal("ids are the writer's to give").into()),
            Need::Change(id) => {
                let parameters: Parameters = vec![Box::new(*id)];
                let rows = self.query(sql::CHANGE_FIND, &parameters, sql::CHANGE_WIDTH).await?;
                let change = rows.into_iter().next().map(sql::decode_change).transpose()?;
                Fact::Change(change.map(Arc::new))
            }
            Need::Changes(id) => {
                let parameters: Parameters = vec![Box::new(*id), Box::new(sql::HISTORY_STRIDE)];
                let rows = self.query(sql::HISTORY, &parameters, sql::CHANGE_WIDTH).await?;
                Fact::Changes(rows.into_iter().map(sql::decode_change).collect::<Result<_, _>>()?)
            }
            Need::Idempotency(credential_id, key) => {
                let parameters: Parameters = vec![Box::new(*credential_id), Box::new(key.clone())];
                let rows = self.query(sql::IDEMPOTENCY_FIND, &parameters, 5).await?;
                Fact::Idempotency(rows.into_iter().next().map(sql::decode_answer).transpose()?)
            }
            Need::Token(hash) => {
                let parameters: Parameters = vec![Box::new(hash.clone())];
                let rows = self.query(sql::TOKEN_FIND, &parameters, 3).await?;
                Fact::Token(rows.into_iter().next().map(sql::decode_token).transpose()?)
            }
            Need::Signature(credential_id, digest) => {
                let parameters: Parameters =
                    vec![Box::new(*credential_id), Box::new(digest.clone())];
                let rows = self.query(sql::SIGNATURE_FIND, &parameters, 1).await?;
                Fact::Signature(!rows.is_empty())
            }
        })
    }

    /// The records of a kind with these ids, in the order of the ids.
    async fn load_records(
        &self,
        kind: Kind,
        keys: &[&Key],
        for_update: bool,
    ) -> Result<Vec<Option<crate::domain::record::Document>>, Fault> {
        let table = kind.table();
        let lock = if for_update { " FOR UPDATE" } else { "" };
        let text = format!(
            "SELECT {} FROM {} WHERE id = ANY($1) ORDER BY id{lock}",
            sql::columns(table),
            table.name
        );
        let ids: Box<dyn ToSql + Sync + Send> = match table.key {
            KeyType::Int => {
                Box::new(keys.iter().filter_map(|key| key.as_int()).collect::<Vec<_>>())
            }
            KeyType::Text => Box::new(keys.iter().map(ToString::to_string).collect::<Vec<_>>()),
        };
        let rows = self.query(&text, &vec![ids], sql::column_count(table)).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let document = sql::decode(kind, row)?;
            found.insert(document.meta.key.clone(), document);
        }
        Ok(keys.iter().map(|key| found.remove(key)).collect())
    }
}

fn read_row(row: &tokio_postgres::Row, width: usize) -> Result<Vec<Sql>, Fault> {
    let mut values = Vec::with_capacity(width);
    for (index, column) in row.columns().iter().enumerate().take(width) {
        let kind = column.type_();
        values.push(if *kind == Type::INT8 {
            row.try_get::<_, Option<i64>>(index)?.map_or(Sql::Null, Sql::Int)
        } else if *kind == Type::INT4 {
            row.try_get::<_, Option<i32>>(index)?.map_or(Sql::Null, |value| Sql::Int(value.into()))
        } else {
            row.try_get::<_, Option<String>>(index)?.map_or(Sql::Null, Sql::Text)
        });
    }
    Ok(values)
}

impl Postgres {
    /// Reaches the server once.
    ///
    /// # Errors
    /// [`OpenError`] when the address is malformed or the server does not answer.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        let config: tokio_postgres::Config = address
            .parse()
            .map_err(|_| OpenError::Open("malformed postgres address".to_owned()))?;
        let this = Self {
            config: Arc::new(config),
            readers: Arc::new((0..READERS).map(|_| tokio::sync::RwLock::default()).collect()),
            turn: Arc::default(),
        };
        let first = Connection::open(&this.config).await;
        let first = first.map_err(|fault| OpenError::Open(fault.into_text()))?;
        if let Some(slot) = this.readers.first() {
            *slot.write().await = Some(Arc::new(first));
        }
        Ok(this)
    }

    pub(super) async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        let failed = |cause: &dyn std::error::Error| OpenError::Migrate(super::causes(cause));
        let connecting = self.config.connect(NoTls).await;
        let (mut client, connection) = connecting.map_err(|cause| failed(&cause))?;
        let driver = tokio::spawn(connection);
        client
            .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await
            .map_err(|cause| failed(&cause))?;
        let report = migrations::migrations::runner()
            .run_async(&mut client)
            .await
            .map_err(|cause| failed(&cause))?;
        drop(client);
        let _ = driver.await;
        Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
    }

    /// One of the shared reading connections, opened anew if it was lost.
    pub(super) async fn reader(&self) -> Result<Arc<Connection>, Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        let slot = self.readers.get(turn).ok_or_else(|| Error::internal("no such reader"))?;
        if let Some(connection) = &*slot.read().await
            && !connection.client.is_closed()
        {
            return Ok(Arc::clone(connection));
        }
        let mut slot = slot.write().await;
        if let Some(connection) = &*slot
            && !connection.client.is_closed()
        {
            return Ok(Arc::clone(connection));
        }
        let connection = Connection::open(&self.config).await.map_err(Fault::into_error)?;
        let connection = Arc::new(connection);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Checks that a statement fits the tables.
    pub(super) async fn prepare(&self, text: &str) -> Result<(), Error> {
        let reader = self.reader().await?;
        reader.statement(text).await.map(|_| ()).map_err(Fault::into_error)
    }

    pub(super) async fn rows(
        &self,
        text: &str,
        parameters: &[Sql],
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, Error> {
        let reader = self.reader().await?;
        let parameters: Parameters = parameters.iter().map(parameter).collect();
        reader.query(text, &parameters, width).await.map_err(Fault::into_error)
    }

    /// Runs a statement by itself, outside of the writer: for what is done before there is one.
    pub(super) async fn execute(&self, text: &str, parameters: &[Sql]) -> Result<(), Error> {
        let reader = self.reader().await?;
        let parameters: Parameters = parameters.iter().map(parameter).collect();
        reader.execute(text, &parameters).await.map(|_| ()).map_err(Fault::into_error)
    }

    pub(super) fn start_writer(&self, writer: Writer) -> JoinHandle<()> {
        let mut task = WriterTask { config: Arc::clone(&self.config), connection: None };
        tokio::spawn(async move { task.run(writer).await })
    }
}

/// The newest migration of this release.
pub(super) fn newest_migration() -> i64 {
    let runner = migrations::migrations::runner();
    runner
        .get_migrations()
        .iter()
        .map(|migration| i64::from(migration.version()))
        .max()
        .unwrap_or(0)
}

struct WriterTask {
    config: Arc<tokio_postgres::Config>,
    connection: Option<Arc<Connection>>,
}

impl WriterTask {
    async fn run(&mut self, writer: Writer) {
        // A server that goes away is never fatal: its own log decides what was committed.
        let Writer { mut jobs, clock, mut entropy, fatal: _fatal } = writer;
        let mut last_sweep = std::time::Instant::now();
        while let Some(first) = jobs.recv().await {
            let mut waiting = vec![first];
            while waiting.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                waiting.push(job);
            }
            let mut queue = VecDeque::from([(waiting, 0)]);
            while let Some((waiting, attempt)) = queue.pop_front() {
                let mut batch = Batch::new(waiting, clock.now());
                match self.commit(&mut batch, &mut *entropy).await {
                    Ok(()) => {
                        let deferred = batch.answer();
                        if !deferred.is_empty() {
                            queue.push_front((deferred, 0));
                        }
                    }
                    Err(Fault::Constraint(what)) => {
                        super::sqlite::split(
                            batch,
                            attempt,
                            &mut queue,
                            &Error::Conflict(vec![what]),
                        );
                    }
                    Err(Fault::Retry) if attempt < RETRIES_MAX => {
                        queue.push_front((batch.into_jobs(), attempt + 1));
                    }
                    Err(fault) => {
                        if let Fault::Unavailable(_) = fault {
                            self.connection = None;
                            tokio::time::sleep(RETRY_PAUSE).await;
                        }
                        batch.refuse(&fault.into_error());
                    }
                }
            }
            if last_sweep.elapsed() > SWEEP_EVERY {
                last_sweep = std::time::Instant::now();
                self.sweep(clock.now()).await;
            }
        }
    }

    async fn connection(&mut self) -> Result<Arc<Connection>, Fault> {
        match &self.connection {
            Some(connection) if !connection.client.is_closed() => Ok(Arc::clone(connection)),
            _ => {
                let connection = Arc::new(Connection::open(&self.config).await?);
                self.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
        }
    }

    async fn commit(
        &mut self,
        batch: &mut Batch,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<(), Fault> {
        let connection = self.connection().await?;
        let result = decide_and_apply(&connection, batch, entropy).await;
        if result.is_err() && !connection.client.is_closed() {
            // Without a transaction this is only a warning of the server's.
            let _ = connection.client.batch_execute("ROLLBACK").await;
        }
        result
    }

    async fn sweep(&mut self, now: jiff::Timestamp) {
        let Ok(connection) = self.connection().await else {
            return;
        };
        let day_ago = sql::micros(now) - 86_400_000_000;
        for (text, is_expiry) in sql::SWEEPS {
            let limit = if is_expiry == 1 { sql::micros(now) } else { day_ago };
            if let Err(fault) = connection.execute(text, &vec![Box::new(limit)]).await {
                tracing::warn!(error.cause = ?fault, "sweep failed");
            }
        }
    }
}

async fn decide_and_apply(
    connection: &Connection,
    batch: &mut Batch,
    entropy: &mut (dyn Entropy + Send),
) -> Result<(), Fault> {
    let mut locked = HashSet::new();
    let mut is_first = true;
    let mut needs = batch.needs();
    for _ in 0..ROUNDS_MAX + BATCH_MAX {
        if is_first || !needs.is_empty() {
            for (need, fact) in load_round(connection, needs, is_first).await? {
                if is_first && let Need::Record(kind, key) = &need {
                    locked.insert((*kind, key.clone()));
                }
                batch.supply(need, fact);
            }
            is_first = false;
        }
        needs = batch.advance(entropy);
        if needs.is_empty() {
            return apply(connection, batch.writes(), &locked).await;
        }
    }
    Err(Error::internal("a batch asked for facts without end").into())
}

/// Under which number an idempotency key is locked.
fn lock_number(credential_id: i64, key: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(credential_id.to_be_bytes());
    hash.update(key);
    hash.finalize().first_chunk().map_or(0, |number| i64::from_be_bytes(*number))
}

/// Loads in one go: all statements are sent before the first answer is awaited. The first round
/// opens the transaction and locks idempotency keys, because an answer that another node is about
/// to keep has to be seen before anything else is, and then its rows, kind by kind, in id order:
/// every node does it in that order, so none waits for another in a circle.
async fn load_round(
    connection: &Connection,
    needs: Vec<Need>,
    is_first: bool,
) -> Result<Vec<(Need, Fact)>, Fault> {
    let mut records: BTreeMap<Kind, Vec<Key>> = BTreeMap::new();
    let mut ids: HashMap<Sequence, i64> = HashMap::new();
    let mut others = Vec::new();
    let mut locks = Vec::new();
    for need in needs {
        if let (true, Need::Idempotency(credential_id, key)) = (is_first, &need) {
            locks.push(lock_number(*credential_id, key));
        }
        match need {
            Need::Record(kind, key) => records.entry(kind).or_default().push(key),
            Need::Id(sequence) => *ids.entry(sequence).or_default() += 1,
            other => others.push(other),
        }
    }
    locks.sort_unstable();
    let opening = async {
        if is_first {
            let mut text = "BEGIN".to_owned();
            for number in locks {
                let _ = write!(text, "; SELECT pg_advisory_xact_lock({number})");
            }
            connection.client.batch_execute(&text).await.map_err(Fault::from)?;
        }
        Ok::<_, Fault>(())
    };
    let mut kinds = Vec::with_capacity(records.len());
    for (kind, keys) in &mut records {
        keys.sort_unstable();
        keys.dedup();
        let text = (*kind, &*keys);
        kinds.push(async move {
            let (kind, keys) = text;
            let borrowed: Vec<&Key> = keys.iter().collect();
            connection.load_records(kind, &borrowed, is_first).await
        });
    }
    let sequences: Vec<(Sequence, i64)> = ids.into_iter().collect();
    let numbers = sequences.iter().map(|(sequence, count)| async move {
        let name = match sequence {
            Sequence::Change => "change",
            Sequence::Record(kind) => kind.table().name,
        };
        let text = format!("SELECT nextval('{name}_id_seq') FROM generate_series(1, $1::bigint)");
        connection.query(&text, &vec![Box::new(*count)], 1).await
    });
    let rest = others.iter().map(|need| connection.load_one(need, false));
    // The first poll of each future sends its statement, in this order.
    let (begun, loaded, numbers, answers) =
        tokio::join!(opening, join_all(kinds), join_all(numbers), join_all(rest));
    begun?;
    let mut found = Vec::new();
    for ((kind, keys), documents) in records.into_iter().zip(loaded) {
        for (key, document) in keys.into_iter().zip(documents?) {
            found.push((Need::Record(kind, key), Fact::Record(document.map(Arc::new))));
        }
    }
    for ((sequence, _), rows) in sequences.into_iter().zip(numbers) {
        let given = rows?.iter().filter_map(|row| sql::first_int(row)).collect();
        found.push((Need::Id(sequence), Fact::Ids(given)));
    }
    for (need, fact) in others.into_iter().zip(answers) {
        found.push((need, fact?));
    }
    Ok(found)
}

/// A statement with its parameters and the number of rows it must write.
struct Step {
    text: String,
    parameters: Parameters,
    rows: Option<u64>,
}

async fn apply(
    connection: &Connection,
    writes: &Writes,
    locked: &HashSet<(Kind, Key)>,
) -> Result<(), Fault> {
    if writes.is_empty() {
        connection.client.batch_execute("ROLLBACK").await?;
        return Ok(());
    }
    let steps = steps(writes)?;
    // A row that was not locked may have moved on, and a key may have come in by another node: then
    // the numbers of rows have to be seen before the commit is sent.
    let is_certain = writes.answers.is_empty()
        && writes
            .documents
            .iter()
            .all(|(place, pending)| pending.stored_version.is_none() || locked.contains(place));
    // A statement that had to be prepared in between would fall behind the commit.
    for step in &steps {
        connection.statement(&step.text).await?;
    }
    let run = join_all(steps.iter().map(|step| connection.execute(&step.text, &step.parameters)));
    let written = if is_certain {
        let commit = connection.client.batch_execute("COMMIT");
        let (written, committed) = tokio::join!(run, commit);
        // The commit of a transaction that has failed answers success, so every step counts.
        check(&steps, written)?;
        committed?;
        return Ok(());
    } else {
        run.await
    };
    check(&steps, written)?;
    connection.client.batch_execute("COMMIT").await?;
    Ok(())
}

fn check(steps: &[Step], written: Vec<Result<u64, Fault>>) -> Result<(), Fault> {
    let mut moved = false;
    for (step, written) in steps.iter().zip(written) {
        let written = written?;
        moved |= step.rows.is_some_and(|rows| rows != written);
    }
    if moved { Err(Fault::Retry) } else { Ok(()) }
}

fn steps(writes: &Writes) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    let mut by_kind: BTreeMap<Kind, Vec<&Pending>> = BTreeMap::new();
    for ((kind, _), pending) in &writes.documents {
        by_kind.entry(*kind).or_default().push(pending);
    }
    for (kind, rows) in by_kind {
        let (new, old): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|pending| pending.stored_version.is_none());
        if !new.is_empty() {
            steps.push(insert(kind, &new)?);
            if writes.foreign_ids.contains(&kind) && kind.table().key == KeyType::Int {
                let name = kind.table().name;
                steps.push(Step {
                    text: format!(
                        "SELECT setval('{name}_id_seq', \
                         greatest((SELECT max(id) FROM {name}), (SELECT last_value FROM {name}_id_seq)))"
                    ),
                    parameters: Vec::new(),
                    rows: None,
                });
            }
        }
        if !old.is_empty() {
            steps.push(update(kind, &old)?);
        }
    }
    if !writes.changes.is_empty() {
        let rows = writes.changes.iter().map(|change| sql::encode_change(change)).collect();
        steps.push(change_insert(rows));
    }
    for (credential_id, key, answer) in &writes.answers {
        let values = sql::encode_answer(*credential_id, key, answer)?;
        steps.push(Step {
            text: sql::IDEMPOTENCY_PUT.to_owned(),
            parameters: values.iter().map(parameter).collect(),
            rows: Some(1),
        });
    }
    if !writes.tokens.is_empty() {
        let rows = writes.tokens.iter().map(sql::encode_token).collect();
        let head = "INSERT INTO token (hash, credential_id, expires_at) SELECT * FROM";
        steps.push(set_based(head, "", "tbb", rows));
    }
    if !writes.signatures.is_empty() {
        let rows = writes.signatures.iter().map(|(credential_id, digest, expires_at)| {
            vec![
                Sql::Int(*credential_id),
                Sql::Text(digest.clone()),
                Sql::Int(sql::micros(*expires_at)),
            ]
        });
        let head = "INSERT INTO signature (credential_id, digest, expires_at) SELECT * FROM";
        steps.push(set_based(head, "", "btb", rows.collect()));
    }
    Ok(steps)
}

/// The types of a kind's columns: `b` for BIGINT, `t` for TEXT.
fn types(kind: Kind) -> String {
    let table = kind.table();
    let mut types = if table.key == KeyType::Int { "b" } else { "t" }.to_owned();
    types.push_str("bbbbbb");
    for (_, column) in table.columns {
        types.push(if column.is_text() { 't' } else { 'b' });
    }
    types.push('t');
    types
}

fn insert(kind: Kind, rows: &[&Pending]) -> Result<Step, Fault> {
    let table = kind.table();
    let values = rows.iter().map(|row| sql::encode(&row.document)).collect::<Result<_, _>>()?;
    let head = format!("INSERT INTO {} ({}) SELECT * FROM", table.name, sql::columns(table));
    Ok(set_based(&head, "", &types(kind), values))
}

fn update(kind: Kind, rows: &[&Pending]) -> Result<Step, Fault> {
    let table = kind.table();
    let mut values = Vec::with_capacity(rows.len());
    for row in rows {
        let mut encoded = sql::encode(&row.document)?;
        encoded.push(Sql::Int(row.stored_version.unwrap_or_default()));
        values.push(encoded);
    }
    let all = sql::columns(table);
    let sets: Vec<String> = all
        .split(", ")
        .filter(|name| !["id", "account_id", "created_at"].contains(name))
        .map(|name| format!("{name} = u.{name}"))
        .collect();
    let head = format!("UPDATE {} t SET {} FROM", table.name, sets.join(", "));
    // The owner stands in the WHERE: no write can move a row to another account.
    let tail = format!(
        " AS u ({all}, expected) \
         WHERE t.id = u.id AND t.account_id = u.account_id AND t.version = u.expected"
    );
    Ok(set_based(&head, &tail, &(types(kind) + "b"), values))
}

/// The statements of this store alone, to be prepared by a check.
pub(super) fn statements() -> Vec<String> {
    let texts = |kind: &Kind| [insert(*kind, &[]), update(*kind, &[])];
    let steps = Kind::ALL.iter().flat_map(texts).flatten();
    steps.map(|step| step.text).chain([change_insert(Vec::new()).text]).collect()
}

fn change_insert(rows: Vec<Vec<Sql>>) -> Step {
    let head = format!("INSERT INTO change ({}) SELECT * FROM", sql::CHANGE_COLUMNS);
    set_based(&head, "", "bbttbbbtttttt", rows)
}

/// One statement for many rows: a column of values for each parameter.
fn set_based(head: &str, tail: &str, types: &str, rows: Vec<Vec<Sql>>) -> Step {
    let count = rows.len() as u64;
    let mut marks = Vec::with_capacity(types.len());
    let mut columns: Vec<Vec<Sql>> =
        types.chars().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let mut parameters: Parameters = Vec::with_capacity(types.len());
    for (index, (column, kind)) in columns.into_iter().zip(types.chars()).enumerate() {
        let is_text = kind == 't';
        marks.push(format!("${}::{}[]", index + 1, if is_text { "text" } else { "bigint" }));
        parameters.push(if is_text {
            Box::new(column.into_iter().map(into_text).collect::<Vec<_>>())
        } else {
            Box::new(column.iter().map(int).collect::<Vec<_>>())
        });
    }
    Step {
        text: format!("{head} unnest({}){tail}", marks.join(", ")),
        parameters,
        rows: Some(count),
    }
}

fn into_text(value: Sql) -> Option<String> {
    match value {
        Sql::Text(text) => Some(text),
        Sql::Int(_) | Sql::Null => None,
    }
}

fn int(value: &Sql) -> Option<i64> {
    match value {
        Sql::Int(value) => Some(*value),
        Sql::Text(_) | Sql::Null => None,
    }
}
