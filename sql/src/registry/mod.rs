//! The one registry of types, casts, operators, functions and aggregates, as data.
//!
//! What PostgreSQL keeps in pg_type, pg_cast, pg_operator, pg_proc and pg_aggregate stands here, and those catalogs are
//! views of it: what we say we have is what we have. Overload resolution (`resolve`) follows PostgreSQL's rules
//! (manual, chapter 10) over these tables.
//!
//! The tables are static slices, one file per area under `functions`; an entry is one line and its body a function
//! beside it. [`index`] builds the maps over them once.

pub mod functions;
pub mod resolve;
pub mod index;
pub mod tables;
pub mod operator;
pub mod cast;
pub mod type_info;
pub mod function;
pub mod context;

pub use cast::{CastContext, CastMethod, find_cast};
pub use context::{EvalContext, SessionFunctions};
pub use function::{
    Accumulator, AggregateDef, AsyncCall, Body, CallTypes, Function, Operand, ScalarFn, SetFn, TypedFn,
    VectorFn, Volatility,
};
pub use index::{
    all_functions, all_operators, commutator, function_by_oid, functions_named, negator, operator_by_oid,
    operators_named,
};
pub use operator::Operator;
pub use resolve::{
    FunctionLookup, Resolved, can_coerce, resolve_common_type, resolve_function, resolve_operator,
};
pub use type_info::{
    TypeInfo, TypeKind, array_of, element_of, format_type, type_by_name, type_info, type_name,
};
