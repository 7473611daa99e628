//! Column definitions of CREATE TABLE and ADD COLUMN.

use super::constraints::{CheckSpec, Constraints, ForeignKeySpec, KeySpec, refuse_deferrable};
use super::{SchemaContext, sequence};
use crate::bind::{bind_data_type, fold, object_name_parts};
use crate::catalog::{ColumnDescriptor, ColumnId, ElementState, Identity, SequenceOptions, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{self, ColumnOption, DataType, GeneratedAs};
use crate::registry::type_info;
use crate::types::{Oid, SqlType};

/// A column as a definition makes it, before its sequence exists.
pub struct NewColumn {
    pub descriptor: ColumnDescriptor,
    /// DEFAULT, not yet bound.
    pub default: Option<ast::Expr>,
    /// serial and IDENTITY: the options of the sequence that is to belong to it.
    pub sequence: Option<SequenceOptions>,
}

/// The integer type behind `serial` and its kin.
fn serial_type(ty: &DataType) -> Option<Oid> {
    let DataType::Custom(name, modifiers) = ty else { return None };
    if !modifiers.is_empty() {
        return None;
    }
    let parts = object_name_parts(name).ok()?;
    let [name] = parts[..] else { return None };
    Some(match &*fold(name) {
        "serial" | "serial4" => Oid::INT4,
        "bigserial" | "serial8" => Oid::INT8,
        "smallserial" | "serial2" => Oid::INT2,
        _ => return None,
    })
}

/// A plain column, public, of that type.
pub fn plain(id: ColumnId, name: String, ty: SqlType) -> ColumnDescriptor {
    ColumnDescriptor {
        id,
        name,
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

/// The row id of a table without a primary key.
pub fn row_id(id: ColumnId) -> ColumnDescriptor {
    ColumnDescriptor { not_null: true, hidden: true, ..plain(id, "rowid".into(), SqlType::new(Oid::INT8)) }
}

/// Reads a column definition; its constraints go into `constraints`.
pub fn define(
    ctx: &mut SchemaContext<'_>,
    table: &str,
    id: ColumnId,
    def: &ast::ColumnDef,
    constraints: &mut Constraints,
) -> SqlResult<NewColumn> {
    let name = fold(&def.name).into_owned();
    check_system_name(&name)?;
    let serial = serial_type(&def.data_type);
    let ty = match serial {
        Some(oid) => SqlType::new(oid),
        None => bind_data_type(&def.data_type)?,
    };
    check_column_type(&name, ty)?;
    let mut column = NewColumn { descriptor: plain(id, name.clone(), ty), default: None, sequence: None };
    if let Some(oid) = serial {
        column.descriptor.not_null = true;
        column.sequence = Some(sequence::options(ctx, oid, &[])?);
    }
    let mut null = false;
    for option in &def.options {
        let constraint_name = option.name.as_ref().map(|n| fold(n).into_owned());
        match &option.option {
            ColumnOption::Null => null = true,
            ColumnOption::NotNull => column.descriptor.not_null = true,
            ColumnOption::Default(expr) => set_default(&mut column, table, expr)?,
            ColumnOption::Generated {
                generated_as: kind @ (GeneratedAs::Always | GeneratedAs::ByDefault),
                sequence_options,
                generation_expr: None,
                ..
            } => set_identity(ctx, &mut column, table, kind, sequence_options.as_deref())?,
            ColumnOption::Generated { .. } => return Err(SqlError::unsupported("a generated column")),
            ColumnOption::PrimaryKey(c) => {
                refuse_deferrable(c.characteristics.as_ref())?;
                constraints.set_primary_key(table, KeySpec::column(constraint_name, &name))?;
            }
            ColumnOption::Unique(c) => {
                refuse_deferrable(c.characteristics.as_ref())?;
                constraints.uniques.push(KeySpec::column(constraint_name, &name));
            }
            ColumnOption::Check(check) => constraints.checks.push(CheckSpec {
                name: constraint_name,
                expr: (*check.expr).clone(),
                column: Some(name.clone()),
            }),
            ColumnOption::ForeignKey(key) => {
                let mut key = key.clone();
                key.columns = vec![def.name.clone()];
                constraints.foreign_keys.push(ForeignKeySpec { name: constraint_name, key });
            }
            ColumnOption::Collation(collation) => check_collation(&column.descriptor, collation)?,
            other => return Err(SqlError::unsupported(format!("the column option {other}"))),
        }
    }
    if null && column.descriptor.not_null {
        return Err(SqlError::new(
            state::SYNTAX_ERROR,
            format!("conflicting NULL/NOT NULL declarations for column \"{name}\" of table \"{table}\""),
        ));
    }
    Ok(column)
}

fn set_default(column: &mut NewColumn, table: &str, expr: &ast::Expr) -> SqlResult<()> {
    let name = &column.descriptor.name;
    if column.default.is_some() || (column.sequence.is_some() && column.descriptor.identity.is_none()) {
        return Err(SqlError::new(
            state::SYNTAX_ERROR,
            format!("multiple default values specified for column \"{name}\" of table \"{table}\""),
        ));
    }
    if column.descriptor.identity.is_some() {
        return Err(both_default_and_identity(name, table));
    }
    column.default = Some(expr.clone());
    Ok(())
}

fn set_identity(
    ctx: &mut SchemaContext<'_>,
    column: &mut NewColumn,
    table: &str,
    kind: &GeneratedAs,
    options: Option<&[ast::SequenceOptions]>,
) -> SqlResult<()> {
    let name = &column.descriptor.name;
    if column.default.is_some() || column.sequence.is_some() {
        return Err(both_default_and_identity(name, table));
    }
    let ty = column.descriptor.ty.oid;
    if !matches!(ty, Oid::INT2 | Oid::INT4 | Oid::INT8) {
        return Err(SqlError::new(
            state::INVALID_PARAMETER_VALUE,
            "identity column type must be smallint, integer, or bigint",
        ));
    }
    column.sequence = Some(sequence::options(ctx, ty, options.unwrap_or_default())?);
    column.descriptor.identity = Some(match kind {
        GeneratedAs::Always => Identity::Always,
        _ => Identity::ByDefault,
    });
    column.descriptor.not_null = true;
    Ok(())
}

fn both_default_and_identity(column: &str, table: &str) -> SqlError {
    SqlError::new(
        state::SYNTAX_ERROR,
        format!("both default and identity specified for column \"{column}\" of table \"{table}\""),
    )
}

/// Our order is that of bytes: collations that mean this are accepted.
fn check_collation(column: &ColumnDescriptor, collation: &ast::ObjectName) -> SqlResult<()> {
    let parts = object_name_parts(collation)?;
    let name = parts.last().map(|p| p.value.clone()).unwrap_or_default();
    if !matches!(column.ty.oid, Oid::TEXT | Oid::VARCHAR | Oid::BPCHAR | Oid::NAME) {
        return Err(SqlError::new(
            state::DATATYPE_MISMATCH,
            format!("collations are not supported by type {}", crate::registry::type_name(column.ty.oid)),
        ));
    }
    match name.as_str() {
        "C" | "POSIX" | "default" | "ucs_basic" | "C.UTF-8" | "C.utf8" => Ok(()),
        _ => Err(SqlError::unsupported(format!("the collation \"{name}\""))),
    }
}

fn check_column_type(name: &str, ty: SqlType) -> SqlResult<()> {
    let info = type_info(ty.oid);
    if ty.oid == Oid::UNKNOWN || info.is_none_or(|t| t.is_pseudo()) {
        return Err(SqlError::new(
            state::INVALID_TABLE_DEFINITION,
            format!("column \"{name}\" has pseudo-type {}", crate::registry::type_name(ty.oid)),
        ));
    }
    Ok(())
}

/// The names of PostgreSQL's system columns are not to be used.
pub fn check_system_name(name: &str) -> SqlResult<()> {
    if matches!(name, "tableoid" | "xmin" | "cmin" | "xmax" | "cmax" | "ctid") {
        return Err(SqlError::new(
            state::DUPLICATE_COLUMN,
            format!("column name \"{name}\" conflicts with a system column name"),
        ));
    }
    Ok(())
}

/// The id of the table's next column.
pub fn next_id(table: &mut TableDescriptor) -> ColumnId {
    let id = ColumnId(table.next_column);
    table.next_column += 1;
    id
}
