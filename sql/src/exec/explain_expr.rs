//! Expressions as EXPLAIN shows them: PostgreSQL's way of parenthesising, columns by the names of where they come from.

use crate::expr::Expr;
use crate::plan::physical::{Access, KeyPart, Node, NodeKind, PhysicalPlan};
use crate::registry::index::operator_of;
use crate::registry::{CastMethod, EvalContext, Function, format_type};
use crate::types::{Datum, Oid, SqlType};

pub struct Printer {
    /// Columns are shown with their table: there is more than one.
    qualified: bool,
    /// Slots are numbered from zero behind the client's parameters, which are numbered from one.
    params: usize,
}

/// Says what a column of the row that an expression reads is called.
type Names<'n> = &'n dyn Fn(usize) -> String;

impl Printer {
    pub fn of(plan: &PhysicalPlan, verbose: bool) -> Self {
        fn tables(node: &Node) -> usize {
            let own = match &node.kind {
                NodeKind::Scan(_)
                | NodeKind::VirtualScan(_)
                | NodeKind::FunctionScan(_)
                | NodeKind::CteScan(_) => 1,
                NodeKind::Values(v) => (v.rows.len() > 1) as usize,
                NodeKind::LookupJoin(_) => 1,
                _ => 0,
            };
            let mut below = 0;
            node.for_each_input(&mut |input| below += tables(input));
            own + below
        }
        Printer { qualified: verbose || tables(&plan.root) > 1, params: plan.params }
    }

    /// `$1` for a parameter, `$0` for the first slot.
    pub fn slot(&self, index: usize) -> String {
        match index.checked_sub(self.params) {
            None => format!("${}", index + 1),
            Some(slot) => format!("${slot}"),
        }
    }

    /// A condition, in parentheses.
    pub fn expr(&self, e: &Expr, inputs: &[&Node]) -> String {
        self.print(e, &|i| self.of_inputs(inputs, i), true)
    }

    /// An expression as it stands in a list.
    pub fn bare(&self, e: &Expr, inputs: &[&Node]) -> String {
        self.print(e, &|i| self.of_inputs(inputs, i), false)
    }

    pub fn all(&self, conjuncts: &[Expr], inputs: &[&Node]) -> String {
        Self::conjunction(conjuncts.iter().map(|c| self.expr(c, inputs)).collect())
    }

    pub fn conjunction(mut parts: Vec<String>) -> String {
        match parts.len() {
            1 => parts.swap_remove(0),
            _ => format!("({})", parts.join(" AND ")),
        }
    }

    pub fn access_expr(&self, e: &Expr, access: &Access) -> String {
        self.print(e, &|i| self.of_access(access, i), true)
    }

    pub fn lookup_expr(&self, e: &Expr, left: &Node, access: &Access) -> String {
        let width = left.schema.len();
        let name =
            |i: usize| if i < width { self.column(left, i) } else { self.of_access(access, i - width) };
        self.print(e, &name, true)
    }

    /// The bounds of a lookup, over the left row.
    pub fn bounds(&self, access: &Access, left: &Node) -> String {
        let key = &access.codec.index.key;
        let part = |(n, part): (usize, &KeyPart)| {
            let column = access.table.columns.iter().find(|c| c.id == key[n].column);
            let column = column.map_or("?", |c| c.name.as_str());
            match part {
                KeyPart::Eq(e) => format!("({column} = {})", self.bare(e, &[left])),
                KeyPart::In(_) | KeyPart::InArray(_) => format!("({column} = ANY …)"),
                KeyPart::IsNull => format!("({column} IS NULL)"),
            }
        };
        let prefix = access.bounds.sections.iter().flat_map(|s| s.prefix.iter().enumerate());
        Self::conjunction(prefix.map(part).collect())
    }

    fn of_inputs(&self, inputs: &[&Node], mut i: usize) -> String {
        for input in inputs {
            if i < input.schema.len() {
                return self.column(input, i);
            }
            i -= input.schema.len();
        }
        "?".into()
    }

