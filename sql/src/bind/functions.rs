//! Function calls: which function is meant, and what becomes of the call in its clause.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};
use sqlparser::tokenizer::Location;

use super::name::{dotted, fold, object_name_parts};
use super::record_columns::record_columns;
use super::scope::{Scope, computed, whole_row};
use super::select::{Clause, GROUPING_PLACEHOLDER, SET_PLACEHOLDER, SetCall};
use super::{Binder, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::Field;
use crate::registry::{Body, Function, FunctionLookup, array_of, resolve_function};
use crate::types::{Datum, Oid, SqlType};

/// A call of a chosen function, its arguments cast to the declared types.
pub struct Call {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub ty: SqlType,
}

impl Call {
    pub fn into_expr(self) -> Expr {
        Expr::Call { function: self.function, args: self.args, ty: self.ty }
    }

    /// The columns that the call yields in FROM.
    pub fn fields(&self, name: &str) -> Vec<Field> {
        match record_columns(self.function) {
            [] => vec![computed(name, self.ty)],
            columns => columns.iter().map(|(n, ty)| computed(*n, SqlType::new(*ty))).collect(),
        }
    }
}

/// A function's name; only those of pg_catalog exist.
pub fn function_name(name: &ast::ObjectName) -> SqlResult<String> {
    let parts = object_name_parts(name)?;
    match parts.as_slice() {
        [name] => Ok(fold(name).into_owned()),
        [schema, name] if fold(schema) == "pg_catalog" => Ok(fold(name).into_owned()),
        [schema, ..] if fold(schema) == "information_schema" => {
            Ok(parts.last().map(|p| fold(p).into_owned()).unwrap_or_default())
        }
        _ => Err(SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("function {} does not exist", dotted(&parts)),
        )
        .with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )),
    }
}

