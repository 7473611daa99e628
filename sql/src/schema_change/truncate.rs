//! TRUNCATE: new, empty indexes take the place of the old ones, whose rows a job removes.

use super::dependencies::inbound_keys;
use super::names::Name;
use super::primary_key::renumber;
use super::{SchemaContext, jobs};
use crate::catalog::sequence::{SequenceState, write_in_transaction};
use crate::catalog::{IndexId, TableDescriptor, TableId};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{CascadeOption, Truncate, TruncateIdentityOption};

pub async fn execute(ctx: &mut SchemaContext<'_>, truncate: &Truncate) -> SqlResult<&'static str> {
    let cascade = matches!(truncate.cascade, Some(CascadeOption::Cascade));
    let mut ids: Vec<TableId> = Vec::new();
    for target in &truncate.table_names {
        let table = Name::of(ctx, &target.name)?.table(ctx)?;
        if !ids.contains(&table.id) {
            ids.push(table.id);
        }
    }
    let mut next = 0;
    while next < ids.len() {
        let table = ctx.close(ids[next]).await?;
        let snapshot = ctx.snapshot();
        for (from, _) in inbound_keys(&snapshot, table.id) {
            if ids.contains(&from.id) {
                continue;
            }
            if !cascade {
                return Err(referenced(&table, &from));
            }
            ctx.notice("00000", format!("truncate cascades to table \"{}\"", from.name));
            ids.push(from.id);
        }
        next += 1;
    }
    let restart = matches!(truncate.identity, Some(TruncateIdentityOption::Restart));
    for id in ids {
        let table = ctx.close(id).await?;
        if restart {
            restart_sequences(ctx, &table);
        }
        empty(ctx, table).await?;
    }
    Ok("TRUNCATE TABLE")
}

async fn empty(ctx: &mut SchemaContext<'_>, mut table: TableDescriptor) -> SqlResult<()> {
    let old: Vec<IndexId> = table.all_indexes().map(|i| i.id).collect();
    renumber(ctx, &mut table, &old).await?;
    ctx.note_new_storage(&table);
    // There are no rows of before left.
    table.columns.iter_mut().for_each(|c| c.missing_value = None);
    jobs::sweep_after(ctx.db, ctx.txn, table.id, old);
    ctx.put_table(table);
    Ok(())
}

fn restart_sequences(ctx: &mut SchemaContext<'_>, table: &TableDescriptor) {
    let snapshot = ctx.snapshot();
    for id in table.columns.iter().filter_map(|c| c.owned_sequence) {
        let Some(sequence) = snapshot.tables.get(&id) else { continue };
        let Some(options) = sequence.sequence() else { continue };
        write_in_transaction(ctx.txn, id, SequenceState { last: options.start, called: false });
        // A new version of the descriptor voids the values that nodes have taken.
        ctx.put_table(TableDescriptor::clone(sequence));
    }
}

fn referenced(table: &TableDescriptor, from: &TableDescriptor) -> SqlError {
    SqlError::new(
        state::FEATURE_NOT_SUPPORTED,
        "cannot truncate a table referenced in a foreign key constraint",
    )
    .with_detail(format!("Table \"{}\" references \"{}\".", from.name, table.name))
    .with_hint(format!("Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.", from.name))
}
