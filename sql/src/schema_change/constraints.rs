//! Constraints as they are written, and their descriptors.

use std::collections::BTreeSet;

use super::SchemaContext;
use super::names::{NewNames, choose_name, join_columns};
use crate::bind::fold;
use crate::catalog::{
    CheckConstraint, ColumnId, ElementState, IndexColumn, IndexDescriptor, IndexId, TableDescriptor,
};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{self, TableConstraint};
use crate::row::KeyKind;
use crate::types::Oid;

/// PRIMARY KEY or UNIQUE.
#[derive(Clone, Debug)]
pub struct KeySpec {
    pub name: Option<String>,
    pub columns: Vec<String>,
    pub include: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct CheckSpec {
    pub name: Option<String>,
    pub expr: ast::Expr,
    /// The column in whose definition it stands.
    pub column: Option<String>,
}

#[derive(Clone, Debug)]
pub struct ForeignKeySpec {
    pub name: Option<String>,
    pub key: ast::ForeignKeyConstraint,
}

#[derive(Default)]
pub struct Constraints {
    pub primary_key: Option<KeySpec>,
    pub uniques: Vec<KeySpec>,
    pub checks: Vec<CheckSpec>,
    pub foreign_keys: Vec<ForeignKeySpec>,
}

impl KeySpec {
    pub fn column(name: Option<String>, column: &str) -> Self {
        KeySpec { name, columns: vec![column.to_owned()], include: Vec::new() }
    }

    fn new(
        name: &Option<ast::Ident>,
        columns: &[ast::IndexColumn],
        include: &[ast::Ident],
    ) -> SqlResult<Self> {
        let columns = columns
            .iter()
            .map(|c| match &c.column.expr {
                ast::Expr::Identifier(name) => Ok(fold(name).into_owned()),
                other => {
                    Err(SqlError::new(state::SYNTAX_ERROR, format!("syntax error at or near \"{other}\"")))
                }
            })
            .collect::<SqlResult<Vec<_>>>()?;
        let include = include.iter().map(|c| fold(c).into_owned()).collect();
        Ok(KeySpec { name: name.as_ref().map(|n| fold(n).into_owned()), columns, include })
    }
}

impl Constraints {
    pub fn set_primary_key(&mut self, table: &str, key: KeySpec) -> SqlResult<()> {
        if self.primary_key.is_some() {
            return Err(multiple_primary_keys(table));
        }
        self.primary_key = Some(key);
        Ok(())
    }

    /// Adds a table constraint as it is written.
    pub fn add(&mut self, table: &str, constraint: &TableConstraint) -> SqlResult<()> {
        match constraint {
            TableConstraint::PrimaryKey(c) => {
                refuse_deferrable(c.characteristics.as_ref())?;
                self.set_primary_key(table, KeySpec::new(&c.name, &c.columns, &c.include)?)
            }
            TableConstraint::Unique(c) => {
                refuse_deferrable(c.characteristics.as_ref())?;
                if !matches!(
                    c.nulls_distinct,
                    ast::NullsDistinctOption::None | ast::NullsDistinctOption::Distinct
                ) {
                    return Err(SqlError::unsupported("NULLS NOT DISTINCT"));
                }
                self.uniques.push(KeySpec::new(&c.name, &c.columns, &c.include)?);
                Ok(())
            }
            TableConstraint::Check(c) => {
                let name = c.name.as_ref().map(|n| fold(n).into_owned());
                self.checks.push(CheckSpec { name, expr: (*c.expr).clone(), column: None });
                Ok(())
            }
            TableConstraint::ForeignKey(key) => {
                let name = key.name.as_ref().map(|n| fold(n).into_owned());
                self.foreign_keys.push(ForeignKeySpec { name, key: key.clone() });
                Ok(())
            }
            TableConstraint::Exclude(_) => Err(SqlError::unsupported("an exclusion constraint")),
            other => Err(SqlError::unsupported(format!("the constraint {other}"))),
        }
    }
}

pub fn multiple_primary_keys(table: &str) -> SqlError {
    SqlError::new(
        state::INVALID_TABLE_DEFINITION,
        format!("multiple primary keys for table \"{table}\" are not allowed"),
    )
}

/// Constraints are checked by the statement that could violate them.
pub fn refuse_deferrable(characteristics: Option<&ast::ConstraintCharacteristics>) -> SqlResult<()> {
    match characteristics {
        Some(c)
            if c.deferrable == Some(true)
                || matches!(c.initially, Some(ast::DeferrableInitial::Deferred)) =>
        {
            Err(SqlError::unsupported("a deferrable constraint"))
        }
        _ => Ok(()),
    }
}

/// The names of the constraints that a table has.
pub fn constraint_names(table: &TableDescriptor) -> BTreeSet<String> {
    let indexes = table.all_indexes().filter(|i| i.constraint).map(|i| i.name.clone());
    let checks = table.checks.iter().map(|c| c.name.clone());
    indexes.chain(checks).chain(table.foreign_keys.iter().map(|k| k.name.clone())).collect()
}

/// Fails if a constraint of this name exists.
pub fn check_constraint_name(table: &TableDescriptor, name: &str) -> SqlResult<()> {
    if constraint_names(table).contains(name) {
        return Err(SqlError::new(
            state::DUPLICATE_OBJECT,
            format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
        ));
    }
    Ok(())
}

/// Resolves the columns of a key.
pub fn key_columns(table: &TableDescriptor, names: &[String]) -> SqlResult<Vec<ColumnId>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let column = table.column_named(name).ok_or_else(|| {
            SqlError::new(state::UNDEFINED_COLUMN, format!("column \"{name}\" named in key does not exist"))
        })?;
        if ids.contains(&column.id) {
            return Err(SqlError::new(
                state::DUPLICATE_COLUMN,
                format!("column \"{name}\" appears twice in unique constraint"),
            ));
        }
        check_indexable(column.ty.oid)?;
        ids.push(column.id);
    }
    Ok(ids)
}

