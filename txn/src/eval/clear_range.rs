//! `ClearRange`: removes a span with all its history, for dropped tables and indexes.

use meridian_storage::base::Span;
use meridian_storage::engine::Cf;
use meridian_storage::mvcc::key as version_key;

use super::Effects;
use crate::rpc::Response;

pub fn evaluate(span: &Span, out: &mut Effects) -> Response {
    let (lower, upper) = version_key::bounds(span);
    out.batch.delete_range(Cf::Data, &lower, &upper);
    out.batch.delete_range(Cf::Lock, &lower, &upper);
    Response::Done
}
