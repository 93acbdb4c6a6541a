//! What a check reads from a server.

use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;

use super::{Connection, OpenError, Parameters, Patience, PgFault, Postgres, parameter, read_row};
use crate::domain::error::Error;
use crate::store::look::{Objects, differences};
use crate::store::sql::Sql;

/// Where the tables are made anew, never to be committed.
const FRESH: &str = "haksa_as_made";
/// What the tables of a schema are made of: what it is, its name, the table that it is of, and its text.
/// (PostgreSQL 18 has a constraint for each column that may not be null, which the column says as well.)
const OBJECTS: &str = "\
    SELECT 'column', t.relname || '.' || a.attname, t.relname, concat_ws(' ', \
        format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)) \
    FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped \
    LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum \
    WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND t.relkind = 'r' \
    UNION ALL SELECT CASE c.contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, c.conname, \
        t.relname, concat_ws(' ', pg_get_constraintdef(c.oid, true), c.convalidated) \
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid \
    WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.contype IN ('p', 'u', 'f', 'c', 'x') \
    UNION ALL SELECT 'index', i.relname, t.relname, \
        concat_ws(' ', pg_get_indexdef(i.oid, 0, true), x.indisvalid) \
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
    WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) \
    UNION ALL SELECT 'trigger', g.tgname, t.relname, \
        concat_ws(' ', pg_get_triggerdef(g.oid, true), g.tgenabled) \
    FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid \
    WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND NOT g.tgisinternal \
    UNION ALL SELECT 'function', p.proname, '', concat_ws(' ', \
        pg_get_function_arguments(p.oid), p.provolatile, p.prosrc) \
    FROM pg_proc p WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND p.proname LIKE 'haksa\\_%' \
    UNION ALL SELECT 'sequence', s.relname, '', '' FROM pg_class s \
    WHERE s.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND s.relkind = 'S'";

/// A connection for whoever looks at everything.
#[derive(Clone, Debug)]
pub struct Eye(Arc<Connection>);

impl Postgres {
    /// A connection for whoever looks at everything.
    pub(in crate::store) async fn eye(&self) -> Result<Eye, OpenError> {
        let opened = async {
            let connection = Connection::open(&self.way, Patience::Operator).await?;
            connection.script("SET jit = off").await?;
            Ok::<_, PgFault>(Eye(Arc::new(connection)))
        };
        opened.await.map_err(|fault| OpenError::Open(fault.into_text()))
    }
}

impl Eye {
    /// Rows until they are of `bytes_max`, and whether they are all.
    pub(in crate::store) async fn rows(
        &self,
        text: &str,
        parameters: &[Sql],
        width: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Vec<Sql>>, bool), Error> {
        self.found(text, parameters, width, bytes_max).await.map_err(PgFault::into_error)
    }

    async fn found(
        &self,
        text: &str,
        parameters: &[Sql],
        width: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Vec<Sql>>, bool), PgFault> {
        let statement = self.0.statement(text).await?;
        let parameters: Parameters = parameters.iter().map(parameter).collect();
        let borrowed = parameters.iter().map(|value| &**value as &(dyn ToSql + Sync));
        let mut rows = pin!(self.0.client().query_raw(&statement, borrowed).await?);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max {
            let Some(row) = rows.try_next().await? else { return Ok((found, true)) };
            let row = read_row(&row, width)?;
            bytes += row.iter().map(Sql::length).sum::<usize>();
            found.push(row);
        }
        Ok((found, false))
    }

    /// See [`crate::store::look::Looker::schema_faults`]. All tables are made anew in a transaction that
    /// is taken back; nobody else sees anything of it, or waits for it.
    pub(in crate::store) async fn schema_faults(&self) -> Result<Option<Vec<String>>, Error> {
        self.compared().await.map_err(PgFault::into_error)
    }

    async fn compared(&self) -> Result<Option<Vec<String>>, PgFault> {
        let client = self.0.client();
        let schema: Option<String> =
            client.query_one("SELECT current_schema()::text", &[]).await?.get(0);
        let Some(schema) = schema else { return Ok(None) };
        let stored = self.objects(&schema).await?;
        let begin = format!(
            "BEGIN READ WRITE; CREATE SCHEMA {FRESH}; SET LOCAL search_path = {FRESH}; \
             SET LOCAL check_function_bodies = off"
        );
        let fresh =
            if client.batch_execute(&begin).await.is_ok() { self.fresh().await } else { Ok(None) };
        client.batch_execute("ROLLBACK").await?;
        Ok(fresh?.map(|fresh| differences(&fresh, &stored)))
    }

    async fn fresh(&self) -> Result<Option<Objects>, PgFault> {
        for migration in super::migrations().get_migrations() {
            if let Some(text) = migration.sql() {
                self.0.client().batch_execute(text).await?;
            }
        }
        self.objects(FRESH).await.map(Some)
    }

    async fn objects(&self, schema: &str) -> Result<Objects, PgFault> {
        let rows = self.0.client().query(OBJECTS, &[&schema]).await?;
        let text = |row: &tokio_postgres::Row, place| row.try_get::<_, String>(place);
        let mut all = Objects::new();
        for row in rows {
            let table = text(&row, 2)?;
            if table != "refinery_schema_history" {
                let definition = text(&row, 3)?.replace(&format!("{FRESH}."), "");
                all.insert((text(&row, 0)?, text(&row, 1)?), [table, definition]);
            }
        }
        Ok(all)
    }
}
