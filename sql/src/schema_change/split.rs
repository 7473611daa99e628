//! ALTER TABLE … SPLIT AT and ALTER INDEX … SPLIT AT (CockroachDB's statements): ranges begin at the given keys.
//!
//! This changes where data lies, not what it is: it is done at once and is no part of a transaction. Ranges that grow, or
//! that a busy cluster wants apart, split by themselves; this is for those who know beforehand.

use meridian_storage::base::Key;

use super::SchemaContext;
use super::names::Name;
use crate::bind::bind_argument;
use crate::error::{SqlError, SqlResult, state};
use crate::expr::eval::eval_row;
use crate::parse::SplitAt;
use crate::row::IndexEncoder;
use crate::types::Datum;

pub async fn execute(ctx: &mut SchemaContext<'_>, split: &SplitAt, source: &str) -> SqlResult<&'static str> {
    let tag = if split.index { "ALTER INDEX" } else { "ALTER TABLE" };
    if ctx.in_block {
        return Err(SqlError::new(
            state::ACTIVE_SQL_TRANSACTION,
            format!("{tag} ... SPLIT AT cannot run inside a transaction block"),
        ));
    }
    for key in keys(ctx, split, source)? {
        ctx.check_cancel()?;
        ctx.db.split_at(key).await?;
    }
    Ok(tag)
}

/// Where the rows of VALUES lie in the index.
fn keys(ctx: &SchemaContext<'_>, split: &SplitAt, source: &str) -> SqlResult<Vec<Key>> {
    let name = Name::of(ctx, &split.name)?;
    let catalog = ctx.snapshot();
    let (table, index) = if split.index {
        let (table, id) = name.find_index(ctx).ok_or_else(|| name.undefined_relation(ctx))?;
        let table = catalog.tables.get(&table).cloned().ok_or_else(|| name.undefined_relation(ctx))?;
        (table, Some(id))
    } else {
        (name.table(ctx)?, None)
    };
    let secondary = index.and_then(|id| table.indexes.iter().find(|i| i.id == id));
    let (key, encoder) = match secondary {
        Some(index) => (&index.key, IndexEncoder::secondary(&table, index)?),
        None => (&table.primary.key, IndexEncoder::primary(&table)?),
    };
    let eval = ctx.eval();
    let context = ctx.bind(&catalog, &eval);
    let mut keys = Vec::new();
    for row in &split.rows {
        if row.len() > key.len() {
            return Err(SqlError::new(
                state::SYNTAX_ERROR,
                format!("SPLIT AT has {} values for {} key columns", row.len(), key.len()),
            ));
        }
        let mut values: Vec<Datum> = Vec::new();
        for (e, part) in row.iter().zip(key) {
            let column = table.columns.iter().find(|c| c.id == part.column);
            let column = column.ok_or_else(|| SqlError::internal("a key column is not in the table"))?;
            let bound = bind_argument(context, source, e, column.ty)?;
            values.push(eval_row(&bound, &[], &eval)?);
        }
        let refs: Vec<_> = values.iter().map(Into::into).collect();
        keys.push(encoder.key_prefix(&refs)?.into());
    }
    Ok(keys)
}
