//! Forms that the standard writes in words: EXTRACT, SUBSTRING, TRIM, CEIL, and values without parentheses.

use sqlparser::ast::{self, DateTimeField, TrimWhereField};
use sqlparser::tokenizer::Location;

use crate::bind::scope::Scope;
use crate::bind::{Binder, start_of};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::types::{Datum, Oid, SqlType};

impl Binder<'_> {
    pub fn bind_extract(
        &mut self,
        field: &DateTimeField,
        arg: &ast::Expr,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let name = field.to_string().trim_matches('\'').to_ascii_lowercase();
        let field = Expr::Const(Datum::text(&name), SqlType::new(Oid::TEXT));
        let source = self.bind_expr(arg, scope)?;
        self.call("extract", vec![field, source], start_of(arg))
    }

    pub fn bind_rounding(
        &mut self,
        name: &str,
        arg: &ast::Expr,
        field: &ast::CeilFloorKind,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        if !matches!(field, ast::CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)) {
            return Err(SqlError::unsupported(format!("{name} with a second argument")));
        }
        let bound = self.bind_expr(arg, scope)?;
        self.call(name, vec![bound], start_of(arg))
    }

    pub fn bind_substring(&mut self, e: &ast::Expr, scope: &Scope<'_>) -> SqlResult<Expr> {
        let ast::Expr::Substring { expr, substring_from, substring_for, shorthand, .. } = e else {
            return Err(SqlError::internal("not a substring"));
        };
        let mut args = vec![self.bind_expr(expr, scope)?];
        match (substring_from, substring_for) {
            (Some(from), count) => {
                args.push(self.bind_expr(from, scope)?);
                if let Some(count) = count {
                    args.push(self.bind_expr(count, scope)?);
                }
            }
            (None, Some(count)) => {
                args.push(Expr::Const(Datum::Int4(1), SqlType::new(Oid::INT4)));
                args.push(self.bind_expr(count, scope)?);
            }
            (None, None) => {}
        }
        self.call(if *shorthand { "substr" } else { "substring" }, args, start_of(&**expr))
    }

    pub fn bind_trim(
        &mut self,
        side: Option<TrimWhereField>,
        what: Option<&ast::Expr>,
        arg: &ast::Expr,
        characters: Option<&[ast::Expr]>,
        scope: &Scope<'_>,
    ) -> SqlResult<Expr> {
        let name = match side {
            None | Some(TrimWhereField::Both) => "btrim",
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
        };
        let mut args = vec![self.bind_expr(arg, scope)?];
        for e in what.into_iter().chain(characters.into_iter().flatten()) {
            args.push(self.bind_expr(e, scope)?);
        }
        self.call(name, args, start_of(arg))
    }

    /// CURRENT_DATE and its kind: values that are written without parentheses, some with a precision.
    pub fn niladic(&mut self, name: &str, precision: Option<i64>, at: Location) -> SqlResult<Expr> {
        let (function, target) = match name {
            "current_date" => ("now", Some(SqlType::new(Oid::DATE))),
            "current_time" => ("now", Some(SqlType::new(Oid::TIMETZ))),
            "localtime" => ("now", Some(SqlType::new(Oid::TIME))),
            "localtimestamp" => ("now", Some(SqlType::new(Oid::TIMESTAMP))),
            "current_timestamp" => ("now", None),
            "current_user" | "current_role" | "user" => ("current_user", None),
            "session_user" => ("session_user", None),
            "current_catalog" => ("current_database", None),
            "current_schema" => ("current_schema", None),
            _ => {
                return Err(self.error_at(
                    state::UNDEFINED_FUNCTION,
                    format!("function {name}() does not exist"),
                    at,
                ));
            }
        };
        let call = self.call(function, Vec::new(), at)?;
        let mut target = target.unwrap_or_else(|| call.ty());
        if let Some(p) = precision {
            target.typmod = p.clamp(0, 6) as i32;
        }
        self.coerce_explicitly(call, target)
    }
}
