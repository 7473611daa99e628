//! A schema, a session and a database for the scripts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use meridian_storage::base::BoxFuture;
use meridian_txn::{Db, Isolation, Txn, TxnOptions};
use parking_lot::Mutex;
use sqlparser::ast;

use crate::bind::{BindContext, BoundStatement, bind_data_type, bind_statement};
use crate::catalog::*;
use crate::error::{SqlError, SqlResult};
use crate::exec::{self, ExecContext, ExplainOptions, Statement, Surroundings};
use crate::optimize::optimize;
use crate::parse;
use crate::plan::{Field, Schema};
use crate::registry::{EvalContext, SessionFunctions};
use crate::types::text::{FormatSettings, NoNames, ObjectNames, output};
use crate::types::{Batch, Datum, Oid, SqlType};

const DATABASE: DatabaseId = DatabaseId(1);
const PUBLIC: SchemaId = SchemaId(2200);

/// Counters in memory for sequences and row ids.
#[derive(Default)]
struct TestSession {
    next: AtomicI64,
    sequences: Mutex<BTreeMap<u32, i64>>,
}

impl SessionFunctions for TestSession {
    fn object_names(&self) -> &dyn ObjectNames {
        &NoNames
    }
}

impl Surroundings for TestSession {
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
        let mut all = self.sequences.lock();
        let value = all.entry(sequence.0).or_default();
        *value += 1;
        let value = *value;
        Box::pin(async move { Ok(value) })
    }
    fn set_value(&self, sequence: Oid, value: i64, _: bool) -> BoxFuture<'_, SqlResult<()>> {
        self.sequences.lock().insert(sequence.0, value);
        Box::pin(async { Ok(()) })
    }
    fn row_ids(&self, _: TableId, count: u64) -> BoxFuture<'_, SqlResult<Range<i64>>> {
        let start = self.next.fetch_add(count as i64, Ordering::Relaxed);
        Box::pin(async move { Ok(start..start + count as i64) })
    }
    fn sleep(&self, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
    fn virtual_table<'a>(&'a self, _: &'a Txn, name: &'a str) -> BoxFuture<'a, SqlResult<Vec<Batch>>> {
        Box::pin(async move { Err(SqlError::internal(format!("no {name} here"))) })
    }
}

pub struct World {
    catalog: Catalog,
    db: Db,
    session: Arc<TestSession>,
    /// How many foreign keys there have been.
    constraints: AtomicU32,
    /// What a statement may hold.
    pub memory: usize,
}

impl World {
    pub fn new(db: Db) -> Self {
        let mut catalog = Catalog::default();
        let database = DatabaseDescriptor { id: DATABASE, name: "postgres".into() };
        catalog.databases.insert(DATABASE, Arc::new(database));
        let schema = SchemaDescriptor { id: PUBLIC, database: DATABASE, name: "public".into() };
        catalog.schemas.insert(PUBLIC, Arc::new(schema));
        World {
            catalog,
            db,
            session: Arc::default(),
            constraints: AtomicU32::new(0),
            memory: exec::MemoryBudget::DEFAULT,
        }
    }

    pub async fn run(&mut self, sql: &str) -> String {
        if let Some(table) = sql.strip_prefix("analyze ") {
            return self.analyze(table.trim_end_matches(';')).await;
        }
        match self.try_run(sql).await {
            Ok(text) => text,
            Err(e) => show_error(&e),
        }
    }

    async fn try_run(&mut self, sql: &str) -> SqlResult<String> {
        let Some(parsed) = parse::parse_single(sql)? else { return Ok("nothing".into()) };
        if let parse::Statement::Sql(s) = &parsed.statement {
            match &**s {
                ast::Statement::CreateTable(create) => {
                    self.create_table(create);
                    return Ok("ok".into());
                }
                ast::Statement::CreateIndex(create) => {
                    self.create_index(create);
                    return Ok("ok".into());
                }
                ast::Statement::AlterTable(alter) => {
                    self.alter_table(alter);
                    return Ok("ok".into());
                }
                _ => {}
            }
        }
        let txn = self.db.begin(TxnOptions::default());
        let text = self.execute_in(&txn, &parsed, &[]).await?;
        txn.commit().await?;
        Ok(text)
    }

