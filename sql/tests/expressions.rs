//! Every expression of `tests/expressions/*.txt` gives what PostgreSQL 15 gave when the files were recorded (by
//! `record.py` beside them): the value's text form, or SQLSTATE and message.
//!
//! Statements are bound as usual and run by the few lines below, over rows in memory, so that a difference is one of
//! types, functions or evaluation. Every projection is computed twice, row by row and as a batch.

use std::path::Path;
use std::sync::Arc;

use meridian_sql::bind::{BindContext, BoundStatement, bind_statement};
use meridian_sql::catalog::{Catalog, DatabaseDescriptor, DatabaseId, SchemaDescriptor, SchemaId};
use meridian_sql::error::{SqlError, SqlResult};
use meridian_sql::expr::Expr;
use meridian_sql::expr::eval::{eval_batch, eval_row};
use meridian_sql::parse::parse_single;
use meridian_sql::plan::LogicalPlan;
use meridian_sql::registry::{Body, CallTypes, EvalContext};
use meridian_sql::types::datetime::TimeZone;
use meridian_sql::types::text::{FormatSettings, output};
use meridian_sql::types::{Batch, Column, Datum, Oid, SqlType};

type Rows = Vec<Vec<Datum>>;

fn project(rows: &Rows, exprs: &[Expr], ctx: &EvalContext<'_>) -> SqlResult<Rows> {
    let one_by_one: Rows = rows
        .iter()
        .map(|row| exprs.iter().map(|e| eval_row(e, row, ctx)).collect::<SqlResult<Vec<_>>>())
        .collect::<SqlResult<_>>()?;
    check_batch(rows, exprs, &one_by_one, ctx)?;
    Ok(one_by_one)
}

/// The same over a batch in which every row stands several times, so that the column-wise paths are taken.
fn check_batch(rows: &Rows, exprs: &[Expr], expected: &Rows, ctx: &EvalContext<'_>) -> SqlResult<()> {
    const COPIES: usize = 5;
    let Some(first) = rows.first() else { return Ok(()) };
    let copies = || rows.iter().flat_map(|row| std::iter::repeat_n(row, COPIES));
    let mut types = vec![Oid::INVALID; first.len()];
    for e in exprs {
        e.any(&mut |e| {
            if let Expr::Column { index, ty } = e {
                types[*index] = ty.oid;
            }
            false
        });
    }
    let columns = (0..first.len()).map(|i| {
        let mut column = Column::for_type(types[i]);
        copies().for_each(|row| column.push(&row[i]));
        Arc::new(column)
    });
    let batch = Batch { columns: columns.collect(), rows: rows.len() * COPIES };
    for (i, e) in exprs.iter().enumerate() {
        let column = eval_batch(e, &batch, ctx)?;
        for row in 0..batch.rows {
            let (a, b) = (column.datum(row), &expected[row / COPIES][i]);
            assert_eq!(format!("{a:?}"), format!("{b:?}"), "batch and row disagree on {e:?}");
        }
    }
    Ok(())
}

