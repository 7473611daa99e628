//! Constants and parameters.

use sqlparser::ast::{self, Value};
use sqlparser::tokenizer::Location;

use crate::bind::scope::Scope;
use crate::bind::{Binder, bind_data_type, start_of};
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::types::{Datum, Oid, SqlType};

const UNKNOWN: SqlType = SqlType::new(Oid::UNKNOWN);

impl Binder<'_> {
    pub fn bind_value(&mut self, value: &ast::ValueWithSpan) -> SqlResult<Expr> {
        let at = value.span.start;
        match &value.value {
            Value::Number(text, _) => self.number(text, at),
            Value::SingleQuotedString(s)
            | Value::EscapedStringLiteral(s)
            | Value::UnicodeStringLiteral(s)
            | Value::NationalStringLiteral(s) => self.string(s, at),
            Value::DollarQuotedString(s) => self.string(&s.value, at),
            Value::Boolean(b) => Ok(Expr::Const(Datum::Bool(*b), SqlType::new(Oid::BOOL))),
            Value::Null => Ok(Expr::Const(Datum::Null, UNKNOWN)),
            Value::Placeholder(text) => {
                let (index, oid) = self.params.lookup(text).map_err(|e| self.locate(e, at))?;
                Ok(Expr::Param { index, ty: SqlType::new(oid) })
            }
            Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_) => {
                Err(self.locate(SqlError::unsupported("a bit string literal"), at))
            }
            other => Err(self.locate(SqlError::unsupported(format!("the literal {other}")), at)),
        }
    }

    fn string(&self, text: &str, at: Location) -> SqlResult<Expr> {
        if text.contains('\0') {
            let e = SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
            return Err(self.locate(e, at));
        }
        Ok(Expr::Const(Datum::text(text), UNKNOWN))
    }

    /// The smallest of integer, bigint and numeric that holds it.
    pub fn number(&self, text: &str, at: Location) -> SqlResult<Expr> {
        if let Ok(n) = text.parse::<i32>() {
            return Ok(Expr::Const(Datum::Int4(n), SqlType::new(Oid::INT4)));
        }
        if let Ok(n) = text.parse::<i64>() {
            return Ok(Expr::Const(Datum::Int8(n), SqlType::new(Oid::INT8)));
        }
        let numeric = SqlType::new(Oid::NUMERIC);
        let value = self.read_literal(text, numeric).map_err(|e| self.locate(e, at))?;
        Ok(Expr::Const(value, numeric))
    }

    /// `date '2020-01-01'`
    pub fn bind_typed_literal(&mut self, literal: &ast::TypedString) -> SqlResult<Expr> {
        let at = literal.value.span.start;
        let ty = bind_data_type(&literal.data_type).map_err(|e| self.locate(e, at))?;
        let value = self.bind_value(&literal.value)?;
        self.coerce_explicitly(value, ty).map_err(|e| self.locate(e, at))
    }

    /// `interval '1 day'`, `interval '1' day`, `interval '1:02' hour to minute`
    pub fn bind_interval(&mut self, interval: &ast::Interval, scope: &Scope<'_>) -> SqlResult<Expr> {
        let at = start_of(&*interval.value);
        let ty = match &interval.leading_field {
            None => SqlType::new(Oid::INTERVAL),
            Some(leading) => {
                let fields = interval_fields(leading, interval.last_field.as_ref())
                    .ok_or_else(|| SqlError::unsupported("this form of interval"))?;
                let precision = interval.fractional_seconds_precision.or(interval.leading_precision);
                bind_data_type(&ast::DataType::Interval { fields: Some(fields), precision })?
            }
        };
        let value = self.bind_expr(&interval.value, scope)?;
        self.coerce_explicitly(value, ty).map_err(|e| self.locate(e, at))
    }
}

fn interval_fields(
    leading: &ast::DateTimeField,
    last: Option<&ast::DateTimeField>,
) -> Option<ast::IntervalFields> {
    use ast::DateTimeField as F;
    use ast::IntervalFields as I;
    let plain = |f: &F| match f {
        F::Years => F::Year,
        F::Months => F::Month,
        F::Days => F::Day,
        F::Hours => F::Hour,
        F::Minutes => F::Minute,
        F::Seconds => F::Second,
        other => other.clone(),
    };
    Some(match (plain(leading), last.map(plain)) {
        (F::Year, None) => I::Year,
        (F::Month, None) => I::Month,
        (F::Day, None) => I::Day,
        (F::Hour, None) => I::Hour,
        (F::Minute, None) => I::Minute,
        (F::Second, None) => I::Second,
        (F::Year, Some(F::Month)) => I::YearToMonth,
        (F::Day, Some(F::Hour)) => I::DayToHour,
        (F::Day, Some(F::Minute)) => I::DayToMinute,
        (F::Day, Some(F::Second)) => I::DayToSecond,
        (F::Hour, Some(F::Minute)) => I::HourToMinute,
        (F::Hour, Some(F::Second)) => I::HourToSecond,
        (F::Minute, Some(F::Second)) => I::MinuteToSecond,
        _ => return None,
    })
}