pub fn check_indexable(ty: Oid) -> SqlResult<()> {
    if KeyKind::of(ty).is_none() {
        return Err(SqlError::new(
            state::UNDEFINED_OBJECT,
            format!(
                "data type {} has no default operator class for access method \"btree\"",
                crate::registry::type_name(ty)
            ),
        ));
    }
    Ok(())
}

pub fn ascending(columns: &[ColumnId]) -> Vec<IndexColumn> {
    columns.iter().map(|c| IndexColumn { column: *c, descending: false, nulls_first: false }).collect()
}

/// The id of a table's next index. Those of a table that exists come from the cluster's counter: what a statement that has
/// failed left under an id must never be met under the same id again.
pub async fn next_index_id(ctx: &SchemaContext<'_>, table: &mut TableDescriptor) -> SqlResult<IndexId> {
    if table.version > 0 {
        return Ok(IndexId(ctx.new_oid().await?.0));
    }
    let id = IndexId(table.next_index);
    table.next_index += 1;
    Ok(id)
}

/// The index of a PRIMARY KEY or UNIQUE constraint. Its name is chosen, but not yet taken.
pub async fn key_index(
    ctx: &SchemaContext<'_>,
    table: &mut TableDescriptor,
    spec: &KeySpec,
    primary: bool,
    names: &mut NewNames,
) -> SqlResult<IndexDescriptor> {
    let columns = key_columns(table, &spec.columns)?;
    let include = key_columns(table, &spec.include)?;
    let name = match &spec.name {
        Some(name) => {
            check_constraint_name(table, name)?;
            name.clone()
        }
        None => {
            let (second, label) = match primary {
                true => (String::new(), "pkey"),
                false => (join_columns(spec.columns.iter().map(String::as_str)), "key"),
            };
            names.choose_relation(&ctx.snapshot(), table.schema, &table.name, &second, label)
        }
    };
    Ok(IndexDescriptor {
        id: next_index_id(ctx, table).await?,
        name,
        oid: ctx.new_oid().await?,
        unique: true,
        constraint: true,
        is_primary_key: primary,
        key: ascending(&columns),
        include,
        predicate: None,
        state: ElementState::Public,
    })
}

/// Binds a CHECK constraint over the table and makes its descriptor.
pub async fn check_constraint(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    spec: &CheckSpec,
    validated: bool,
) -> SqlResult<CheckConstraint> {
    let text = spec.expr.to_string();
    super::validate::bind_condition(ctx, table, &text, false)?;
    let name = match &spec.name {
        Some(name) => {
            check_constraint_name(table, name)?;
            name.clone()
        }
        None => {
            let used = super::dependencies::columns_of(&spec.expr, table);
            let column = match (&spec.column, &used[..]) {
                (_, [only]) => only.as_str(),
                (Some(column), _) => column.as_str(),
                _ => "",
            };
            let taken = constraint_names(table);
            choose_name(&table.name, column, "check", |n| taken.contains(n))
        }
    };
    Ok(CheckConstraint { oid: ctx.new_oid().await?, name, expr: text, validated })
}
