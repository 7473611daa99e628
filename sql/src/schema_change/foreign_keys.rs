//! Foreign keys: what they refer to, and whether they can.

use super::SchemaContext;
use super::constraints::{ForeignKeySpec, check_constraint_name, constraint_names, refuse_deferrable};
use super::names::{Name, choose_name, join_columns};
use crate::bind::fold;
use crate::catalog::{ColumnId, ElementState, FkAction, ForeignKey, IndexDescriptor, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{ConstraintReferenceMatchKind, Ident, ReferentialAction};
use crate::types::Oid;

/// The unique index over exactly these columns, in any order: what makes them a key.
pub fn referenced_index<'t>(table: &'t TableDescriptor, columns: &[ColumnId]) -> Option<&'t IndexDescriptor> {
    table.all_indexes().find(|index| {
        index.unique
            && index.predicate.is_none()
            && index.state == ElementState::Public
            && index.key.len() == columns.len()
            && index.key.iter().all(|part| columns.contains(&part.column))
    })
}

/// Makes the descriptor of a foreign key of `table` and closes the table that it refers to.
pub async fn define(
    ctx: &mut SchemaContext<'_>,
    table: &TableDescriptor,
    spec: &ForeignKeySpec,
    validated: bool,
) -> SqlResult<ForeignKey> {
    let key = &spec.key;
    refuse_deferrable(key.characteristics.as_ref())?;
    let target = Name::of(ctx, &key.foreign_table)?;
    // A table that is being made may refer to itself.
    let own = target.name == table.name
        && target.schema.as_ref().is_none_or(|s| s == ctx.snapshot().schema_name(table.schema));
    let target = match target.find(ctx) {
        _ if own => table.clone(),
        Some(found) if found.is_table() => ctx.close(found.id).await?,
        Some(found) => {
            return Err(SqlError::new(
                state::WRONG_OBJECT_TYPE,
                format!("referenced relation \"{}\" is not a table", found.name),
            ));
        }
        None => return Err(target.undefined_relation(ctx)),
    };
    let columns = resolve(table, &key.columns)?;
    let referenced = if key.referred_columns.is_empty() {
        primary_key_of(&target)?
    } else {
        resolve(&target, &key.referred_columns)?
    };
    if columns.len() != referenced.len() {
        return Err(SqlError::new(
            state::INVALID_FOREIGN_KEY,
            "number of referencing and referenced columns for foreign key disagree",
        ));
    }
    if referenced_index(&target, &referenced).is_none() {
        return Err(SqlError::new(
            state::INVALID_FOREIGN_KEY,
            format!(
                "there is no unique constraint matching given keys for referenced table \"{}\"",
                target.name
            ),
        ));
    }
    let name = match &spec.name {
        Some(name) => {
            check_constraint_name(table, name)?;
            name.clone()
        }
        None => {
            let taken = constraint_names(table);
            let names = columns.iter().filter_map(|c| table.column(*c)).map(|c| c.name.as_str());
            choose_name(&table.name, &join_columns(names), "fkey", |n| taken.contains(n))
        }
    };
    check_types(table, &target, &name, &columns, &referenced)?;
    let match_full = match key.match_kind {
        Some(ConstraintReferenceMatchKind::Full) => true,
        Some(ConstraintReferenceMatchKind::Partial) => return Err(SqlError::unsupported("MATCH PARTIAL")),
        _ => false,
    };
    Ok(ForeignKey {
        oid: ctx.new_oid().await?,
        name,
        columns,
        references: target.id,
        referenced_columns: referenced,
        on_delete: action(key.on_delete),
        on_update: action(key.on_update),
        match_full,
        validated,
    })
}

fn action(action: Option<ReferentialAction>) -> FkAction {
    match action {
        None | Some(ReferentialAction::NoAction) => FkAction::NoAction,
        Some(ReferentialAction::Restrict) => FkAction::Restrict,
        Some(ReferentialAction::Cascade) => FkAction::Cascade,
        Some(ReferentialAction::SetNull) => FkAction::SetNull,
        Some(ReferentialAction::SetDefault) => FkAction::SetDefault,
    }
}

fn resolve(table: &TableDescriptor, names: &[Ident]) -> SqlResult<Vec<ColumnId>> {
    let mut ids = Vec::with_capacity(names.len());
    for ident in names {
        let name = fold(ident);
        let column = table.column_named(&name).ok_or_else(|| {
            SqlError::new(
                state::UNDEFINED_COLUMN,
                format!("column \"{name}\" referenced in foreign key constraint does not exist"),
            )
        })?;
        if ids.contains(&column.id) {
            return Err(SqlError::new(
                state::INVALID_FOREIGN_KEY,
                "foreign key referenced-columns list must not contain duplicates",
            ));
        }
        ids.push(column.id);
    }
    Ok(ids)
}

fn primary_key_of(table: &TableDescriptor) -> SqlResult<Vec<ColumnId>> {
    if !table.has_primary_key() {
        return Err(SqlError::new(
            state::UNDEFINED_OBJECT,
            format!("there is no primary key for referenced table \"{}\"", table.name),
        ));
    }
    Ok(table.primary.key.iter().map(|part| part.column).collect())
}

/// Both sides must have one order: then a key of one is looked up among keys of the other.
fn check_types(
    table: &TableDescriptor,
    target: &TableDescriptor,
    name: &str,
    columns: &[ColumnId],
    referenced: &[ColumnId],
) -> SqlResult<()> {
    for (from, to) in columns.iter().zip(referenced) {
        let (Some(from), Some(to)) = (table.column(*from), target.column(*to)) else { continue };
        if !comparable(from.ty.oid, to.ty.oid) {
            let type_name = crate::registry::type_name;
            return Err(SqlError::new(
                state::DATATYPE_MISMATCH,
                format!("foreign key constraint \"{name}\" cannot be implemented"),
            )
            .with_detail(format!(
                "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                from.name,
                to.name,
                type_name(from.ty.oid),
                type_name(to.ty.oid)
            )));
        }
    }
    Ok(())
}

fn comparable(a: Oid, b: Oid) -> bool {
    let integer = |t| matches!(t, Oid::INT2 | Oid::INT4 | Oid::INT8);
    let text = |t| matches!(t, Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME);
    a == b || (integer(a) && integer(b)) || (text(a) && text(b))
}
