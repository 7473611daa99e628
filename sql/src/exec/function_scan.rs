//! Functions in FROM: each is called once; several stand side by side, the shorter ones filled with NULLs.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::calls::invoke;
use super::{ExecContext, Operator, eval, vector};
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::plan::physical::FunctionScanNode;
use crate::registry::{Body, CallTypes, Function};
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Datum, Oid, SqlType};

pub struct FunctionScan {
    plan: Arc<FunctionScanNode>,
    types: Vec<Oid>,
    ctx: ExecContext,
    rows: Option<Vec<Vec<Datum>>>,
    done: usize,
}

impl FunctionScan {
    pub fn new(plan: &Arc<FunctionScanNode>, types: Vec<Oid>, ctx: &ExecContext) -> Self {
        FunctionScan { plan: plan.clone(), types, ctx: ctx.clone(), rows: None, done: 0 }
    }

    async fn call_all(&self) -> SqlResult<Vec<Vec<Datum>>> {
        let mut results = Vec::new();
        let mut left = self.types.len() - self.plan.ordinality as usize;
        let calls = self.plan.calls.len();
        for (n, (function, args)) in self.plan.calls.iter().enumerate() {
            let rows = call(
                function,
                args,
                self.types[self.types.len() - self.plan.ordinality as usize - left],
                &self.ctx,
            )
            .await?;
            // How wide a function's rows are is known from them; without rows, the last takes what is left.
            let width = rows.first().map_or(if n + 1 == calls { left } else { 1 }, Vec::len);
            left -= width.min(left);
            results.push((rows, width));
        }
        let count = results.iter().map(|(rows, _)| rows.len()).max().unwrap_or(0);
        let mut out = Vec::with_capacity(count);
        for i in 0..count {
            let mut row = Vec::with_capacity(self.types.len());
            for (rows, width) in &results {
                match rows.get(i) {
                    Some(values) => row.extend(values.iter().cloned()),
                    None => row.extend(std::iter::repeat_n(Datum::Null, *width)),
                }
            }
            if self.plan.ordinality {
                row.push(Datum::Int8(i as i64 + 1));
            }
            out.push(row);
        }
        Ok(out)
    }
}

async fn call(
    function: &'static Function,
    args: &[Expr],
    result: Oid,
    ctx: &ExecContext,
) -> SqlResult<Vec<Vec<Datum>>> {
    let values = args.iter().map(|a| eval::constant(a, ctx)).collect::<SqlResult<Vec<_>>>()?;
    match function.body {
        Body::Set(_) => set_rows(function, args, &values, SqlType::new(result), ctx),
        Body::Async(call) => Ok(vec![vec![invoke(call, &values, ctx).await?]]),
        Body::Aggregate(_) | Body::Window => Err(SqlError::internal("an aggregate in FROM")),
        _ => {
            let ty = SqlType::new(result);
            let call = Expr::Call { function, args: args.to_vec(), ty };
            Ok(vec![vec![eval::constant(&call, ctx)?]])
        }
    }
}

/// The rows of one call of a set-returning function.
pub fn set_rows(
    function: &Function,
    args: &[Expr],
    values: &[Datum],
    result: SqlType,
    ctx: &ExecContext,
) -> SqlResult<Vec<Vec<Datum>>> {
    let Body::Set(body) = function.body else {
        return Err(SqlError::internal("a function that does not return a set"));
    };
    if function.strict && values.iter().any(Datum::is_null) {
        return Ok(Vec::new());
    }
    let types: Vec<SqlType> = args.iter().map(Expr::ty).collect();
    body(&ctx.eval(), &CallTypes { args: &types, result }, values)
}

impl Operator for FunctionScan {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            if self.rows.is_none() {
                self.rows = Some(self.call_all().await?);
            }
            self.ctx.check_cancel()?;
            let rows = self.rows.as_deref().unwrap_or_default();
            let rows = &rows[self.done..];
            let rows = &rows[..rows.len().min(BATCH_ROWS)];
            self.done += rows.len();
            Ok((!rows.is_empty()).then(|| vector::from_rows(rows, &self.types)))
        })
    }
}