fn run(plan: &LogicalPlan, ctx: &EvalContext<'_>) -> SqlResult<Rows> {
    match plan {
        LogicalPlan::Values { rows, .. } => {
            rows.iter().map(|row| row.iter().map(|e| eval_row(e, &[], ctx)).collect()).collect()
        }
        LogicalPlan::Project { input, exprs, .. } => project(&run(input, ctx)?, exprs, ctx),
        LogicalPlan::FunctionScan { calls, schema, .. } => {
            let [(function, args)] = calls.as_slice() else {
                return Err(SqlError::unsupported("several functions in FROM"));
            };
            let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
            let values = args.iter().map(|a| eval_row(a, &[], ctx)).collect::<SqlResult<Vec<_>>>()?;
            if function.strict && values.iter().any(Datum::is_null) {
                return Ok(Vec::new());
            }
            let types = CallTypes { args: &types, result: schema[0].ty };
            match &function.body {
                Body::Set(body) => body(ctx, &types, &values),
                _ => Err(SqlError::unsupported("a scalar function in FROM")),
            }
        }
        LogicalPlan::Join { left, right, on: None, .. } => {
            let right = run(right, ctx)?;
            let pair = |l: Vec<Datum>| right.iter().map(move |r| [l.clone(), r.clone()].concat());
            Ok(run(left, ctx)?.into_iter().flat_map(pair).collect())
        }
        LogicalPlan::Aggregate { input, groups, aggregates, .. } if groups.is_empty() => {
            let rows = run(input, ctx)?;
            let mut out = Vec::new();
            for call in aggregates {
                let types: Vec<SqlType> = call.args.iter().map(Expr::ty).collect();
                let types = CallTypes { args: &types, result: call.ty };
                let mut state = call.function.accumulator(&types).expect("an aggregate");
                for args in project(&rows, &call.args, ctx)? {
                    state.add(ctx, &args)?;
                }
                out.push(state.finish(ctx)?);
            }
            Ok(vec![out])
        }
        other => Err(SqlError::unsupported(
            format!("in this test: {other:?}").chars().take(200).collect::<String>(),
        )),
    }
}

struct World {
    catalog: Catalog,
    settings: FormatSettings,
}

impl World {
    fn new() -> Self {
        let (database, schema) = (DatabaseId(1), SchemaId(2200));
        let mut catalog = Catalog::default();
        let descriptor = DatabaseDescriptor { id: database, name: "postgres".into() };
        catalog.databases.insert(database, Arc::new(descriptor));
        let descriptor = SchemaDescriptor { id: schema, database, name: "public".into() };
        catalog.schemas.insert(schema, Arc::new(descriptor));
        World { catalog, settings: FormatSettings::default() }
    }

    fn answer(&self, expression: &str) -> SqlResult<String> {
        let ctx = EvalContext { format: &self.settings, ..EvalContext::detached() };
        let statement = parse_single(&format!("select {expression}"))?.expect("a statement");
        let context = BindContext {
            catalog: &self.catalog,
            database: DatabaseId(1),
            search_path: &[SchemaId(2200)],
            virtual_tables: |_, _| None,
            eval: &ctx,
        };
        let BoundStatement::Query(query) = bind_statement(&statement, context, None)? else {
            panic!("not a query: {expression}");
        };
        let ty = query.output.expect("a query has columns")[0].ty.oid;
        let shown: Vec<String> = run(&query.plan, &ctx)?
            .iter()
            .map(|row| match &row[0] {
                Datum::Null => "NULL".to_owned(),
                value => output(ty, value, &ctx.text()),
            })
            .collect();
        Ok(if shown.is_empty() { "(no rows)".to_owned() } else { shown.join(" | ") })
    }
}

#[test]
fn expressions_give_what_postgresql_gives() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expressions");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the golden files").map(|e| e.expect("a file").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "txt"));
    files.sort();
    let mut differences = Vec::new();
    let mut count = 0;
    for file in files {
        let mut world = World::new();
        let text = std::fs::read_to_string(&file).expect("a golden file");
        for (number, line) in text.lines().enumerate() {
            if let Some(zone) = line.strip_prefix("# timezone: ") {
                world.settings.time_zone = TimeZone::by_name(zone).expect("a known zone");
            }
            let line = line.strip_prefix("! ").unwrap_or(line);
            let Some((expression, expected)) = line.split_once(" => ").filter(|_| !line.starts_with('#'))
            else {
                continue;
            };
            count += 1;
            let given =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match world.answer(expression) {
                    Ok(answer) => answer,
                    Err(e) => format!("ERROR {}: {}", e.code(), e.message()),
                }));
            let given = given.unwrap_or_else(|_| "PANIC".to_owned()).replace('\n', "\\n");
            if given != expected {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                differences.push(format!(
                    "{name}:{}: {expression}\n   given: {given}\nexpected: {expected}",
                    number + 1
                ));
            }
        }
    }
    assert!(count > 2000, "the golden files are there");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
