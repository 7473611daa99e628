//! What an output column is called when the statement does not say: PostgreSQL's FigureColname.

use sqlparser::ast::{self, DateTimeField, Expr, SetExpr, TrimWhereField};

use super::name::fold;
use crate::registry::type_info;

pub fn name_of(expr: &Expr) -> String {
    strong_name(expr).or_else(|| weak_name(expr)).unwrap_or_else(|| "?column?".into())
}

/// A name that a cast around the expression keeps.
fn strong_name(expr: &Expr) -> Option<String> {
    let fixed = |name: &str| Some(name.to_string());
    match expr {
        Expr::Identifier(ident) => Some(fold(ident).into_owned()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|p| fold(p).into_owned()),
        Expr::CompoundFieldAccess { root, access_chain } => access_chain
            .iter()
            .rev()
            .find_map(|access| match access {
                ast::AccessExpr::Dot(field) => strong_name(field),
                ast::AccessExpr::Subscript(_) => None,
            })
            .or_else(|| strong_name(root)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => strong_name(inner),
        Expr::Function(f) => function_name(f),
        Expr::Cast { expr, .. } => strong_name(expr),
        Expr::AtTimeZone { .. } => fixed("timezone"),
        Expr::Extract { .. } => fixed("extract"),
        Expr::Ceil { field: ast::CeilFloorKind::DateTimeField(DateTimeField::NoDateTime), .. } => {
            fixed("ceil")
        }
        Expr::Floor { field: ast::CeilFloorKind::DateTimeField(DateTimeField::NoDateTime), .. } => {
            fixed("floor")
        }
        Expr::Ceil { .. } => fixed("ceil"),
        Expr::Floor { .. } => fixed("floor"),
        Expr::Position { .. } => fixed("position"),
        Expr::Substring { shorthand: true, .. } => fixed("substr"),
        Expr::Substring { .. } => fixed("substring"),
        Expr::Overlay { .. } => fixed("overlay"),
        Expr::Trim { trim_where, .. } => fixed(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Exists { negated: false, .. } => fixed("exists"),
        Expr::Array(_) => fixed("array"),
        Expr::Subquery(query) => subquery_name(query),
        Expr::Tuple(_) => fixed("row"),
        _ => None,
    }
}

/// A name that a cast would replace by its type's.
fn weak_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => weak_name(inner),
        Expr::Cast { expr, data_type, .. } => weak_name(expr).or_else(|| type_column_name(data_type)),
        Expr::TypedString(t) => type_column_name(&t.data_type),
        Expr::Interval(_) => Some("interval".into()),
        Expr::Case { else_result, .. } => {
            else_result.as_deref().and_then(strong_name).or_else(|| Some("case".into()))
        }
        _ => None,
    }
}

fn function_name(f: &ast::Function) -> Option<String> {
    let last = f.name.0.last()?.as_ident()?;
    Some(fold(last).into_owned())
}

fn type_column_name(ty: &ast::DataType) -> Option<String> {
    let ty = super::bind_data_type(ty).ok()?;
    type_info(ty.oid).map(|t| t.name.to_string())
}

fn subquery_name(query: &ast::Query) -> Option<String> {
    let SetExpr::Select(select) = &*query.body else { return None };
    match select.projection.first()? {
        ast::SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        ast::SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias).into_owned()),
        _ => None,
    }
}
