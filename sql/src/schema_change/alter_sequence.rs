//! ALTER SEQUENCE.

use super::names::Name;
use super::{SchemaContext, rename, sequence};
use crate::bind::{bind_data_type, fold};
use crate::catalog::sequence::{SequenceState, write_in_transaction};
use crate::catalog::{SequenceOptions, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::AlterSequence;

const TAG: &str = "ALTER SEQUENCE";

pub async fn execute(ctx: &mut SchemaContext<'_>, alter: &AlterSequence) -> SqlResult<&'static str> {
    let name = Name::of(ctx, &alter.name)?;
    let Some(found) = name.find(ctx) else {
        if alter.if_exists {
            ctx.notice("00000", format!("relation \"{}\" does not exist, skipping", name.shown()));
            return Ok(TAG);
        }
        return Err(name.undefined_relation(ctx));
    };
    if found.sequence().is_none() {
        return Err(SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{}\" is not a sequence", found.name)));
    }
    let mut table = ctx.close(found.id).await?;
    if let Some(to) = &alter.rename_to {
        rename::table(ctx, table, &fold(to)).await?;
        return Ok(TAG);
    }
    let before =
        table.sequence().cloned().ok_or_else(|| SqlError::internal("the sequence became a table"))?;
    let after = changed_options(ctx, &before, alter)?;
    // The new version of the descriptor voids the values that nodes have taken but not given.
    match &alter.restart {
        None => check_within(&after, ctx.catalog.cache().sequences().peek(&table).await?, false)?,
        Some(value) => {
            let last = value.as_ref().map_or(Ok(after.start), sequence::number)?;
            let state = SequenceState { last, called: false };
            check_within(&after, state, true)?;
            write_in_transaction(ctx.txn, table.id, state);
        }
    }
    table.kind = TableKind::Sequence(after);
    let id = table.id;
    ctx.put_table(table);
    match &alter.owned_by {
        Some(Some(owner)) => sequence::set_owner(ctx, id, Some(owner)).await?,
        Some(None) => sequence::set_owner(ctx, id, None).await?,
        None => {}
    }
    Ok(TAG)
}

/// The options of before, changed where the statement says so.
fn changed_options(
    ctx: &SchemaContext<'_>,
    before: &SequenceOptions,
    alter: &AlterSequence,
) -> SqlResult<SequenceOptions> {
    let ty = match &alter.data_type {
        Some(ty) => bind_data_type(ty)?.oid,
        None => before.ty,
    };
    sequence::merged_options(ctx, ty, &alter.options, Some(before))
}

fn check_within(options: &SequenceOptions, state: SequenceState, restarted: bool) -> SqlResult<()> {
    let what = if restarted { "RESTART" } else { "last" };
    let SequenceState { last, .. } = state;
    let message = if last < options.min {
        format!("{what} value ({last}) cannot be less than MINVALUE ({})", options.min)
    } else if last > options.max {
        format!("{what} value ({last}) cannot be greater than MAXVALUE ({})", options.max)
    } else {
        return Ok(());
    };
    Err(SqlError::new(state::INVALID_PARAMETER_VALUE, message))
}
