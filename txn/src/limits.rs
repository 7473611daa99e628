//! Sizes at which the layer changes its ways: what is kept in memory, what goes into one request.
//!
//! None of them decides whether a result is right, so the simulator chooses tiny ones at random and comes to every "beyond
//! this" within a few rows. The defaults are what production runs with.

#[derive(Clone, Debug)]
pub struct Limits {
    /// A write buffer of this many bytes is spilled into intents, ...
    pub spill_bytes: usize,
    /// ... in commands of about this many bytes.
    pub spill_command_bytes: usize,
    /// Beyond this many spans, what a transaction has read is condensed to at most half as many.
    pub read_spans: usize,
    /// At most so many spans are refreshed by one request.
    pub refreshed_spans: usize,
    /// Beyond so many reads, a commit in one range asks for their refresh before, not with it.
    pub attached_spans: usize,
    /// Nor does it carry more spans than this in all.
    pub attached_locks: usize,
    /// Bytes of one answer to a scan.
    pub scan_block_bytes: u64,
    /// Keys and spans whose last read a leaseholder remembers one by one. Much more than what one transaction may have read:
    /// its own refreshes would push it on for ever.
    pub marked_keys: usize,
    pub marked_spans: usize,
    /// Transactions whose end a leaseholder remembers.
    pub remembered_transactions: usize,
    /// Keys whose last write a leaseholder remembers.
    pub remembered_writes: usize,
    /// Bytes of one command of garbage collection.
    pub collection_bytes: usize,
    /// Rows of one transaction of long work, such as the filling of an index: enough that the round of consensus does not
    /// count, few enough to be tried again.
    pub job_rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            spill_bytes: 8 << 20,
            spill_command_bytes: 1 << 20,
            read_spans: 4096,
            refreshed_spans: 1024,
            attached_spans: 256,
            attached_locks: 2048,
            scan_block_bytes: 128 << 10,
            marked_keys: 256 * 1024,
            marked_spans: 16 * 1024,
            remembered_transactions: 64 * 1024,
            remembered_writes: 32 * 1024,
            collection_bytes: 1 << 20,
            job_rows: 4000,
        }
    }
}
