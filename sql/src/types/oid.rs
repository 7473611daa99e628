//! Object identifiers, and those of the built-in types.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Oid(pub u32);

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Oid {
    /// No type, no object.
    pub const INVALID: Oid = Oid(0);
    pub const BOOL: Oid = Oid(16);
    pub const BYTEA: Oid = Oid(17);
    /// `"char"`: one byte.
    pub const CHAR: Oid = Oid(18);
    pub const NAME: Oid = Oid(19);
    pub const INT8: Oid = Oid(20);
    pub const INT2: Oid = Oid(21);
    pub const INT2VECTOR: Oid = Oid(22);
    pub const INT4: Oid = Oid(23);
    pub const REGPROC: Oid = Oid(24);
    pub const TEXT: Oid = Oid(25);
    pub const OID: Oid = Oid(26);
    pub const OIDVECTOR: Oid = Oid(30);
    pub const JSON: Oid = Oid(114);
    pub const FLOAT4: Oid = Oid(700);
    pub const FLOAT8: Oid = Oid(701);
    /// The type of a quoted literal before it is resolved.
    pub const UNKNOWN: Oid = Oid(705);
    pub const MONEY: Oid = Oid(790);
    pub const BOOL_ARRAY: Oid = Oid(1000);
    pub const CHAR_ARRAY: Oid = Oid(1002);
    pub const NAME_ARRAY: Oid = Oid(1003);
    pub const INT2_ARRAY: Oid = Oid(1005);
    pub const INT4_ARRAY: Oid = Oid(1007);
    pub const TEXT_ARRAY: Oid = Oid(1009);
    pub const VARCHAR_ARRAY: Oid = Oid(1015);
    pub const INT8_ARRAY: Oid = Oid(1016);
    pub const FLOAT8_ARRAY: Oid = Oid(1022);
    pub const OID_ARRAY: Oid = Oid(1028);
    pub const ACLITEM: Oid = Oid(1033);
    pub const ACLITEM_ARRAY: Oid = Oid(1034);
    pub const BPCHAR: Oid = Oid(1042);
    pub const VARCHAR: Oid = Oid(1043);
    pub const DATE: Oid = Oid(1082);
    pub const TIME: Oid = Oid(1083);
    pub const TIMESTAMP: Oid = Oid(1114);
    pub const TIMESTAMPTZ: Oid = Oid(1184);
    pub const INTERVAL: Oid = Oid(1186);
    pub const NUMERIC_ARRAY: Oid = Oid(1231);
    pub const NUMERIC: Oid = Oid(1700);
    pub const REGCLASS: Oid = Oid(2205);
    pub const REGTYPE: Oid = Oid(2206);
    pub const RECORD: Oid = Oid(2249);
    pub const CSTRING: Oid = Oid(2275);
    pub const ANY: Oid = Oid(2276);
    pub const ANYARRAY: Oid = Oid(2277);
    pub const VOID: Oid = Oid(2278);
    pub const ANYELEMENT: Oid = Oid(2283);
    pub const UUID: Oid = Oid(2950);
    pub const JSONB: Oid = Oid(3802);
    pub const REGNAMESPACE: Oid = Oid(4089);
    pub const REGROLE: Oid = Oid(4096);
    pub const TID: Oid = Oid(27);
    pub const XID: Oid = Oid(28);
    pub const CID: Oid = Oid(29);
    pub const JSON_ARRAY: Oid = Oid(199);
    pub const XID8: Oid = Oid(5069);
    pub const PG_NODE_TREE: Oid = Oid(194);
    pub const BYTEA_ARRAY: Oid = Oid(1001);
    pub const BPCHAR_ARRAY: Oid = Oid(1014);
    pub const FLOAT4_ARRAY: Oid = Oid(1021);
    pub const TIMESTAMP_ARRAY: Oid = Oid(1115);
    pub const DATE_ARRAY: Oid = Oid(1182);
    pub const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);
    pub const TIMETZ: Oid = Oid(1266);
    pub const REGPROCEDURE: Oid = Oid(2202);
    pub const REGOPER: Oid = Oid(2203);
    pub const REGOPERATOR: Oid = Oid(2204);
    pub const TRIGGER: Oid = Oid(2279);
    pub const INTERNAL: Oid = Oid(2281);
    pub const RECORD_ARRAY: Oid = Oid(2287);
    pub const ANYNONARRAY: Oid = Oid(2776);
    pub const UUID_ARRAY: Oid = Oid(2951);
    pub const PG_LSN: Oid = Oid(3220);
    pub const ANYENUM: Oid = Oid(3500);
    pub const JSONB_ARRAY: Oid = Oid(3807);
    pub const ANYCOMPATIBLE: Oid = Oid(5077);
    pub const ANYCOMPATIBLEARRAY: Oid = Oid(5078);
    pub const ANYCOMPATIBLENONARRAY: Oid = Oid(5079);
    /// The first OID that is given to what users create.
    pub const FIRST_USER: Oid = Oid(16384);
}
