//! PostgreSQL's dialect with the corrections that sqlparser's own lacks.
//!
//! What must stay true: operators bind as in PostgreSQL's manual (4.1.6): unary minus above `^`, every operator that
//! is not in the standard's list on one level, left to right. sqlparser asks `is::<PostgreSqlDialect>()` in many
//! places, so this dialect says that it is one.

use std::any::TypeId;

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Ident, ObjectName, TypedString, UnaryOperator, Value, ValueWithSpan,
};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::{self, Keyword};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// Between `^` (100) and AT TIME ZONE (110).
const UNARY_MINUS_PRECEDENCE: u8 = 105;
const OTHER_OPERATOR_PRECEDENCE: u8 = 70;

#[derive(Debug)]
pub struct MeridianDialect;

const BASE: PostgreSqlDialect = PostgreSqlDialect {};

impl MeridianDialect {
    /// Prefixes that need no look at the grammar of types: most of what statements consist of. Without this,
    /// sqlparser first tries every prefix as a type name and formats an error for it.
    fn simple_prefix(parser: &mut Parser<'_>) -> Option<Expr> {
        let token = parser.peek_token_ref();
        let span = token.span;
        let expr = match &token.token {
            Token::Number(n, long) => value(Value::Number(n.clone(), *long), span),
            Token::Placeholder(p) => value(Value::Placeholder(p.clone()), span),
            Token::SingleQuotedString(s) => {
                if matches!(parser.peek_nth_token_ref(1).token, Token::SingleQuotedString(_)) {
                    return None;
                }
                value(Value::SingleQuotedString(s.clone()), span)
            }
            Token::Word(w) if w.keyword == Keyword::NULL => value(Value::Null, span),
            Token::Word(w) if w.keyword == Keyword::NoKeyword => match parser.peek_nth_token_ref(1).token {
                Token::LParen | Token::SingleQuotedString(_) | Token::Period => return None,
                _ => Expr::Identifier(Ident { value: w.value.clone(), quote_style: w.quote_style, span }),
            },
            _ => return None,
        };
        parser.advance_token();
        Some(expr)
    }

    /// `type 'string'` for types that are not keywords of the grammar.
    fn typed_literal(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let (Token::Word(word), Token::SingleQuotedString(_)) =
            (&parser.peek_token_ref().token, &parser.peek_nth_token_ref(1).token)
        else {
            return None;
        };
        if word.keyword != Keyword::NoKeyword && word.keyword != Keyword::REGCLASS {
            return None;
        }
        let span = parser.peek_token_ref().span;
        let name =
            ObjectName::from(vec![Ident { value: word.value.clone(), quote_style: word.quote_style, span }]);
        parser.advance_token();
        Some(parser.parse_value().map(|value| {
            Expr::TypedString(TypedString {
                data_type: DataType::Custom(name, Vec::new()),
                value,
                uses_odbc_syntax: false,
            })
        }))
    }

    /// `VARIADIC array` as the last argument of a call: an `Expr::Prior`, which PostgreSQL has no use for.
    fn variadic(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let marked = matches!(&parser.peek_token_ref().token,
            Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("variadic"));
        let follows = &parser.peek_nth_token_ref(1).token;
        if !marked
            || !matches!(follows, Token::Word(_) | Token::SingleQuotedString(_) | Token::Placeholder(_))
        {
            return None;
        }
        parser.advance_token();
        Some(parser.parse_expr().map(|e| Expr::Prior(Box::new(e))))
    }

    fn unary(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let (op, precedence) = match parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, UNARY_MINUS_PRECEDENCE),
            Token::Plus => (UnaryOperator::Plus, UNARY_MINUS_PRECEDENCE),
            Token::AtSign => (UnaryOperator::PGAbs, OTHER_OPERATOR_PRECEDENCE),
            Token::Tilde => (UnaryOperator::BitwiseNot, OTHER_OPERATOR_PRECEDENCE),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, OTHER_OPERATOR_PRECEDENCE),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, OTHER_OPERATOR_PRECEDENCE),
            Token::DoubleExclamationMark => (UnaryOperator::PGPrefixFactorial, OTHER_OPERATOR_PRECEDENCE),
            _ => return None,
        };
        parser.advance_token();
        Some(parser.parse_subexpr(precedence).map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }
}

fn value(value: Value, span: sqlparser::tokenizer::Span) -> Expr {
    Expr::Value(ValueWithSpan { value, span })
}

/// `x BETWEEN SYMMETRIC a AND b` holds if x lies between a and b in either order.
fn between_symmetric(parser: &mut Parser<'_>, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.advance_token();
    let precedence = parser_between();
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword(Keyword::AND)?;
    let high = parser.parse_subexpr(precedence)?;
    let between = |low: &Expr, high: &Expr| Expr::Between {
        expr: Box::new(expr.clone()),
        negated,
        low: Box::new(low.clone()),
        high: Box::new(high.clone()),
    };
    Ok(Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(between(&low, &high)),
        op: if negated { BinaryOperator::And } else { BinaryOperator::Or },
        right: Box::new(between(&high, &low)),
    })))
}

