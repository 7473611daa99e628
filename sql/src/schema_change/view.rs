//! CREATE VIEW.

use super::SchemaContext;
use super::columns::{self, plain};
use super::create_table::empty;
use super::names::Name;
use crate::bind::{bind_query, fold};
use crate::catalog::{TableDescriptor, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ParsedStatement;
use crate::parse::ast::{CreateTableOptions, CreateView};
use crate::plan::Schema;
use crate::types::{Oid, SqlType};

const TAG: &str = "CREATE VIEW";

pub async fn execute(
    ctx: &mut SchemaContext<'_>,
    create: &CreateView,
    parsed: &ParsedStatement,
) -> SqlResult<&'static str> {
    if create.materialized {
        return Err(SqlError::unsupported("a materialized view"));
    }
    if create.temporary {
        return Err(SqlError::unsupported("a temporary view"));
    }
    if !matches!(create.options, CreateTableOptions::None) {
        return Err(SqlError::unsupported("WITH in CREATE VIEW"));
    }
    let name = Name::of(ctx, &create.name)?;
    let schema = name.creation_schema(ctx)?;
    let output = {
        let snapshot = ctx.snapshot();
        let eval = ctx.eval();
        bind_query(&create.query, &parsed.source, ctx.bind(&snapshot, &eval))?.schema()
    };
    let mut view = empty(ctx, schema, name.name.clone()).await?;
    view.kind = TableKind::View { query: create.query.to_string() };
    let names: Vec<String> = create.columns.iter().map(|c| fold(&c.name).into_owned()).collect();
    set_columns(&mut view, &output, &names)?;
    match ctx.snapshot().relation(schema, &name.name).cloned() {
        Some(old) if create.or_replace => replace(ctx, &old, view).await?,
        _ => {
            ctx.take_relation_name(schema, &view.name, view.id.0).await?;
            ctx.put_table(view);
        }
    }
    Ok(TAG)
}

fn set_columns(view: &mut TableDescriptor, output: &Schema, names: &[String]) -> SqlResult<()> {
    if names.len() > output.len() {
        return Err(SqlError::new(
            state::SYNTAX_ERROR,
            "CREATE VIEW specifies more column names than columns",
        ));
    }
    for (n, field) in output.iter().enumerate() {
        let name = names.get(n).unwrap_or(&field.name).clone();
        if view.columns.iter().any(|c| c.name == name) {
            return Err(SqlError::new(
                state::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        let ty = if field.ty.oid == Oid::UNKNOWN { SqlType::new(Oid::TEXT) } else { field.ty };
        let id = columns::next_id(view);
        view.columns.push(plain(id, name, ty));
    }
    Ok(())
}

/// OR REPLACE: the columns that were there must stay, new ones may follow.
async fn replace(
    ctx: &mut SchemaContext<'_>,
    old: &TableDescriptor,
    mut view: TableDescriptor,
) -> SqlResult<()> {
    if !matches!(old.kind, TableKind::View { .. }) {
        return Err(SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{}\" is not a view", old.name)));
    }
    let old = ctx.close(old.id).await?;
    let invalid = |message: String| Err(SqlError::new(state::INVALID_TABLE_DEFINITION, message));
    if view.columns.len() < old.columns.len() {
        return invalid("cannot drop columns from view".into());
    }
    for (before, after) in old.columns.iter().zip(&view.columns) {
        if before.name != after.name {
            return invalid(format!(
                "cannot change name of view column \"{}\" to \"{}\"",
                before.name, after.name
            ));
        }
        if before.ty != after.ty {
            let shown = crate::registry::format_type;
            return invalid(format!(
                "cannot change data type of view column \"{}\" from {} to {}",
                before.name,
                shown(before.ty),
                shown(after.ty)
            ));
        }
    }
    view.id = old.id;
    view.version = old.version;
    ctx.put_table(view);
    Ok(())
}
