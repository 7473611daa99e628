//! Set-returning functions in a select list: each input row becomes as many rows as the longest of them gives; the
//! others are filled with NULLs, plain expressions are repeated.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::function_scan::set_rows;
use super::{ExecContext, Operator, build, eval, vector};
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::plan::physical::ProjectNode;
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Datum, Oid};

pub struct ProjectSet {
    plan: Arc<ProjectNode>,
    types: Vec<Oid>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
    current: Option<(Batch, usize)>,
}

/// What one expression gives for one input row.
enum Values {
    One(Datum),
    Set(Vec<Datum>),
}

impl ProjectSet {
    pub fn new(plan: &Arc<ProjectNode>, types: Vec<Oid>, ctx: &ExecContext) -> Self {
        let input = build(&plan.input, ctx);
        ProjectSet { plan: plan.clone(), types, input, ctx: ctx.clone(), current: None }
    }

    fn expand(&self, row: &[Datum], out: &mut Vec<Vec<Datum>>) -> SqlResult<()> {
        let mut values = Vec::with_capacity(self.plan.exprs.len());
        let mut count = 0;
        for e in &self.plan.exprs {
            match e {
                Expr::Call { function, args, ty } if function.is_set_returning() => {
                    let given =
                        args.iter().map(|a| eval::value(a, row, &self.ctx)).collect::<SqlResult<Vec<_>>>()?;
                    let rows = set_rows(function, args, &given, *ty, &self.ctx)?;
                    count = count.max(rows.len());
                    values.push(Values::Set(rows.into_iter().map(|r| one(r, *ty)).collect()));
                }
                other => values.push(Values::One(eval::value(other, row, &self.ctx)?)),
            }
        }
        for i in 0..count {
            let value = |v: &Values| match v {
                Values::One(value) => value.clone(),
                Values::Set(rows) => rows.get(i).cloned().unwrap_or(Datum::Null),
            };
            out.push(values.iter().map(value).collect());
        }
        Ok(())
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        let mut out = Vec::new();
        while out.len() < BATCH_ROWS {
            self.ctx.check_cancel()?;
            match &mut self.current {
                None => match self.input.next().await? {
                    Some(batch) => self.current = Some((batch, 0)),
                    None => break,
                },
                Some((batch, at)) if *at == batch.rows => self.current = None,
                Some((batch, at)) => {
                    let row = vector::row(batch, *at);
                    *at += 1;
                    self.expand(&row, &mut out)?;
                }
            }
        }
        Ok((!out.is_empty()).then(|| vector::from_rows(&out, &self.types)))
    }
}

/// A row of several columns is one record here.
fn one(mut row: Vec<Datum>, ty: crate::types::SqlType) -> Datum {
    if row.len() == 1 && ty.oid != Oid::RECORD {
        return row.swap_remove(0);
    }
    let types = vec![Oid::TEXT; row.len()];
    Datum::Record(Arc::new(crate::types::datum::Record { types, fields: row }))
}

impl Operator for ProjectSet {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
