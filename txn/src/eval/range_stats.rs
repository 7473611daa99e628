//! `RangeStats`: how large the range is. The participant adds how busy it is.

use meridian_storage::engine::Cf;
use meridian_storage::mvcc::key as version_key;

use super::{Context, Evaluated};
use crate::rpc::Response;
use crate::rpc::response::RangeStats;

pub fn evaluate(cx: &Context<'_>) -> Evaluated<Response> {
    let (lower, upper) = version_key::bounds(&cx.descriptor.span());
    let bytes = cx.engine.approximate_size(Cf::Data, &lower, &upper)?;
    let stats = RangeStats { bytes, ..RangeStats::default() };
    Ok(Response::Stats { descriptor: cx.descriptor.clone(), stats })
}