fn parser_between() -> u8 {
    BASE.prec_value(Precedence::Between)
}

impl Dialect for MeridianDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        if let Some(variadic) = Self::variadic(parser) {
            return Some(variadic);
        }
        if let Some(expr) = Self::simple_prefix(parser) {
            return Some(Ok(expr));
        }
        Self::unary(parser).or_else(|| Self::typed_literal(parser))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let keyword = |n: usize| match &parser.peek_nth_token_ref(n).token {
            Token::Word(w) => w.keyword,
            _ => Keyword::NoKeyword,
        };
        let word = |n: usize, text: &str| {
            matches!(&parser.peek_nth_token_ref(n).token,
                Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(text))
        };
        match (keyword(0), keyword(1)) {
            (Keyword::COLLATE, _) => {
                parser.advance_token();
                let collation = parser.parse_object_name(false);
                let expr = Box::new(expr.clone());
                Some(collation.map(|collation| Expr::Collate { expr, collation }))
            }
            (Keyword::BETWEEN, _) if word(1, "symmetric") => Some(between_symmetric(parser, expr, false)),
            (Keyword::NOT, Keyword::BETWEEN) if word(2, "symmetric") => {
                parser.advance_token();
                Some(between_symmetric(parser, expr, true))
            }
            (Keyword::BETWEEN, _) if word(1, "asymmetric") => {
                parser.advance_token();
                parser.advance_token();
                Some(parser.parse_between(expr.clone(), false))
            }
            _ => None,
        }
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk
            | Token::Pipe
            | Token::Ampersand => Some(Ok(OTHER_OPERATOR_PRECEDENCE)),
            // PostgreSQL 14 dropped postfix operators.
            Token::ExclamationMark => Some(Ok(self.prec_unknown())),
            Token::Word(w) => match w.keyword {
                Keyword::OPERATOR => Some(Ok(OTHER_OPERATOR_PRECEDENCE)),
                // Not infix words of PostgreSQL: they are ordinary names and may be aliases.
                Keyword::XOR
                | Keyword::RLIKE
                | Keyword::REGEXP
                | Keyword::MATCH
                | Keyword::GLOB
                | Keyword::MEMBER
                | Keyword::DIV => Some(Ok(self.prec_unknown())),
                _ => BASE.get_next_precedence(parser),
            },
            _ => BASE.get_next_precedence(parser),
        }
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        BASE.prec_value(prec)
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }
    fn is_identifier_start(&self, ch: char) -> bool {
        BASE.is_identifier_start(ch)
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        BASE.is_identifier_part(ch)
    }
    fn is_custom_operator_part(&self, ch: char) -> bool {
        BASE.is_custom_operator_part(ch)
    }
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        BASE.is_reserved_for_identifier(kw)
    }
    fn is_table_alias(&self, kw: &Keyword, parser: &mut Parser<'_>) -> bool {
        BASE.is_table_alias(kw, parser)
    }
    /// `SELECT 1 FOR UPDATE`
    fn is_column_alias(&self, kw: &Keyword, _parser: &mut Parser<'_>) -> bool {
        *kw != Keyword::FOR && !keywords::RESERVED_FOR_COLUMN_ALIAS.contains(kw)
    }
    fn supports_unicode_string_literal(&self) -> bool {
        true
    }
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }
    fn supports_group_by_expr(&self) -> bool {
        true
    }
    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }
    fn supports_alter_user_as_alter_role(&self) -> bool {
        true
    }
    fn allow_extract_custom(&self) -> bool {
        true
    }
    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
    fn supports_create_index_with_clause(&self) -> bool {
        true
    }
    fn supports_explain_with_utility_options(&self) -> bool {
        true
    }
    fn supports_listen_notify(&self) -> bool {
        true
    }
    fn supports_exclude_constraint(&self) -> bool {
        true
    }
    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }
    fn supports_comment_on(&self) -> bool {
        true
    }
    fn supports_load_extension(&self) -> bool {
        true
    }
    fn supports_empty_projections(&self) -> bool {
        true
    }
    fn supports_nested_comments(&self) -> bool {
        true
    }
    fn supports_string_escape_constant(&self) -> bool {
        true
    }
    fn supports_string_literal_concatenation_with_newline(&self) -> bool {
        true
    }
    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }
    fn supports_order_by_using_operator(&self) -> bool {
        true
    }
    fn supports_set_names(&self) -> bool {
        true
    }
    fn supports_alter_column_type_using(&self) -> bool {
        true
    }
    fn supports_left_associative_joins_without_parens(&self) -> bool {
        false
    }
    fn supports_notnull_operator(&self) -> bool {
        true
    }
    fn supports_interval_options(&self) -> bool {
        true
    }
    fn supports_insert_table_alias(&self) -> bool {
        true
    }
    fn supports_create_table_like_parenthesized(&self) -> bool {
        true
    }
    fn supports_geometric_types(&self) -> bool {
        // For the operators that json shares with geometry (`?`, `?|`); there are no geometric types.
        true
    }
    fn supports_comment_optimizer_hint(&self) -> bool {
        // `rewrite` hands OVERRIDING … VALUE through as a hint.
        true
    }
    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
}
