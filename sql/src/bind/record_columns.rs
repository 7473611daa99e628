//! The columns of set-returning functions that yield rows of several: their OUT parameters in pg_proc.

use crate::registry::Function;
use crate::types::Oid;

/// Names and types of the columns; none for a function that yields one value.
pub fn record_columns(function: &Function) -> &'static [(&'static str, Oid)] {
    match function.name {
        "json_each" => &[("key", Oid::TEXT), ("value", Oid::JSON)],
        "jsonb_each" => &[("key", Oid::TEXT), ("value", Oid::JSONB)],
        "json_each_text" | "jsonb_each_text" => &[("key", Oid::TEXT), ("value", Oid::TEXT)],
        "pg_get_keywords" => &[
            ("word", Oid::TEXT),
            ("catcode", Oid::CHAR),
            ("barelabel", Oid::BOOL),
            ("catdesc", Oid::TEXT),
            ("baredesc", Oid::TEXT),
        ],
        "pg_options_to_table" => &[("option_name", Oid::TEXT), ("option_value", Oid::TEXT)],
        "aclexplode" => &[
            ("grantor", Oid::OID),
            ("grantee", Oid::OID),
            ("privilege_type", Oid::TEXT),
            ("is_grantable", Oid::BOOL),
        ],
        "_pg_expandarray" => &[("x", Oid::INT4), ("n", Oid::INT4)],
        "pg_timezone_names" => &[
            ("name", Oid::TEXT),
            ("abbrev", Oid::TEXT),
            ("utc_offset", Oid::INTERVAL),
            ("is_dst", Oid::BOOL),
        ],
        _ => &[],
    }
}
