//! CREATE SEQUENCE, and the options of sequences.

use super::SchemaContext;
use super::create_table::{empty, no_index};
use super::names::{Name, undefined_column};
use crate::bind::{bind_data_type, fold, object_name_parts};
use crate::catalog::store::Change;
use crate::catalog::{SchemaId, SequenceOptions, TableId, TableKind};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::ast::{self, Expr, Statement, UnaryOperator};
use crate::types::Oid;

const TAG: &str = "CREATE SEQUENCE";

pub async fn execute(ctx: &mut SchemaContext<'_>, statement: &Statement) -> SqlResult<&'static str> {
    let Statement::CreateSequence { temporary, if_not_exists, name, data_type, sequence_options, owned_by } =
        statement
    else {
        return Err(SqlError::internal("not CREATE SEQUENCE"));
    };
    if *temporary {
        return Err(SqlError::unsupported("a temporary sequence"));
    }
    let name = Name::of(ctx, name)?;
    let schema = name.creation_schema(ctx)?;
    if ctx.snapshot().name_taken(schema, &name.name) && *if_not_exists {
        let message = format!("relation \"{}\" already exists, skipping", name.name);
        ctx.notice(state::DUPLICATE_TABLE, message);
        return Ok(TAG);
    }
    let ty = match data_type {
        Some(ty) => bind_data_type(ty)?.oid,
        None => Oid::INT8,
    };
    let options = options(ctx, ty, sequence_options)?;
    let id = create(ctx, schema, name.name, options).await?;
    if let Some(owner) = owned_by {
        set_owner(ctx, id, Some(owner)).await?;
    }
    Ok(TAG)
}

pub async fn create(
    ctx: &mut SchemaContext<'_>,
    schema: SchemaId,
    name: String,
    options: SequenceOptions,
) -> SqlResult<TableId> {
    let mut sequence = empty(ctx, schema, name).await?;
    sequence.kind = TableKind::Sequence(options);
    sequence.primary = no_index();
    ctx.take_relation_name(schema, &sequence.name, sequence.id.0).await?;
    let id = sequence.id;
    ctx.put_table(sequence);
    Ok(id)
}

/// OWNED BY table.column; `None`: OWNED BY NONE.
pub async fn set_owner(
    ctx: &mut SchemaContext<'_>,
    id: TableId,
    owner: Option<&ast::ObjectName>,
) -> SqlResult<()> {
    let snapshot = ctx.snapshot();
    let before = snapshot.tables.values().find(|t| t.columns.iter().any(|c| c.owned_sequence == Some(id)));
    if let Some(before) = before {
        if before.columns.iter().any(|c| c.owned_sequence == Some(id) && c.identity.is_some()) {
            return Err(SqlError::new(
                state::FEATURE_NOT_SUPPORTED,
                "cannot change ownership of identity sequence",
            ));
        }
        let mut table = ctx.close(before.id).await?;
        let owned = table.columns.iter_mut().filter(|c| c.owned_sequence == Some(id));
        owned.for_each(|c| c.owned_sequence = None);
        ctx.put_table(table);
    }
    let Some(owner) = owner else { return Ok(()) };
    let parts = object_name_parts(owner)?;
    let [qualifier @ .., column] = &parts[..] else { return Ok(()) };
    if qualifier.is_empty() {
        return match fold(column).eq_ignore_ascii_case("none") {
            true => Ok(()),
            false => Err(SqlError::new(state::SYNTAX_ERROR, "invalid OWNED BY option")
                .with_hint("Specify OWNED BY table.column or OWNED BY NONE.")),
        };
    }
    let table = qualifier.iter().map(|i| ast::ObjectNamePart::Identifier((*i).clone()));
    let table = Name::of(ctx, &ast::ObjectName(table.collect()))?.table(ctx)?;
    let mut table = ctx.close(table.id).await?;
    let column = fold(column).into_owned();
    let Some(owner) = table.columns.iter_mut().find(|c| c.name == column && !c.hidden) else {
        return Err(undefined_column(&table.name, &column));
    };
    owner.owned_sequence = Some(id);
    ctx.put_table(table);
    Ok(())
}

/// Removes a sequence; the caller has looked after what depends on it.
pub fn remove(ctx: &mut SchemaContext<'_>, id: TableId) {
    let snapshot = ctx.snapshot();
    let Some(sequence) = snapshot.tables.get(&id) else { return };
    ctx.give_relation_name_back(sequence.schema, &sequence.name);
    crate::catalog::sequence::delete_in_transaction(ctx.txn, id);
    ctx.change(Change::Table(id, None));
}

/// The options of a new sequence: PostgreSQL's defaults and checks.
pub fn options(
    ctx: &SchemaContext<'_>,
    ty: Oid,
    list: &[ast::SequenceOptions],
) -> SqlResult<SequenceOptions> {
    merged_options(ctx, ty, list, None)
}

/// What the list does not say is as it was `before`, or as in a new sequence.
pub fn merged_options(
    ctx: &SchemaContext<'_>,
    ty: Oid,
    list: &[ast::SequenceOptions],
    before: Option<&SequenceOptions>,
) -> SqlResult<SequenceOptions> {
    let (low, high) = match ty {
        Oid::INT2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Oid::INT4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Oid::INT8 => (i64::MIN, i64::MAX),
        _ => return Err(invalid("sequence type must be smallint, integer, or bigint")),
    };
    let mut parts = Parts::default();
    for option in list {
        parts.read(option)?;
    }
    let increment = parts.increment.or(before.map(|b| b.increment)).unwrap_or(1);
    if increment == 0 {
        return Err(invalid("INCREMENT must not be zero"));
    }
    let up = increment > 0;
    // A limit that is the type's own follows the type.
    let kept = |limit: fn(&SequenceOptions) -> i64| before.filter(|b| b.ty == ty).map(limit);
    let max = parts.max.unwrap_or(kept(|b| b.max)).unwrap_or(if up { high } else { -1 });
    let min = parts.min.unwrap_or(kept(|b| b.min)).unwrap_or(if up { 1 } else { low });
    let type_name = crate::registry::type_name(ty);
    if max < low || max > high {
        return Err(invalid(&format!("MAXVALUE ({max}) is out of range for sequence data type {type_name}")));
    }
    if min < low || min > high {
        return Err(invalid(&format!("MINVALUE ({min}) is out of range for sequence data type {type_name}")));
    }
    if min >= max {
        return Err(invalid(&format!("MINVALUE ({min}) must be less than MAXVALUE ({max})")));
    }
    let start = parts.start.or(before.map(|b| b.start)).unwrap_or(if up { min } else { max });
    if start < min {
        return Err(invalid(&format!("START value ({start}) cannot be less than MINVALUE ({min})")));
    }
    if start > max {
        return Err(invalid(&format!("START value ({start}) cannot be greater than MAXVALUE ({max})")));
    }
    let cache = parts.cache.or(before.map(|b| b.cache)).unwrap_or(1);
    if cache <= 0 {
        return Err(invalid(&format!("CACHE ({cache}) must be greater than zero")));
    }
    ctx.check_cancel()?;
    let cycle = parts.cycle.or(before.map(|b| b.cycle)).unwrap_or(false);
    Ok(SequenceOptions { ty, start, increment, min, max, cycle, cache })
}

fn invalid(message: &str) -> SqlError {
    SqlError::new(state::INVALID_PARAMETER_VALUE, message)
}

/// What the options say.
#[derive(Default)]
struct Parts {
    increment: Option<i64>,
    min: Option<Option<i64>>,
    max: Option<Option<i64>>,
    start: Option<i64>,
    cache: Option<i64>,
    cycle: Option<bool>,
}

impl Parts {
    fn read(&mut self, option: &ast::SequenceOptions) -> SqlResult<()> {
        use ast::SequenceOptions::*;
        match option {
            IncrementBy(n, _) => set(&mut self.increment, number(n)?),
            MinValue(n) => set(&mut self.min, n.as_ref().map(number).transpose()?),
            MaxValue(n) => set(&mut self.max, n.as_ref().map(number).transpose()?),
            StartWith(n, _) => set(&mut self.start, number(n)?),
            Cache(n) => set(&mut self.cache, number(n)?),
            Cycle(no) => set(&mut self.cycle, !*no),
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> SqlResult<()> {
    if slot.is_some() {
        return Err(SqlError::new(state::SYNTAX_ERROR, "conflicting or redundant options"));
    }
    *slot = Some(value);
    Ok(())
}

pub fn number(expr: &Expr) -> SqlResult<i64> {
    let text = match expr {
        Expr::Value(v) => v.to_string(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("-{expr}"),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => expr.to_string(),
        other => other.to_string(),
    };
    text.parse().map_err(|_| {
        SqlError::new(state::SYNTAX_ERROR, format!("invalid sequence option: \"{text}\" is not a bigint"))
    })
}