    pub fn begin(&self, isolation: Isolation) -> Txn {
        self.db.begin(TxnOptions { isolation, ..TxnOptions::default() })
    }

    /// Runs one statement of a transaction.
    pub async fn run_in(&self, txn: &Txn, sql: &str) -> String {
        self.run_with(txn, sql, &[]).await
    }

    /// Runs one statement of a transaction, with values for its parameters.
    pub async fn run_with(&self, txn: &Txn, sql: &str, params: &[Datum]) -> String {
        let parsed = parse::parse_single(sql).expect("the test's SQL").expect("a statement");
        txn.begin_statement();
        match self.execute_in(txn, &parsed, params).await {
            Ok(text) => text.trim_end().to_string(),
            Err(e) => show_error(&e),
        }
    }

    async fn execute_in(
        &self,
        txn: &Txn,
        parsed: &parse::ParsedStatement,
        params: &[Datum],
    ) -> SqlResult<String> {
        let eval = EvalContext::detached();
        let context = BindContext {
            catalog: &self.catalog,
            database: DATABASE,
            search_path: &[PUBLIC],
            virtual_tables: |_, _| None,
            eval: &eval,
        };
        let (query, explain) = match bind_statement(parsed, context, Some(&[]))? {
            BoundStatement::Query(q) => (q, false),
            BoundStatement::Explain(_, q) => (q, true),
            BoundStatement::Utility(_) => return Ok("utility".into()),
        };
        let plan = Arc::new(optimize(query.plan, &self.catalog, query.params.len(), &context)?);
        if explain {
            let options = ExplainOptions { costs: false, ..ExplainOptions::default() };
            return Ok(exec::describe_plan(&plan, &options).join("\n"));
        }
        let ctx = self.context(txn.clone(), params);
        let mut operator = exec::execute(&plan, ctx);
        let mut text = String::new();
        while let Some(batch) = operator.next().await? {
            if let Some(fields) = &query.output {
                show_rows(&batch, fields, &mut text);
            }
        }
        if let Some(affected) = operator.affected() {
            text.push_str(&format!("{:?} {affected}", query.kind).to_uppercase());
        }
        if text.is_empty() {
            text.push_str("(no rows)");
        }
        Ok(text)
    }

    fn context(&self, txn: Txn, params: &[Datum]) -> ExecContext {
        let cancel = Arc::new(AtomicBool::new(false));
        let statement =
            Statement::new(txn, Arc::new(self.catalog.clone()), self.session.clone(), cancel, 0, 0)
                .with_memory(self.memory);
        ExecContext::new(Arc::new(statement), Arc::from(params))
    }

    async fn analyze(&mut self, name: &str) -> String {
        let Some(table) = self.named(name) else { return format!("no table {name}") };
        let txn = self.db.begin(TxnOptions::default());
        let statistics = exec::analyze::analyze(&self.context(txn.clone(), &[]), &table).await;
        let statistics = statistics.expect("the table is readable");
        let text = format!("{} rows", statistics.rows);
        self.catalog.statistics.insert(table.id, Arc::new(statistics));
        text
    }

    fn named(&self, name: &str) -> Option<Arc<TableDescriptor>> {
        self.catalog.tables.values().find(|t| t.name == name).cloned()
    }

