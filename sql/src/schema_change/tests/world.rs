//! Sessions enough for the scripts: transactions, savepoints, queries, and schema changes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use meridian_storage::base::{BoxFuture, Span, keys};
use meridian_txn::{Db, ScanOptions, Txn, TxnOptions};
use parking_lot::Mutex;

use crate::bind::{BindContext, BoundStatement, bind_statement};
use crate::cancel::{CancelHandle, Guard};
use crate::catalog::bootstrap::{POSTGRES, PUBLIC};
use crate::catalog::virtual_tables::{self, NodeState, SessionInfo, SettingInfo};
use crate::catalog::*;
use crate::error::{SqlError, SqlResult};
use crate::exec::{self, ExecContext, Statement, Surroundings};
use crate::optimize::optimize;
use crate::parse::{self, ParsedStatement, ast};
use crate::plan::{Field, LogicalPlan, Schema};
use crate::registry::context::{DefinitionKind, VisibleKind};
use crate::registry::{EvalContext, SessionFunctions};
use crate::schema_change::{SchemaContext, execute, jobs};
use crate::types::text::{FormatSettings, ObjectNames, output};
use crate::types::{Batch, Datum, Oid};

/// What functions see.
struct View {
    cache: Arc<CatalogCache>,
    catalog: Mutex<Arc<Catalog>>,
}

impl View {
    fn now(&self) -> Arc<Catalog> {
        self.catalog.lock().clone()
    }

    fn sequence(&self, oid: Oid) -> SqlResult<Arc<TableDescriptor>> {
        let table = self.now().tables.get(&TableId(oid.0)).cloned();
        table.ok_or_else(|| SqlError::internal("no such sequence"))
    }
}

impl ObjectNames for View {
    fn relation_name(&self, oid: Oid) -> Option<String> {
        let catalog = self.now();
        match catalog.tables.get(&TableId(oid.0)) {
            Some(t) => Some(t.name.clone()),
            None => catalog.index_by_oid(oid).map(|(_, i)| i.name.clone()),
        }
    }

    fn relation_oid(&self, name: &str) -> SqlResult<Option<Oid>> {
        let catalog = self.now();
        let bare = name.rsplit('.').next().unwrap_or(name);
        let schema = name
            .split_once('.')
            .and_then(|(s, _)| catalog.schema_named(POSTGRES, s))
            .map_or(PUBLIC, |s| s.id);
        Ok(catalog.relation(schema, bare).map(|t| Oid(t.id.0)))
    }
}

impl SessionFunctions for View {
    fn object_names(&self) -> &dyn ObjectNames {
        self
    }
    fn is_visible(&self, _: VisibleKind, _: Oid) -> Option<bool> {
        Some(true)
    }
    fn definition(&self, kind: DefinitionKind, oid: Oid, column: i32) -> SqlResult<Option<String>> {
        virtual_tables::definition(&self.now(), POSTGRES, kind, oid, column)
    }
}

impl NodeState for View {
    fn sessions(&self) -> Vec<SessionInfo> {
        Vec::new()
    }
    fn settings(&self) -> Vec<SettingInfo> {
        Vec::new()
    }
}

impl Surroundings for View {
    fn functions(&self) -> &dyn SessionFunctions {
        self
    }
    fn format(&self) -> &FormatSettings {
        FormatSettings::default_ref()
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn next_value(&self, sequence: Oid) -> BoxFuture<'_, SqlResult<i64>> {
        Box::pin(async move { self.cache.sequences().next_value(&*self.sequence(sequence)?).await })
    }
    fn set_value(&self, sequence: Oid, value: i64, called: bool) -> BoxFuture<'_, SqlResult<()>> {
        Box::pin(
            async move { self.cache.sequences().set_value(&*self.sequence(sequence)?, value, called).await },
        )
    }
    fn row_ids(&self, table: TableId, count: u64) -> BoxFuture<'_, SqlResult<Range<i64>>> {
        Box::pin(async move { self.cache.sequences().row_ids(table, count).await })
    }
    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.cache.db().runtime().sleep(time)
    }
    fn virtual_table<'a>(&'a self, txn: &'a Txn, name: &'a str) -> BoxFuture<'a, SqlResult<Vec<Batch>>> {
        Box::pin(async move {
            let catalog = self.now();
            let source = virtual_tables::Source {
                catalog: &catalog,
                cache: &self.cache,
                database: POSTGRES,
                txn,
                node: self,
            };
            virtual_tables::rows(&source, name).await
        })
    }
}

pub struct Session {
    db: Db,
    catalog: SessionCatalog,
    view: Arc<View>,
    txn: Option<Txn>,
    savepoints: Vec<(String, meridian_txn::Savepoint, CatalogSavepoint)>,
}

pub struct World {
    db: Db,
    cache: Arc<CatalogCache>,
    sessions: BTreeMap<String, Session>,
}

