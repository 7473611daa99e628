//! A scan, block by block.

use meridian_storage::base::Span;

use super::{ScanOptions, Txn, TxnResult};
use crate::rpc::KvBlock;

/// Rows of a span in order: what is stored, merged with what the transaction itself has written.
pub struct Scanner {
    _txn: Txn,
    _span: Span,
    _options: ScanOptions,
}

impl Scanner {
    pub(super) fn new(txn: Txn, span: Span, options: ScanOptions) -> Self {
        Scanner { _txn: txn, _span: span, _options: options }
    }

    /// The next rows, at least one; `None` at the end.
    pub async fn next_block(&mut self) -> TxnResult<Option<KvBlock>> {
        unimplemented!("lands with the router")
    }
}
