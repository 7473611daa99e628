//! Computes expressions over batches and single rows.

/// What functions may ask of their surroundings: settings, the statement's time, sequences, catalog names.
pub struct EvalContext<'a> {
    /// Transaction start (now()) and statement start, microseconds since 2000-01-01 UTC.
    pub transaction_time: i64,
    pub statement_time: i64,
    pub params: &'a [crate::types::Datum],
}