impl World {
    /// The catalog as this node knows it, and as one that starts now reads it.
    pub async fn catalogs(&self) -> [Arc<Catalog>; 2] {
        let txn = self.db.begin(TxnOptions::default());
        [self.cache.current(), Arc::new(store::load(&txn).await.expect("the stored catalog"))]
    }

    pub async fn new(db: Db) -> Self {
        let cache = CatalogCache::open(db.clone()).await.expect("an empty cluster");
        World { db, cache, sessions: BTreeMap::new() }
    }

    pub async fn run(&mut self, session: &str, sql: &str) -> String {
        match sql {
            "jobs" => {
                return match jobs::run_due(&self.cache).await {
                    Ok(()) => "done".into(),
                    Err(e) => show_error(&e),
                };
            }
            "keys" => return self.keys().await,
            _ => {}
        }
        let cache = &self.cache;
        let session = self.sessions.entry(session.into()).or_insert_with(|| Session::new(cache.clone()));
        let mut notices = Vec::new();
        let result = session.run(sql, &mut notices).await;
        let mut text: String = notices.iter().map(|n| show("NOTICE", n) + "\n").collect();
        text += &result.unwrap_or_else(|e| show_error(&e));
        text
    }

    /// How many keys each index of each table has.
    async fn keys(&self) -> String {
        let txn = self.db.begin(TxnOptions::default());
        let all = Span::new(keys::table_prefix(0), vec![keys::TABLE + 1].into());
        let mut scanner = txn.scan(all, ScanOptions::default());
        let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        while let Some(block) = scanner.next_block().await.expect("readable") {
            for (key, _) in block.iter() {
                *counts.entry(key[1..9].to_vec()).or_default() += 1;
            }
        }
        let catalog = self.cache.current();
        let mut text = String::new();
        for (index, count) in counts {
            let number = |at: usize| u32::from_be_bytes(index[at..at + 4].try_into().expect("four bytes"));
            let table = catalog.tables.get(&TableId(number(0))).map_or("?", |t| t.name.as_str());
            text += &format!("{table}/{}: {count}\n", number(4));
        }
        if text.is_empty() { "none".into() } else { text }
    }
}

impl Session {
    pub fn new(cache: Arc<CatalogCache>) -> Self {
        Session {
            db: cache.db().clone(),
            catalog: SessionCatalog::new(cache.clone()),
            view: Arc::new(View { catalog: Mutex::new(cache.current()), cache }),
            txn: None,
            savepoints: Vec::new(),
        }
    }

    /// Has everything ready for the commit, then goes.
    pub async fn leave_to_commit(mut self) -> Txn {
        let txn = self.txn.take().expect("a block");
        self.catalog.before_commit(&txn).await.expect("a table that is closed");
        txn
    }

    pub async fn pause(&self) {
        self.db.runtime().sleep(Duration::from_millis(20)).await;
    }

    /// Runs a lone statement until it does not have to be retried.
    pub async fn retry(&mut self, sql: &str) -> SqlResult<String> {
        loop {
            match self.run(sql, &mut Vec::new()).await {
                Err(e) if store::is_retryable(&e) => {
                    self.db.runtime().sleep(Duration::from_millis(self.db.runtime().random() % 20)).await;
                }
                done => return done,
            }
        }
    }

    pub async fn run(&mut self, sql: &str, notices: &mut Vec<SqlError>) -> SqlResult<String> {
        let Some(parsed) = parse::parse_single(sql)? else { return Ok("nothing".into()) };
        if let Some(tag) = self.control(&parsed).await? {
            return Ok(tag);
        }
        let in_block = self.txn.is_some();
        let txn = match &self.txn {
            Some(txn) => txn.clone(),
            None => self.db.begin(TxnOptions::default()),
        };
        *self.view.catalog.lock() = self.catalog.snapshot();
        let result = self.statement(&parsed, &txn, in_block, notices).await;
        if in_block {
            return result;
        }
        match result {
            Ok(text) => {
                let committed = match self.catalog.before_commit(&txn).await {
                    Ok(()) => txn.commit().await.map_err(SqlError::from),
                    Err(e) => Err(e),
                };
                if let Err(e) = committed {
                    txn.rollback().await;
                    self.catalog.rollback();
                    return Err(e);
                }
                self.catalog.after_commit().await?;
                Ok(text)
            }
            Err(e) => {
                txn.rollback().await;
                self.catalog.rollback();
                Err(e)
            }
        }
    }

