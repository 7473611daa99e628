//! ALTER TABLE … ALTER COLUMN.

use super::columns;
use super::create_table::{PendingSequence, attach_sequence, bound_default};
use super::dependencies::{inbound_keys, refuse_if_viewed};
use super::names::{NewNames, undefined_column};
use super::primary_key::{old_column, rewrite};
use super::{SchemaContext, sequence, validate};
use crate::bind::{Clause, bind_data_type, bind_default, bind_scalar};
use crate::catalog::{ColumnDescriptor, Identity, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::{CastMethod, Expr};
use crate::parse::ast::{self, AlterColumnOperation as Op, GeneratedAs};
use crate::registry::{CastContext, find_cast, type_name};
use crate::types::{Oid, SqlType};

pub async fn execute(
    ctx: &mut SchemaContext<'_>,
    mut table: TableDescriptor,
    name: &str,
    operation: &Op,
) -> SqlResult<()> {
    let Some(position) = table.columns.iter().position(|c| c.name == name && !c.hidden) else {
        columns::check_system_name(name)?;
        return Err(undefined_column(&table.name, name));
    };
    match operation {
        Op::SetNotNull => {
            if !table.columns[position].not_null {
                validate::not_null(ctx, &table, &[table.columns[position].id]).await?;
                table.columns[position].not_null = true;
            }
        }
        Op::DropNotNull => drop_not_null(&mut table, position)?,
        Op::SetDefault { value } => set_default(ctx, &mut table, position, value)?,
        Op::DropDefault => {
            refuse_identity(&table, position)?;
            table.columns[position].default = None;
        }
        Op::SetDataType { data_type, using, .. } => {
            return set_type(ctx, table, position, data_type, using.as_ref()).await;
        }
        Op::AddGenerated { generated_as, sequence_options } => {
            let kind = generated_as.unwrap_or(GeneratedAs::ByDefault);
            add_identity(ctx, &mut table, position, kind, sequence_options.as_deref()).await?;
        }
    }
    ctx.put_table(table);
    Ok(())
}

fn drop_not_null(table: &mut TableDescriptor, position: usize) -> SqlResult<()> {
    let column = &table.columns[position];
    if table.has_primary_key() && table.primary.key.iter().any(|k| k.column == column.id) {
        return Err(SqlError::new(
            state::INVALID_TABLE_DEFINITION,
            format!("column \"{}\" is in a primary key", column.name),
        ));
    }
    if column.identity.is_some() {
        return Err(SqlError::new(
            state::SYNTAX_ERROR,
            format!("column \"{}\" of relation \"{}\" is an identity column", column.name, table.name),
        ));
    }
    table.columns[position].not_null = false;
    Ok(())
}

fn refuse_identity(table: &TableDescriptor, position: usize) -> SqlResult<()> {
    let column = &table.columns[position];
    if column.identity.is_some() {
        return Err(SqlError::new(
            state::SYNTAX_ERROR,
            format!("column \"{}\" of relation \"{}\" is an identity column", column.name, table.name),
        )
        .with_hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."));
    }
    Ok(())
}

fn set_default(
    ctx: &SchemaContext<'_>,
    table: &mut TableDescriptor,
    position: usize,
    value: &ast::Expr,
) -> SqlResult<()> {
    refuse_identity(table, position)?;
    table.columns[position].default = bound_default(ctx, &table.columns[position], value)?;
    Ok(())
}

async fn add_identity(
    ctx: &mut SchemaContext<'_>,
    table: &mut TableDescriptor,
    position: usize,
    kind: GeneratedAs,
    options: Option<&[ast::SequenceOptions]>,
) -> SqlResult<()> {
    let column = &mut table.columns[position];
    let not_ready = |why: &str| {
        let message = format!("column \"{}\" of relation \"{}\" {why}", column.name, table.name);
        SqlError::new(state::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    };
    if column.identity.is_some() {
        return Err(not_ready("is already an identity column"));
    }
    if !column.not_null {
        return Err(not_ready("must be declared NOT NULL before identity can be added"));
    }
    if column.default.is_some() {
        return Err(not_ready("already has a default value"));
    }
    let options = sequence::options(ctx, column.ty.oid, options.unwrap_or_default())?;
    column.identity = Some(match kind {
        GeneratedAs::Always => Identity::Always,
        _ => Identity::ByDefault,
    });
    let pending = PendingSequence { column: column.id, options };
    attach_sequence(ctx, table, pending, &mut NewNames::default()).await
}

async fn set_type(
    ctx: &mut SchemaContext<'_>,
    table: TableDescriptor,
    position: usize,
    data_type: &ast::DataType,
    using: Option<&ast::Expr>,
) -> SqlResult<()> {
    let column = table.columns[position].clone();
    let ty = bind_data_type(data_type)?;
    refuse_if_viewed(ctx, &table, "alter type of a column of a table")?;
    refuse_foreign(ctx, &table, &column)?;
    let conversion = conversion(ctx, &table, &column, ty, using)?;
    let mut new = table.clone();
    new.columns[position].ty = ty;
    // The default must suit the new type.
    if let Some(text) = &column.default {
        let snapshot = ctx.snapshot();
        let eval = ctx.eval();
        bind_default(ctx.bind(&snapshot, &eval), text, &column.name, ty).map_err(|_| {
            SqlError::new(
                state::DATATYPE_MISMATCH,
                format!(
                    "default for column \"{}\" cannot be cast automatically to type {}",
                    column.name,
                    type_name(ty.oid)
                ),
            )
        })?;
    }
    for check in &table.checks {
        validate::bind_condition(ctx, &new, &check.expr, false)?;
    }
    if using.is_none() && is_relabel(&table, &column, ty) {
        ctx.put_table(new);
        return Ok(());
    }
    let changed = column.id;
    rewrite(ctx, &table, new, move |old, new| {
        new.public_columns()
            .map(|c| if c.id == changed { Ok(conversion.clone()) } else { old_column(old, c.id) })
            .collect()
    })
    .await
}

/// Whether the stored bytes mean the same under the new type.
fn is_relabel(table: &TableDescriptor, column: &ColumnDescriptor, to: SqlType) -> bool {
    let from = column.ty;
    let keys = table.all_indexes().flat_map(|i| &i.key).any(|k| k.column == column.id);
    let text = |oid| matches!(oid, Oid::TEXT | Oid::VARCHAR);
    let width = |oid| match oid {
        Oid::INT2 => Some(2),
        Oid::INT4 => Some(4),
        Oid::INT8 => Some(8),
        _ => None,
    };
    if text(from.oid) && text(to.oid) {
        // To no limit, or a larger one.
        return to.typmod < 0 || (from.typmod >= 0 && from.typmod <= to.typmod);
    }
    if from == to || (from.oid == to.oid && to.typmod < 0 && from.oid == Oid::NUMERIC) {
        return true;
    }
    // Values of integers are stored alike, their keys are not.
    matches!((width(from.oid), width(to.oid)), (Some(a), Some(b)) if a <= b) && !keys
}

/// The new column over the old row.
fn conversion(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    column: &ColumnDescriptor,
    to: SqlType,
    using: Option<&ast::Expr>,
) -> SqlResult<Expr> {
    if let Some(using) = using {
        let snapshot = ctx.snapshot();
        let eval = ctx.eval();
        let table = std::sync::Arc::new(table.clone());
        let bound = bind_scalar(ctx.bind(&snapshot, &eval), &using.to_string(), &table, Clause::Update)?;
        return cast(bound, to).ok_or_else(|| {
            SqlError::new(
                state::DATATYPE_MISMATCH,
                format!(
                    "result of USING clause for column \"{}\" cannot be cast automatically to type {}",
                    column.name,
                    type_name(to.oid)
                ),
            )
            .with_hint("You might need to add an explicit cast.")
        });
    }
    cast(old_column(table, column.id)?, to).ok_or_else(|| {
        SqlError::new(
            state::DATATYPE_MISMATCH,
            format!("column \"{}\" cannot be cast automatically to type {}", column.name, type_name(to.oid)),
        )
        .with_hint(format!(
            "You might need to specify \"USING {}::{}\".",
            column.name,
            type_name(to.oid)
        ))
    })
}

/// An assignment cast to a type and its modifier.
fn cast(expr: Expr, to: SqlType) -> Option<Expr> {
    let from = expr.ty();
    let mut expr = expr;
    if from.oid != to.oid {
        let method = find_cast(from.oid, to.oid, CastContext::Assignment)?;
        expr = Expr::Cast { arg: Box::new(expr), method, to: SqlType::new(to.oid), explicit: false };
    }
    if to.typmod >= 0 && expr.ty().typmod != to.typmod {
        expr = Expr::Cast { arg: Box::new(expr), method: CastMethod::Typmod, to, explicit: false };
    }
    Some(expr)
}

/// Both sides of a foreign key have one type.
fn refuse_foreign(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    column: &ColumnDescriptor,
) -> SqlResult<()> {
    let own = table.foreign_keys.iter().any(|k| k.columns.contains(&column.id));
    let snapshot = ctx.snapshot();
    let inbound = inbound_keys(&snapshot, table.id)
        .iter()
        .any(|(from, position)| from.foreign_keys[*position].referenced_columns.contains(&column.id));
    if own || inbound {
        return Err(SqlError::unsupported("altering the type of a column of a foreign key")
            .with_hint("Drop the foreign key, alter the column, and add the foreign key again."));
    }
    Ok(())
}