impl Binder<'_> {
    /// Chooses the function and casts the arguments.
    pub fn resolve_call(
        &mut self,
        name: &str,
        args: Vec<Expr>,
        variadic: bool,
        at: Location,
    ) -> SqlResult<Call> {
        match self.lookup_call(name, args, variadic, at)? {
            Ok(call) => Ok(call),
            Err(_) => {
                Err(self.error_at(state::UNDEFINED_FUNCTION, format!("function {name} does not exist"), at))
            }
        }
    }

    /// A call, or the cast that a call by a type's name means.
    fn lookup_call(
        &mut self,
        name: &str,
        args: Vec<Expr>,
        variadic: bool,
        at: Location,
    ) -> SqlResult<Result<Call, Expr>> {
        let types: Vec<Oid> = args.iter().map(|e| e.ty().oid).collect();
        match resolve_function(name, &types, variadic).map_err(|e| self.locate(e, at))? {
            FunctionLookup::Coerce(to) => {
                let arg = args.into_iter().next().ok_or_else(|| SqlError::internal("a cast of nothing"))?;
                self.coerce_explicitly(arg, SqlType::new(to)).map_err(|e| self.locate(e, at)).map(Err)
            }
            FunctionLookup::Call(resolved) => {
                let mut cast = Vec::with_capacity(args.len());
                for (arg, ty) in args.into_iter().zip(&resolved.args) {
                    cast.push(
                        self.coerce_implicitly(arg, SqlType::new(*ty)).map_err(|e| self.locate(e, at))?,
                    );
                }
                if let Some(from) = resolved.variadic_from {
                    let elements = cast.split_off(from);
                    let element = resolved.args.get(from).copied().unwrap_or(Oid::TEXT);
                    let ty = array_of(element)
                        .ok_or_else(|| SqlError::internal(format!("no array type of {element}")))?;
                    cast.push(Expr::Array { elements, ty: SqlType::new(ty) });
                }
                let ty = SqlType::new(resolved.result);
                Ok(Ok(Call { function: resolved.function, args: cast, ty }))
            }
        }
    }

    /// A call of a plain function by name, for forms that the grammar writes otherwise.
    pub fn call(&mut self, name: &str, args: Vec<Expr>, at: Location) -> SqlResult<Expr> {
        Ok(match self.lookup_call(name, args, false, at)? {
            Ok(call) => call.into_expr(),
            Err(cast) => cast,
        })
    }

    pub fn bind_function_call(&mut self, f: &ast::Function, scope: &Scope<'_>) -> SqlResult<Expr> {
        let at = f.name.0.first().and_then(|p| p.as_ident()).map_or(Location::empty(), |i| i.span.start);
        let name = function_name(&f.name).map_err(|e| self.locate(e, at))?;
        if !matches!(f.parameters, FunctionArguments::None) {
            return Err(SqlError::unsupported("a function with parameters"));
        }
        let list = match &f.args {
            FunctionArguments::None => return self.niladic(&name, None, at),
            FunctionArguments::Subquery(query) if name == "array" => {
                return self.bind_array_subquery(query, scope);
            }
            FunctionArguments::Subquery(query) => {
                let arg = self.bind_scalar_subquery(query, scope)?;
                return self.call(&name, vec![arg], at);
            }
            FunctionArguments::List(list) => list,
        };
        let quoted = f.name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.quote_style.is_some());
        if f.name.0.len() == 1
            && !quoted
            && let Some(special) = self.bind_special(&name, list, scope, at)?
        {
            return Ok(special);
        }
        let star = matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        let aggregate_syntax = star
            || list.duplicate_treatment.is_some()
            || !list.clauses.is_empty()
            || !f.within_group.is_empty()
            || f.filter.is_some();
        let is_aggregate = || crate::registry::functions_named(&name).iter().any(|f| f.is_aggregate());
        if f.over.is_some() || is_aggregate() || aggregate_syntax {
            return self.bind_aggregate_or_window(f, list, &name, star, scope, at);
        }
        let variadic = matches!(
            list.args.last(),
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Prior(_))))
        );
        let args = self.bind_arguments(&list.args, scope)?;
        match self.lookup_call(&name, args, variadic, at)? {
            Err(cast) => Ok(cast),
            Ok(call) => self.place_call(call, at),
        }
    }

    /// A plain call stays; a set-returning one is put aside; window functions want OVER.
    fn place_call(&mut self, call: Call, at: Location) -> SqlResult<Expr> {
        match call.function.body {
            Body::Set(_) => {
                let clause = self.clause();
                if !clause.allows_sets() {
                    return Err(self.error_at(
                        state::FEATURE_NOT_SUPPORTED,
                        format!("set-returning functions are not allowed in {}", clause.name()),
                        at,
                    ));
                }
                if !record_columns(call.function).is_empty() {
                    return Err(SqlError::unsupported(format!(
                        "{} in a select list: it returns rows of several columns",
                        call.function.name
                    )));
                }
                let index = SET_PLACEHOLDER + self.level().sets.len();
                let ty = call.ty;
                self.level().sets.push(SetCall { function: call.function, args: call.args, ty });
                Ok(Expr::Column { index, ty })
            }
            Body::Window => Err(self.error_at(
                state::WRONG_OBJECT_TYPE,
                format!("window function {} requires an OVER clause", call.function.name),
                at,
            )),
            _ => Ok(call.into_expr()),
        }
    }

    pub fn bind_arguments(&mut self, args: &[FunctionArg], scope: &Scope<'_>) -> SqlResult<Vec<Expr>> {
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            bound.push(match arg {
                // The dialect marks VARIADIC so.
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Prior(e))) => {
                    self.bind_expr(e, scope)?
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => self.bind_expr(e, scope)?,
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                    let parts = object_name_parts(name)?;
                    let table = parts.last().map(|p| fold(p)).unwrap_or_default();
                    match scope.find_relation(None, &table) {
                        Some((depth, relation)) => super::scope::outward(whole_row(relation), depth),
                        None => {
                            return Err(self.missing_from_entry(
                                scope,
                                &table,
                                parts.first().map_or(Location::empty(), |p| p.span.start),
                            ));
                        }
                    }
                }
                FunctionArg::Unnamed(_) => {
                    return Err(SqlError::new(state::SYNTAX_ERROR, "\"*\" is not an argument here"));
                }
                FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
                    return Err(SqlError::unsupported("named arguments"));
                }
            });
        }
        Ok(bound)
    }

    /// Calls that are grammar in PostgreSQL.
    fn bind_special(
        &mut self,
        name: &str,
        list: &ast::FunctionArgumentList,
        scope: &Scope<'_>,
        at: Location,
    ) -> SqlResult<Option<Expr>> {
        match name {
            "coalesce" => {
                let args = self.bind_arguments(&list.args, scope)?;
                let (args, ty) = self.unify(args, "COALESCE").map_err(|e| self.locate(e, at))?;
                Ok(Some(Expr::Coalesce { args, ty }))
            }
            "greatest" | "least" => {
                let args = self.bind_arguments(&list.args, scope)?;
                let upper = name.to_ascii_uppercase();
                let (args, ty) = self.unify(args, &upper).map_err(|e| self.locate(e, at))?;
                let (less, l, _) = self.comparison("<", ty.oid, ty.oid).map_err(|e| self.locate(e, at))?;
                let mut cast = Vec::with_capacity(args.len());
                for arg in args {
                    cast.push(self.coerce_implicitly(arg, SqlType::new(l))?);
                }
                Ok(Some(Expr::MinMax { args: cast, less, greatest: name == "greatest", ty }))
            }
            "nullif" => {
                let args = self.bind_arguments(&list.args, scope)?;
                let Ok([left, right]) = <[Expr; 2]>::try_from(args) else {
                    return Err(self.error_at(state::SYNTAX_ERROR, "syntax error at or near \"nullif\"", at));
                };
                let left = self.unknown_to_text(left)?;
                let test = self.binary_operator("=", left, right, at).map_err(|e| self.locate(e, at))?;
                // The result has the type in which the two were compared.
                let left = match &test {
                    Expr::Call { args, .. } if args.len() == 2 => self.copy_of(&args[0])?,
                    _ => return Err(SqlError::unsupported("NULLIF of rows")),
                };
                let ty = left.ty();
                let null = Expr::Const(Datum::Null, ty);
                Ok(Some(Expr::Case { arms: vec![(test, null)], otherwise: Box::new(left), ty }))
            }
            "row" => {
                let mut fields = Vec::new();
                for arg in self.bind_arguments(&list.args, scope)? {
                    fields.push(self.unknown_to_text(arg)?);
                }
                Ok(Some(Expr::Row { fields, ty: SqlType::new(Oid::RECORD) }))
            }
            "current_timestamp" | "current_time" | "localtime" | "localtimestamp" => {
                let precision = match list.args.as_slice() {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(e))] => match self.bind_expr(e, scope)? {
                        Expr::Const(Datum::Int4(p), _) => Some(i64::from(p)),
                        _ => {
                            return Err(self.error_at(
                                state::SYNTAX_ERROR,
                                "a precision is a number",
                                start_of(e),
                            ));
                        }
                    },
                    _ => None,
                };
                self.niladic(name, precision, at).map(Some)
            }
            "grouping" => {
                if !self.clause().allows_aggregates() {
                    let message = format!("grouping operations are not allowed in {}", self.clause().name());
                    return Err(self.error_at(state::GROUPING_ERROR, message, at));
                }
                let args = self.in_clause(Clause::GroupBy, |b| b.bind_arguments(&list.args, scope))?;
                let index = GROUPING_PLACEHOLDER + self.level().groupings.len();
                self.level().groupings.push(args);
                Ok(Some(Expr::Column { index, ty: SqlType::new(Oid::INT4) }))
            }
            _ => Ok(None),
        }
    }
}