    fn create_table(&mut self, create: &ast::CreateTable) {
        let name = create.name.0[0].as_ident().expect("a name").value.clone();
        let id = 16384 + self.catalog.tables.len() as u32;
        let mut table = TableDescriptor {
            id: TableId(id),
            database: DATABASE,
            schema: PUBLIC,
            name: name.clone(),
            version: 1,
            kind: TableKind::Table,
            next_column: 200,
            columns: Vec::new(),
            primary: index(1, &format!("{name}_pkey"), Vec::new(), true),
            indexes: Vec::new(),
            next_index: 2,
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            next_constraint: 1,
        };
        let mut uniques: Vec<Vec<String>> = Vec::new();
        let mut primary: Option<Vec<String>> = None;
        let mut references = Vec::new();
        for (i, c) in create.columns.iter().enumerate() {
            let ty = bind_data_type(&c.data_type).expect("a type");
            let mut column = column(i as u32 + 1, &c.name.value, ty);
            let own = || vec![c.name.value.clone()];
            for o in &c.options {
                match &o.option {
                    ast::ColumnOption::NotNull => column.not_null = true,
                    ast::ColumnOption::Default(e) => column.default = Some(e.to_string()),
                    ast::ColumnOption::PrimaryKey(_) => primary = Some(own()),
                    ast::ColumnOption::Unique(_) => uniques.push(own()),
                    ast::ColumnOption::Check(check) => add_check(&mut table, &name, &check.expr),
                    ast::ColumnOption::ForeignKey(fk) => references.push((own(), fk.clone())),
                    ast::ColumnOption::Generated { .. } => {
                        column.identity = Some(Identity::ByDefault);
                        column.owned_sequence = Some(TableId(90_000 + id));
                    }
                    other => panic!("column option {other}"),
                }
            }
            table.columns.push(column);
        }
        let names = |columns: &[ast::IndexColumn]| -> Vec<String> {
            columns.iter().map(|c| c.column.expr.to_string()).collect()
        };
        for constraint in &create.constraints {
            match constraint {
                ast::TableConstraint::PrimaryKey(k) => primary = Some(names(&k.columns)),
                ast::TableConstraint::Unique(k) => uniques.push(names(&k.columns)),
                ast::TableConstraint::Check(c) => add_check(&mut table, &name, &c.expr),
                ast::TableConstraint::ForeignKey(fk) => {
                    references.push((fk.columns.iter().map(|c| c.value.clone()).collect(), fk.clone()));
                }
                other => panic!("constraint {other}"),
            }
        }
        match primary {
            Some(names) => {
                for n in &names {
                    table.columns.iter_mut().filter(|c| c.name == *n).for_each(|c| c.not_null = true);
                }
                table.primary.key = keys(&table, &names);
            }
            None => {
                let mut rowid = column(100, "rowid", SqlType::new(Oid::INT8));
                rowid.hidden = true;
                rowid.not_null = true;
                table.columns.push(rowid);
                table.primary.is_primary_key = false;
                table.primary.key = keys(&table, &["rowid".to_string()]);
            }
        }
        for names in uniques {
            let number = table.indexes.len() as u32 + 2;
            let built = index(number, &format!("{name}_{}_key", names.join("_")), keys(&table, &names), true);
            table.indexes.push(built);
        }
        for (columns, fk) in references {
            self.add_foreign_key(&mut table, columns, &fk);
        }
        self.catalog.insert_table(table);
    }

    fn add_foreign_key(
        &self,
        table: &mut TableDescriptor,
        names: Vec<String>,
        fk: &ast::ForeignKeyConstraint,
    ) {
        let target = fk.foreign_table.0[0].as_ident().expect("a name").value.clone();
        let referenced = if target == table.name {
            table.clone()
        } else {
            (*self.named(&target).expect("a table")).clone()
        };
        let referenced_columns = if fk.referred_columns.is_empty() {
            referenced.primary.key.iter().map(|k| k.column).collect()
        } else {
            let names: Vec<String> = fk.referred_columns.iter().map(|c| c.value.clone()).collect();
            keys(&referenced, &names).iter().map(|k| k.column).collect()
        };
        let action = |a: Option<ast::ReferentialAction>| match a {
            Some(ast::ReferentialAction::Cascade) => FkAction::Cascade,
            Some(ast::ReferentialAction::SetNull) => FkAction::SetNull,
            Some(ast::ReferentialAction::SetDefault) => FkAction::SetDefault,
            Some(ast::ReferentialAction::Restrict) => FkAction::Restrict,
            _ => FkAction::NoAction,
        };
        table.foreign_keys.push(ForeignKey {
            oid: Oid(40_000 + self.constraints.fetch_add(1, Ordering::Relaxed)),
            name: format!("{}_{}_fkey", table.name, names.join("_")),
            columns: keys(table, &names).iter().map(|k| k.column).collect(),
            references: referenced.id,
            referenced_columns,
            on_delete: action(fk.on_delete),
            on_update: action(fk.on_update),
            match_full: fk.match_kind == Some(ast::ConstraintReferenceMatchKind::Full),
            validated: true,
        });
    }

