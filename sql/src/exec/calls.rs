//! Functions that wait - for a sequence, for time: called row by row before the expression around them is computed.

use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::BoxFuture;

use super::{ExecContext, Operator, build, eval, vector};
use crate::error::{SqlError, SqlResult};
use crate::plan::physical::CallsNode;
use crate::registry::AsyncCall;
use crate::types::{Batch, Column, Datum, Oid, hybrid};

pub struct Calls {
    plan: Arc<CallsNode>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
}

impl Calls {
    pub fn new(plan: &Arc<CallsNode>, ctx: &ExecContext) -> Self {
        Calls { input: build(&plan.input, ctx), plan: plan.clone(), ctx: ctx.clone() }
    }

    async fn extend(&mut self, mut batch: Batch) -> SqlResult<Batch> {
        let mut columns: Vec<Column> =
            self.plan.calls.iter().map(|(call, _)| Column::for_type(result_type(*call))).collect();
        for row in 0..batch.rows {
            let mut values = vector::row(&batch, row);
            for ((call, args), column) in self.plan.calls.iter().zip(&mut columns) {
                let args =
                    args.iter().map(|a| eval::value(a, &values, &self.ctx)).collect::<SqlResult<Vec<_>>>()?;
                let value = invoke(*call, &args, &self.ctx).await?;
                column.push(&value);
                values.push(value);
            }
        }
        batch.columns.extend(columns.into_iter().map(Arc::new));
        Ok(batch)
    }
}

/// The type of a call's result.
pub fn result_type(call: AsyncCall) -> Oid {
    match call {
        AsyncCall::NextVal | AsyncCall::SetVal => Oid::INT8,
        AsyncCall::Sleep => Oid::VOID,
        AsyncCall::LogicalTimestamp => Oid::NUMERIC,
    }
}

/// Makes one call. All of these functions are strict.
pub async fn invoke(call: AsyncCall, args: &[Datum], ctx: &ExecContext) -> SqlResult<Datum> {
    let session = &ctx.statement.session;
    match (call, args) {
        (_, args) if args.iter().any(Datum::is_null) => Ok(Datum::Null),
        (AsyncCall::NextVal, [Datum::Oid(sequence)]) => {
            Ok(Datum::Int8(session.next_value(Oid(*sequence)).await?))
        }
        (AsyncCall::SetVal, [Datum::Oid(sequence), Datum::Int8(value), rest @ ..]) => {
            let called = !matches!(rest, [Datum::Bool(false)]);
            session.set_value(Oid(*sequence), *value, called).await?;
            Ok(Datum::Int8(*value))
        }
        (AsyncCall::Sleep, [Datum::Float8(seconds)]) => {
            session.sleep(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)).await;
            Ok(Datum::text(""))
        }
        (AsyncCall::LogicalTimestamp, []) => {
            Ok(Datum::Numeric(Box::new(hybrid::to_numeric(ctx.statement.tell_time()))))
        }
        _ => Err(SqlError::internal(format!("{call:?} of {args:?}"))),
    }
}

impl Operator for Calls {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            match self.input.next().await? {
                Some(batch) => self.extend(batch).await.map(Some),
                None => Ok(None),
            }
        })
    }
}
