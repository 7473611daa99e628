//! Window functions: OVER clauses, named windows, frames.

use std::sync::Arc;

use sqlparser::ast;

use super::scope::{Scope, computed};
use super::select::{Clause, Item, SET_PLACEHOLDER, WINDOW_PLACEHOLDER};
use super::sort::{Order, direction};
use super::{Binder, fold};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{FrameBound, FrameUnit, LogicalPlan, SortKey, WindowFrame};
use crate::types::{Oid, SqlType};

/// A window's definition, bound.
#[derive(Clone, Default)]
pub struct WindowDefinition {
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<SortKey>,
    pub frame: Option<WindowFrame>,
}

pub struct NamedWindow {
    name: String,
    definition: WindowDefinition,
}

impl Binder<'_> {
    pub fn bind_named_windows(
        &mut self,
        windows: &[ast::NamedWindowDefinition],
        scope: &Scope<'_>,
    ) -> SqlResult<()> {
        for ast::NamedWindowDefinition(name, expr) in windows {
            let definition = match expr {
                ast::NamedWindowExpr::NamedWindow(other) => self.named_window(other)?,
                ast::NamedWindowExpr::WindowSpec(spec) => self.bind_window_spec(spec, scope)?,
            };
            let name = fold(name).into_owned();
            self.level().named_windows.push(NamedWindow { name, definition });
        }
        Ok(())
    }

    fn named_window(&mut self, name: &ast::Ident) -> SqlResult<WindowDefinition> {
        let folded = fold(name);
        let found =
            self.level().named_windows.iter().find(|w| w.name == folded).map(|w| w.definition.clone());
        found.ok_or_else(|| {
            let message = format!("window \"{folded}\" does not exist");
            self.error_at(state::UNDEFINED_OBJECT, message, name.span.start)
        })
    }

    pub fn bind_over(&mut self, over: &ast::WindowType, scope: &Scope<'_>) -> SqlResult<WindowDefinition> {
        self.count_part()?;
        match over {
            ast::WindowType::NamedWindow(name) => self.named_window(name),
            ast::WindowType::WindowSpec(spec) => self.bind_window_spec(spec, scope),
        }
    }

    fn bind_window_spec(&mut self, spec: &ast::WindowSpec, scope: &Scope<'_>) -> SqlResult<WindowDefinition> {
        let mut definition = match &spec.window_name {
            Some(base) => self.named_window(base)?,
            None => WindowDefinition::default(),
        };
        self.in_clause(Clause::WindowDefinition, |b| {
            for e in &spec.partition_by {
                let bound = b.bind_expr(e, scope)?;
                definition.partition_by.push(b.unknown_to_text(bound)?);
            }
            for o in &spec.order_by {
                let bound = b.bind_expr(&o.expr, scope)?;
                let (descending, nulls_first) = direction(&o.options)?;
                definition.order_by.push(SortKey {
                    expr: b.unknown_to_text(bound)?,
                    descending,
                    nulls_first,
                });
            }
            if let Some(frame) = &spec.window_frame {
                definition.frame = Some(b.bind_frame(frame, &definition.order_by, scope)?);
            }
            Ok(definition)
        })
    }

    fn bind_frame(
        &mut self,
        frame: &ast::WindowFrame,
        order: &[SortKey],
        scope: &Scope<'_>,
    ) -> SqlResult<WindowFrame> {
        let unit = match frame.units {
            ast::WindowFrameUnits::Rows => FrameUnit::Rows,
            ast::WindowFrameUnits::Range => FrameUnit::Range,
            ast::WindowFrameUnits::Groups => FrameUnit::Groups,
        };
        let offset_type = match unit {
            FrameUnit::Rows | FrameUnit::Groups => Oid::INT8,
            FrameUnit::Range => range_offset_type(order.first().map(|k| k.expr.ty().oid)),
        };
        let start = self.bind_bound(&frame.start_bound, offset_type, unit, scope)?;
        let end = match &frame.end_bound {
            Some(bound) => self.bind_bound(bound, offset_type, unit, scope)?,
            None => FrameBound::CurrentRow,
        };
        let invalid = |message| Err(SqlError::new("42P20", message));
        match (&start, &end) {
            (FrameBound::UnboundedFollowing, _) => {
                return invalid("frame start cannot be UNBOUNDED FOLLOWING");
            }
            (_, FrameBound::UnboundedPreceding) => return invalid("frame end cannot be UNBOUNDED PRECEDING"),
            (FrameBound::CurrentRow, FrameBound::Preceding(_)) => {
                return invalid("frame starting from current row cannot have preceding rows");
            }
            (FrameBound::Following(_), FrameBound::Preceding(_) | FrameBound::CurrentRow) => {
                return invalid("frame starting from following row cannot have preceding rows");
            }
            _ => {}
        }
        let offsets =
            [&start, &end].iter().any(|b| matches!(b, FrameBound::Preceding(_) | FrameBound::Following(_)));
        if unit == FrameUnit::Range && offsets && order.len() != 1 {
            return invalid("RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column");
        }
        if unit == FrameUnit::Groups && order.is_empty() {
            return invalid("GROUPS mode requires an ORDER BY clause");
        }
        Ok(WindowFrame { unit, start, end })
    }

    fn bind_bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        offset_type: Oid,
        unit: FrameUnit,
        scope: &Scope<'_>,
    ) -> SqlResult<FrameBound> {
        let mut offset = |e: &ast::Expr| -> SqlResult<Expr> {
            let bound = self.bind_expr(e, scope)?;
            let mut reads_columns = false;
            bound.columns_used(&mut |_| reads_columns = true);
            if reads_columns {
                let clause = if unit == FrameUnit::Rows { "ROWS" } else { "RANGE" };
                return Err(SqlError::new(
                    state::INVALID_COLUMN_REFERENCE,
                    format!("argument of {clause} must not contain variables"),
                ));
            }
            self.coerce_implicitly(bound, SqlType::new(offset_type))
        };
        Ok(match bound {
            ast::WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
            ast::WindowFrameBound::Preceding(None) => FrameBound::UnboundedPreceding,
            ast::WindowFrameBound::Following(None) => FrameBound::UnboundedFollowing,
            ast::WindowFrameBound::Preceding(Some(e)) => FrameBound::Preceding(offset(e)?),
            ast::WindowFrameBound::Following(Some(e)) => FrameBound::Following(offset(e)?),
        })
    }

    /// The window operator over `plan`, whose row is `width` wide; what stands above moves to its output row.
    pub fn add_windows(
        &mut self,
        plan: LogicalPlan,
        width: usize,
        items: &mut [Item],
        order: &mut Order,
    ) -> SqlResult<LogicalPlan> {
        let calls = std::mem::take(&mut self.level().windows);
        if calls.is_empty() {
            return Ok(plan);
        }
        let place = |index: usize| match index {
            i if (WINDOW_PLACEHOLDER..SET_PLACEHOLDER).contains(&i) => width + (i - WINDOW_PLACEHOLDER),
            i => i,
        };
        items.iter_mut().for_each(|item| item.expr.map_columns(&mut { place }));
        order.for_each_expr(|e| e.map_columns(&mut { place }));
        let mut sets = std::mem::take(&mut self.level().sets);
        sets.iter_mut().flat_map(|s| &mut s.args).for_each(|a| a.map_columns(&mut { place }));
        self.level().sets = sets;
        let mut fields = plan.schema().to_vec();
        fields.extend(calls.iter().map(|c| computed(c.function.name, c.ty)));
        Ok(LogicalPlan::Window { input: Box::new(plan), calls, schema: Arc::new(fields) })
    }
}

/// What is added to or taken from a sort key of this type.
fn range_offset_type(key: Option<Oid>) -> Oid {
    match key {
        Some(Oid::DATE | Oid::TIMESTAMP | Oid::TIMESTAMPTZ | Oid::TIME | Oid::TIMETZ | Oid::INTERVAL) => {
            Oid::INTERVAL
        }
        Some(oid @ (Oid::INT2 | Oid::INT4 | Oid::INT8 | Oid::NUMERIC)) => oid,
        Some(Oid::FLOAT4 | Oid::FLOAT8) => Oid::FLOAT8,
        _ => Oid::INT8,
    }
}