    fn of_access(&self, access: &Access, i: usize) -> String {
        let id = access.columns.get(i);
        let name = access.table.columns.iter().find(|c| Some(&c.id) == id);
        let name = quoted_name(name.map_or("?column?", |c| c.name.as_str()));
        if !self.qualified {
            return name;
        }
        let table = if access.alias.is_empty() { &access.table.name } else { &access.alias };
        format!("{}.{name}", quoted_name(table))
    }

    /// What column `i` of a node's result is called, followed to where it comes from.
    pub fn column(&self, node: &Node, i: usize) -> String {
        let named = || node.schema.get(i).map_or_else(|| "?".into(), |f| quoted_name(&f.name));
        let join = |left: &Node, right: &Node| match i.checked_sub(left.schema.len()) {
            None => self.column(left, i),
            Some(i) => self.column(right, i),
        };
        match &node.kind {
            NodeKind::Scan(access) => self.of_access(access, i),
            NodeKind::Filter(n) => self.column(&n.input, i),
            NodeKind::Sort(n) => self.column(&n.input, i),
            NodeKind::Limit(n) => self.column(&n.input, i),
            NodeKind::Distinct(n) => self.column(&n.input, i),
            NodeKind::LockRows(n) => self.column(&n.input, i),
            NodeKind::InitPlans(n) => self.column(&n.input, i),
            NodeKind::Apply(n) => match i.checked_sub(n.input.schema.len()) {
                None => self.column(&n.input, i),
                Some(k) => format!("(SubPlan {})", k + 1),
            },
            NodeKind::Window(n) if i < n.input.schema.len() => self.column(&n.input, i),
            NodeKind::NestedLoop(n) => join(&n.left, &n.right),
            NodeKind::HashJoin(n) => join(&n.left, &n.right),
            NodeKind::Lateral(n) => join(&n.left, &n.right),
            NodeKind::LookupJoin(n) => match i.checked_sub(n.left.schema.len()) {
                None => self.column(&n.left, i),
                Some(i) => self.of_access(&n.access, i),
            },
            NodeKind::Project(n) => self.bare(&n.exprs[i], &[&n.input]),
            NodeKind::Aggregate(n) => match i.checked_sub(n.groups.len()) {
                None => self.bare(&n.groups[i], &[&n.input]),
                Some(k) => {
                    let call = &n.aggregates[k];
                    let args: Vec<String> = call.args.iter().map(|a| self.bare(a, &[&n.input])).collect();
                    let args = if args.is_empty() { "*".into() } else { args.join(", ") };
                    let distinct = if call.distinct { "DISTINCT " } else { "" };
                    format!("{}({distinct}{args})", call.function.name)
                }
            },
            _ => named(),
        }
    }

