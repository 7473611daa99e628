//! The one registry of types, casts, operators, functions and aggregates, as data.
//!
//! What PostgreSQL keeps in pg_type, pg_cast, pg_operator, pg_proc and pg_aggregate stands here, and those catalogs are
//! views of it: what we say we have is what we have. Overload resolution (`resolve`) follows PostgreSQL's rules
//! (manual, chapter 10) over these tables.

use crate::error::SqlResult;
use crate::expr::eval::EvalContext;
use crate::types::{Column, Datum, Oid};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// One value at a time. For a strict function no argument is NULL.
pub type ScalarFn = fn(&EvalContext<'_>, &[Datum]) -> SqlResult<Datum>;
/// A whole batch at a time: `rows` results from argument columns of `rows` values each; handles NULLs itself.
pub type VectorFn = fn(&EvalContext<'_>, &[&Column], rows: usize) -> SqlResult<Column>;

/// An entry of pg_proc: a function, or what stands behind an operator, cast or aggregate.
pub struct Function {
    /// PostgreSQL's OID where PostgreSQL has the function.
    pub oid: Oid,
    pub name: &'static str,
    pub args: &'static [Oid],
    /// The last argument may repeat.
    pub variadic: bool,
    pub result: Oid,
    pub volatility: Volatility,
    /// NULL in, NULL out, without a call.
    pub strict: bool,
    pub body: Body,
}

pub enum Body {
    Scalar {
        row: ScalarFn,
        vector: Option<VectorFn>,
    },
    Aggregate(&'static AggregateDef),
    /// Makes a new row set for each call; only in FROM (and, rewritten, in a select list).
    Set(SetFn),
    /// Over a window's partition; implemented by the window operator by name.
    Window,
}

pub type SetFn = fn(&EvalContext<'_>, &[Datum]) -> SqlResult<Vec<Vec<Datum>>>;

/// An aggregate: makes an accumulator per group.
pub struct AggregateDef {
    pub new: fn() -> Box<dyn Accumulator>,
}

/// The state of one aggregate in one group.
pub trait Accumulator: Send + Sync {
    /// Adds one row's arguments (NULLs included; a strict aggregate ignores them itself).
    fn add(&mut self, ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<()>;
    /// Adds the rows `rows` of a batch of argument columns; override where it pays.
    fn add_rows(&mut self, ctx: &EvalContext<'_>, args: &[&Column], rows: &[u32]) -> SqlResult<()> {
        let mut row = Vec::with_capacity(args.len());
        for &r in rows {
            row.clear();
            row.extend(args.iter().map(|c| c.datum(r as usize)));
            self.add(ctx, &row)?;
        }
        Ok(())
    }
    fn finish(&mut self, ctx: &EvalContext<'_>) -> SqlResult<Datum>;
    /// Bytes held, for the memory budget.
    fn size(&self) -> usize {
        64
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({:?})", self.name, self.args)
    }
}

impl PartialEq for Function {
    /// Functions are entries of one table: the same entry or not.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
