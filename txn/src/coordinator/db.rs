//! A node's gateway to all ranges.

use std::sync::Arc;

use meridian_storage::base::{Clock, Key, Runtime};
use meridian_storage::replica::RangeDescriptor;

use super::{Txn, TxnOptions, TxnResult};

/// Cheap to clone.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    runtime: Arc<dyn Runtime>,
}

impl Db {
    pub fn begin(&self, options: TxnOptions) -> Txn {
        Txn::new(self.clone(), options)
    }

    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.inner.runtime
    }

    /// Makes `key` the start of a range.
    pub async fn split_at(&self, _key: Key) -> TxnResult<()> {
        unimplemented!("lands with the router")
    }

    /// All ranges, in key order.
    pub async fn ranges(&self) -> TxnResult<Vec<RangeDescriptor>> {
        unimplemented!("lands with the router")
    }
}