    fn print(&self, e: &Expr, names: Names<'_>, parens: bool) -> String {
        let inner = |e: &Expr| self.print(e, names, true);
        let wrap = |s: String| if parens { format!("({s})") } else { s };
        let list =
            |args: &[Expr]| args.iter().map(|a| self.print(a, names, false)).collect::<Vec<_>>().join(", ");
        match e {
            Expr::Const(value, ty) => constant(value, *ty),
            Expr::Column { index, .. } => names(*index),
            Expr::Outer { index, .. } => format!("outer.{}", index + 1),
            Expr::Param { index, .. } => self.slot(*index),
            Expr::Call { function, args, .. } => match (symbol(function), args.as_slice()) {
                (Some(op), [l, r]) => wrap(format!("{} {op} {}", inner(l), inner(r))),
                (Some(op), [arg]) => wrap(format!("{op} {}", inner(arg))),
                _ => format!("{}({})", function.name, list(args)),
            },
            Expr::Cast { arg, method: CastMethod::Relabel, to, explicit } => {
                let text = self.print(arg, names, true);
                if *explicit || to.oid == Oid::TEXT {
                    format!("{}::{}", parenthesised(arg, text), type_text(*to))
                } else {
                    text
                }
            }
            Expr::Cast { arg, to, .. } => {
                format!("{}::{}", parenthesised(arg, self.print(arg, names, true)), type_text(*to))
            }
            Expr::And(parts) => format!("({})", parts.iter().map(inner).collect::<Vec<_>>().join(" AND ")),
            Expr::Or(parts) => format!("({})", parts.iter().map(inner).collect::<Vec<_>>().join(" OR ")),
            Expr::Not(arg) => format!("(NOT {})", inner(arg)),
            Expr::IsNull { arg, negated } => {
                wrap(format!("{} IS {}NULL", inner(arg), if *negated { "NOT " } else { "" }))
            }
            Expr::IsTruth { arg, value, negated } => {
                let value = match value {
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                    None => "UNKNOWN",
                };
                wrap(format!("{} IS {}{value}", inner(arg), if *negated { "NOT " } else { "" }))
            }
            Expr::IsDistinct { left, right, negated, .. } => {
                let not = if *negated { "NOT " } else { "" };
                wrap(format!("{} IS {not}DISTINCT FROM {}", inner(left), inner(right)))
            }
            Expr::Case { arms, otherwise, .. } => {
                let arm = |(when, then): &(Expr, Expr)| format!(" WHEN {} THEN {}", inner(when), inner(then));
                format!("CASE{} ELSE {} END", arms.iter().map(arm).collect::<String>(), inner(otherwise))
            }
            Expr::Coalesce { args, .. } => format!("COALESCE({})", list(args)),
            Expr::MinMax { args, greatest, .. } => {
                format!("{}({})", if *greatest { "GREATEST" } else { "LEAST" }, list(args))
            }
            Expr::ArrayCompare { left, op, array, all } => {
                let quantifier = if *all { "ALL" } else { "ANY" };
                let op = symbol(op).unwrap_or(op.name);
                let array = match &**array {
                    Expr::Array { elements, ty } if elements.iter().all(|e| matches!(e, Expr::Const(..))) => {
                        let value = |e: &Expr| match e {
                            Expr::Const(v, t) => plain(v, *t),
                            _ => String::new(),
                        };
                        let all = elements.iter().map(value).collect::<Vec<_>>().join(",");
                        format!("('{{{all}}}'::{})", type_text(*ty))
                    }
                    other => format!("({})", self.print(other, names, false)),
                };
                wrap(format!("{} {op} {quantifier} {array}", inner(left)))
            }
            Expr::Array { elements, .. } => format!("ARRAY[{}]", list(elements)),
            Expr::Row { fields, .. } => format!("ROW({})", list(fields)),
            Expr::Subscript { array, index, .. } => {
                format!("{}[{}]", inner(array), self.print(index, names, false))
            }
            Expr::Field { record, index, .. } => format!("({}).f{}", inner(record), index + 1),
            Expr::Subquery(_) => "(SubPlan)".into(),
            #[allow(unreachable_patterns)]
            _ => "…".into(),
        }
    }
}

/// The operator symbol that a function stands for.
fn symbol(function: &Function) -> Option<&'static str> {
    operator_of(function).map(|o| o.name)
}

fn parenthesised(arg: &Expr, text: String) -> String {
    match arg {
        Expr::Column { .. } => format!("({text})"),
        _ => text,
    }
}

fn type_text(ty: SqlType) -> String {
    format_type(ty)
}

fn plain(value: &Datum, ty: SqlType) -> String {
    if value.is_null() {
        return "NULL".into();
    }
    crate::types::text::output(ty.oid, value, &EvalContext::detached().text())
}

fn constant(value: &Datum, ty: SqlType) -> String {
    let text = plain(value, ty);
    match (value, ty.oid) {
        (Datum::Null, _) => format!("NULL::{}", type_text(ty)),
        (Datum::Bool(_), _) => {
            if text == "t" {
                "true".into()
            } else {
                "false".into()
            }
        }
        (_, Oid::INT4) if !text.starts_with('-') => text,
        (_, Oid::NUMERIC) if !text.starts_with('-') && text.contains('.') => text,
        _ => format!("'{}'::{}", text.replace('\'', "''"), type_text(SqlType::new(ty.oid))),
    }
}

fn quoted_name(name: &str) -> String {
    let simple = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if simple { name.into() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
