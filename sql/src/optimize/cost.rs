//! What things cost, in PostgreSQL's unit so that the figures mean something to its users.
//!
//! A stored row costs little when it is the next one of a scan, and much more when it is asked for by its key: that
//! is a search of its own, perhaps on another node. Many keys asked for at once share the trip.

/// A row that a scan passes over.
pub const SCAN_ROW: f64 = 0.012;
/// An entry of an index.
pub const ENTRY: f64 = 0.008;
/// Beginning a scan.
pub const SEEK: f64 = 0.15;
/// A request to a range, whatever it asks.
pub const REQUEST: f64 = 0.2;
/// A row fetched by its key as one of many.
pub const FETCH: f64 = 0.05;
/// Handing a row from operator to operator.
pub const ROW: f64 = 0.005;
/// One operator or function call.
pub const CALL: f64 = 0.0025;

/// Sorting `rows` rows of which only the first `wanted` are needed.
pub fn sort(rows: f64, wanted: f64) -> f64 {
    let rows = rows.max(2.0);
    2.0 * CALL * rows * wanted.clamp(2.0, rows).log2()
}