    async fn control(&mut self, parsed: &ParsedStatement) -> SqlResult<Option<String>> {
        if matches!(parsed.statement, parse::Statement::Begin(_)) {
            self.txn = Some(self.db.begin(TxnOptions::default()));
            return Ok(Some("BEGIN".into()));
        }
        let parse::Statement::Sql(sql) = &parsed.statement else { return Ok(None) };
        let Some(txn) = self.txn.clone() else { return Ok(None) };
        match &**sql {
            ast::Statement::Commit { .. } => {
                self.txn = None;
                self.savepoints.clear();
                self.catalog.before_commit(&txn).await?;
                let done = txn.commit().await;
                self.catalog.after_commit().await?;
                done?;
                Ok(Some("COMMIT".into()))
            }
            ast::Statement::Rollback { savepoint: None, .. } => {
                self.txn = None;
                self.savepoints.clear();
                txn.rollback().await;
                self.catalog.rollback();
                Ok(Some("ROLLBACK".into()))
            }
            ast::Statement::Savepoint { name } => {
                self.savepoints.push((name.value.clone(), txn.savepoint(), self.catalog.savepoint()));
                Ok(Some("SAVEPOINT".into()))
            }
            ast::Statement::Rollback { savepoint: Some(name), .. } => {
                let found = self.savepoints.iter().rev().find(|s| s.0 == name.value).expect("a savepoint");
                txn.rollback_to(found.1);
                self.catalog.rollback_to(found.2);
                Ok(Some("ROLLBACK".into()))
            }
            _ => Ok(None),
        }
    }

    async fn statement(
        &mut self,
        parsed: &ParsedStatement,
        txn: &Txn,
        in_block: bool,
        notices: &mut Vec<SqlError>,
    ) -> SqlResult<String> {
        let catalog = self.catalog.snapshot();
        let bound = {
            let eval = EvalContext { session: &*self.view, ..EvalContext::detached() };
            let context = BindContext {
                catalog: &catalog,
                database: POSTGRES,
                search_path: &[PUBLIC],
                virtual_tables: virtual_tables::lookup,
                eval: &eval,
            };
            match bind_statement(parsed, context, None)? {
                BoundStatement::Query(q) => {
                    let mut tables = Vec::new();
                    tables_of(&q.plan, &mut tables);
                    let plan = optimize(q.plan, &catalog, 0, &context)?;
                    Some((Arc::new(plan), q.output, format!("{:?}", q.kind), tables))
                }
                _ => None,
            }
        };
        let Some((plan, fields, kind, tables)) = bound else {
            let cancel = Arc::new(CancelHandle::default());
            let guard = Guard { cancel, db: self.db.clone(), deadline: None };
            let context = SchemaContext {
                db: &self.db,
                txn,
                catalog: &mut self.catalog,
                database: POSTGRES,
                search_path: &[PUBLIC],
                user: "postgres",
                session: self.view.clone(),
                in_block,
                cancel: guard.cancel.flag().clone(),
                guard: &guard,
                notices,
            };
            return execute(context, parsed).await;
        };
        self.catalog.use_tables(txn, &tables).await?;
        let cancel = Arc::new(AtomicBool::new(false));
        let statement = Statement::new(txn.clone(), catalog, self.view.clone(), cancel, 0, 0);
        let mut operator = exec::execute(&plan, ExecContext::new(Arc::new(statement), Arc::from([])));
        let mut text = String::new();
        while let Some(batch) = operator.next().await? {
            if let Some(fields) = &fields {
                show_rows(&batch, fields, &self.view, &mut text);
            }
        }
        if let Some(affected) = operator.affected() {
            text += &format!("{} {affected}", kind.to_uppercase());
        }
        Ok(if text.is_empty() { "(no rows)".into() } else { text })
    }
}

/// What the statement reads and writes.
fn tables_of(plan: &LogicalPlan, tables: &mut Vec<Arc<TableDescriptor>>) {
    match plan {
        LogicalPlan::Scan(scan) => tables.push(scan.table.clone()),
        LogicalPlan::Insert(i) => tables.push(i.table.clone()),
        LogicalPlan::Update(u) => tables.push(u.table.clone()),
        LogicalPlan::Delete(d) => tables.push(d.table.clone()),
        _ => {}
    }
    plan.for_each_input(&mut |input, _| tables_of(input, tables));
}

fn show_rows(batch: &Batch, fields: &Schema, names: &View, text: &mut String) {
    let eval = EvalContext { session: names, ..EvalContext::detached() };
    for row in 0..batch.rows {
        let value = |(column, field): (&Arc<crate::types::Column>, &Field)| match column.datum(row) {
            Datum::Null => "NULL".to_string(),
            value => output(field.ty.oid, &value, &eval.text()),
        };
        let values: Vec<String> = batch.columns.iter().zip(fields.iter()).map(value).collect();
        text.push_str(&values.join("|"));
        text.push('\n');
    }
}

fn show_error(e: &SqlError) -> String {
    show("ERROR", e)
}

fn show(severity: &str, e: &SqlError) -> String {
    let f = e.fields();
    let mut text = format!("{severity} {}: {}", f.code, f.message);
    for (name, value) in [("DETAIL", &f.detail), ("HINT", &f.hint)] {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    text
}