    /// Only ADD FOREIGN KEY.
    fn alter_table(&mut self, alter: &ast::AlterTable) {
        let mut table = (*self.named(&alter.name.to_string()).expect("a table")).clone();
        for operation in &alter.operations {
            let ast::AlterTableOperation::AddConstraint {
                constraint: ast::TableConstraint::ForeignKey(fk),
                ..
            } = operation
            else {
                panic!("operation {operation}")
            };
            let columns = fk.columns.iter().map(|c| c.value.clone()).collect();
            self.add_foreign_key(&mut table, columns, fk);
        }
        self.catalog.insert_table(table);
    }

    /// The table is still empty: there is nothing to backfill.
    fn create_index(&mut self, create: &ast::CreateIndex) {
        let name = create.table_name.0[0].as_ident().expect("a name").value.clone();
        let mut table = (*self.named(&name).expect("a table")).clone();
        let key = create
            .columns
            .iter()
            .map(|c| {
                let descending = matches!(c.column.options.sort, Some(ast::OrderBySort::Desc));
                let nulls_first = c.column.options.nulls_first.unwrap_or(descending);
                let id = keys(&table, &[c.column.expr.to_string()])[0].column;
                IndexColumn { column: id, descending, nulls_first }
            })
            .collect();
        let index_name = create.name.as_ref().map_or("an_index".into(), |n| n.to_string());
        let mut built = index(table.indexes.len() as u32 + 2, &index_name, key, create.unique);
        built.constraint = false;
        let include: Vec<String> = create.include.iter().map(|c| c.value.clone()).collect();
        built.include = keys(&table, &include).iter().map(|k| k.column).collect();
        built.predicate = create.predicate.as_ref().map(|p| p.to_string());
        table.indexes.push(built);
        self.catalog.insert_table(table);
    }
}

fn add_check(table: &mut TableDescriptor, name: &str, expr: &ast::Expr) {
    let name = format!("{name}_check{}", table.checks.len());
    table.checks.push(CheckConstraint { oid: Oid(1), name, expr: expr.to_string(), validated: true });
}

fn keys(table: &TableDescriptor, names: &[String]) -> Vec<IndexColumn> {
    let find = |n: &String| table.columns.iter().find(|c| c.name == *n).expect("a column").id;
    names.iter().map(|n| IndexColumn { column: find(n), descending: false, nulls_first: false }).collect()
}

fn column(id: u32, name: &str, ty: SqlType) -> ColumnDescriptor {
    ColumnDescriptor {
        id: ColumnId(id),
        name: name.into(),
        ty,
        not_null: false,
        default: None,
        owned_sequence: None,
        identity: None,
        hidden: false,
        state: ElementState::Public,
        missing_value: None,
    }
}

fn index(id: u32, name: &str, key: Vec<IndexColumn>, unique: bool) -> IndexDescriptor {
    IndexDescriptor {
        id: IndexId(id),
        name: name.into(),
        oid: Oid(30_000 + id),
        unique,
        constraint: true,
        is_primary_key: id == 1,
        key,
        include: Vec::new(),
        predicate: None,
        state: ElementState::Public,
    }
}

fn show_rows(batch: &Batch, fields: &Schema, text: &mut String) {
    let eval = EvalContext::detached();
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
    let f = e.fields();
    let mut text = format!("ERROR {}: {}", f.code, f.message);
    for (name, value) in [("DETAIL", &f.detail), ("HINT", &f.hint)] {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    text
}
