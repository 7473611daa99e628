//! What an entry of the function table is: a function, or what stands behind an operator, a cast or an aggregate.

use crate::error::SqlResult;
use crate::registry::context::EvalContext;
use crate::types::{Column, Datum, Oid, SqlType};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// One value at a time. For a strict function no argument is NULL.
pub type ScalarFn = fn(&EvalContext<'_>, &[Datum]) -> SqlResult<Datum>;
/// As [`ScalarFn`], for functions that behave by the types of their arguments (polymorphic ones, `format`).
pub type TypedFn = fn(&EvalContext<'_>, &CallTypes<'_>, &[Datum]) -> SqlResult<Datum>;
/// A whole batch at a time: `rows` results; handles NULLs itself.
pub type VectorFn = fn(&EvalContext<'_>, &[Operand<'_>], rows: usize) -> SqlResult<Column>;
/// All rows of one call.
pub type SetFn = fn(&EvalContext<'_>, &CallTypes<'_>, &[Datum]) -> SqlResult<Vec<Vec<Datum>>>;

/// The types of a call's arguments and result after resolution: no polymorphic ones among them.
#[derive(Clone, Copy, Debug)]
pub struct CallTypes<'a> {
    pub args: &'a [SqlType],
    pub result: SqlType,
}

/// An argument of a vector function: a value for each row, or one value for all.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    Column(&'a Column),
    Const(&'a Datum),
}

impl Operand<'_> {
    pub fn datum(&self, row: usize) -> Datum {
        match self {
            Operand::Column(column) => column.datum(row),
            Operand::Const(value) => (*value).clone(),
        }
    }
}

/// An entry of pg_proc.
pub struct Function {
    /// PostgreSQL's OID where PostgreSQL has the function.
    pub oid: Oid,
    pub name: &'static str,
    pub args: &'static [Oid],
    /// The last argument is an array type (or "any") that gathers all further arguments.
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
    Typed(TypedFn),
    /// Waits for storage or time: the executor makes the call before it evaluates the expression around it
    /// (`Expr::split_async`).
    Async(AsyncCall),
    Aggregate(&'static AggregateDef),
    /// Makes a new row set for each call; only in FROM (and, rewritten, in a select list).
    Set(SetFn),
    /// Over a window's partition; implemented by the window operator by name.
    Window,
}

/// The functions that must wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsyncCall {
    /// `nextval(regclass)`
    NextVal,
    /// `setval(regclass, bigint [, boolean])`
    SetVal,
    /// `pg_sleep(double precision)`
    Sleep,
    /// `cluster_logical_timestamp()`: waits for nothing, but is the transaction's to say.
    LogicalTimestamp,
}

/// An aggregate: makes an accumulator per group.
pub struct AggregateDef {
    pub new: fn(&CallTypes<'_>) -> Box<dyn Accumulator>,
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
    /// The aggregate's value so far; more rows may follow (window frames ask again and again).
    fn finish(&mut self, ctx: &EvalContext<'_>) -> SqlResult<Datum>;
    /// Bytes held, for the memory budget.
    fn size(&self) -> usize {
        64
    }
}

impl Function {
    pub fn is_aggregate(&self) -> bool {
        matches!(self.body, Body::Aggregate(_))
    }

    pub fn is_window(&self) -> bool {
        matches!(self.body, Body::Window)
    }

    pub fn is_set_returning(&self) -> bool {
        matches!(self.body, Body::Set(_))
    }

    pub fn async_call(&self) -> Option<AsyncCall> {
        match self.body {
            Body::Async(call) => Some(call),
            _ => None,
        }
    }

    /// The accumulator of a call of this aggregate.
    pub fn accumulator(&self, types: &CallTypes<'_>) -> Option<Box<dyn Accumulator>> {
        match self.body {
            Body::Aggregate(def) => Some((def.new)(types)),
            _ => None,
        }
    }
}

// The words in which the tables are written: immutable and strict unless said otherwise.
impl Function {
    const fn entry(oid: u32, name: &'static str, args: &'static [Oid], result: Oid, body: Body) -> Self {
        let volatility = Volatility::Immutable;
        Function { oid: Oid(oid), name, args, variadic: false, result, volatility, strict: true, body }
    }

    pub const fn row(oid: u32, name: &'static str, args: &'static [Oid], result: Oid, row: ScalarFn) -> Self {
        Self::entry(oid, name, args, result, Body::Scalar { row, vector: None })
    }

    pub const fn typed(
        oid: u32,
        name: &'static str,
        args: &'static [Oid],
        result: Oid,
        body: TypedFn,
    ) -> Self {
        Self::entry(oid, name, args, result, Body::Typed(body))
    }

    pub const fn set(oid: u32, name: &'static str, args: &'static [Oid], result: Oid, body: SetFn) -> Self {
        Self::entry(oid, name, args, result, Body::Set(body))
    }

    pub const fn asynchronous(
        oid: u32,
        name: &'static str,
        args: &'static [Oid],
        result: Oid,
        call: AsyncCall,
    ) -> Self {
        Self::entry(oid, name, args, result, Body::Async(call)).volatile()
    }

    pub const fn aggregate(
        oid: u32,
        name: &'static str,
        args: &'static [Oid],
        result: Oid,
        def: &'static AggregateDef,
    ) -> Self {
        Self::entry(oid, name, args, result, Body::Aggregate(def)).lax()
    }

    pub const fn window(oid: u32, name: &'static str, args: &'static [Oid], result: Oid) -> Self {
        Self::entry(oid, name, args, result, Body::Window)
    }

    pub const fn vector(self, vector: VectorFn) -> Self {
        let Function { oid, name, args, variadic, result, volatility, strict, body } = self;
        let body = match body {
            Body::Scalar { row, .. } => Body::Scalar { row, vector: Some(vector) },
            other => other,
        };
        Function { oid, name, args, variadic, result, volatility, strict, body }
    }

    pub const fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    pub const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// Called for NULL arguments too.
    pub const fn lax(mut self) -> Self {
        self.strict = false;
        self
    }

    pub const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
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
