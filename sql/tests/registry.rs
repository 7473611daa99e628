//! The tables say what PostgreSQL's catalog says, wherever it has the same entry; and the binary forms of values are
//! PostgreSQL's, both ways.

use std::collections::BTreeMap;

use meridian_sql::registry::{
    Body, Volatility, all_functions, all_operators, function_by_oid, type_by_name, type_info,
};
use meridian_sql::types::text::{TextContext, input, output};
use meridian_sql::types::{SqlType, binary};

/// Own entries, which PostgreSQL has under other names or not at all.
const OWN_OIDS: std::ops::Range<u32> = 9000..9100;

#[test]
fn functions_are_those_of_pg_proc() {
    let mut lines: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for line in include_str!("pg_proc.txt").lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        lines.insert(words[0].parse().expect("an oid"), words);
    }
    for f in all_functions().iter().filter(|f| !OWN_OIDS.contains(&f.oid.0)) {
        let words = lines.get(&f.oid.0).unwrap_or_else(|| panic!("{f:?} is not in pg_proc"));
        let args: Vec<String> = f.args.iter().map(|a| a.0.to_string()).collect();
        assert_eq!((f.name, args.join(" ")), (words[1], words[8..].join(" ")), "{f:?}");
        // Addresses are text here, since there is no inet type.
        if !f.name.starts_with("inet_") {
            assert_eq!(f.result.0.to_string(), words[2], "result of {f:?}");
        }
        let volatility = match f.volatility {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        };
        assert_eq!(volatility, words[3], "volatility of {f:?}");
        let kind = match f.body {
            Body::Aggregate(_) => "a",
            Body::Window => "w",
            _ => "f",
        };
        assert_eq!(kind, words[5], "kind of {f:?}");
        if kind == "f" {
            assert_eq!(f.strict, words[4] == "t", "strictness of {f:?}");
        }
        assert_eq!(f.is_set_returning(), words[6] == "t", "{f:?}");
        assert_eq!(f.variadic, words[7] == "t", "{f:?}");
    }
}

#[test]
fn no_two_functions_share_an_oid_or_a_signature() {
    let mut oids = BTreeMap::new();
    let mut signatures = BTreeMap::new();
    for f in all_functions() {
        assert!(oids.insert(f.oid, f).is_none(), "{f:?} has another's oid {}", f.oid);
        assert!(signatures.insert((f.name, f.args), f).is_none(), "{f:?} is there twice");
    }
}

#[test]
fn operators_have_functions_over_their_types() {
    for o in all_operators() {
        let f = function_by_oid(o.function).expect("only operators with functions are listed");
        let args: Vec<_> = if o.is_prefix() { vec![o.right] } else { vec![o.left, o.right] };
        assert_eq!(f.args, args, "operator {} {}", o.name, o.oid);
        assert_eq!(f.result, o.result, "operator {} {}", o.name, o.oid);
    }
}

#[test]
fn binary_forms_are_those_of_postgresql() {
    let ctx = TextContext::detached();
    for line in include_str!("binary.txt").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [name, source, text, hex] = fields.as_slice() else { panic!("{line}") };
        let oid = type_by_name(name).unwrap_or_else(|| panic!("type {name}"));
        let value = input(SqlType::new(oid), source, &ctx).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(output(oid, &value, &ctx), *text, "text form of {line}");
        let mut bytes = Vec::new();
        binary::send(oid, &value, &mut bytes).expect("every value has a binary form");
        let given: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(given, *hex, "binary form of {line}");
        let back = binary::receive(SqlType::new(oid), &bytes).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(back, value, "round trip of {line}");
        for cut in 0..bytes.len() {
            // Cut short it is an error or another value, never a panic.
            let _ = binary::receive(SqlType::new(oid), &bytes[..cut]);
        }
    }
}

#[test]
fn types_are_found_by_all_their_spellings() {
    for (spelling, name) in [
        ("INT", "int4"),
        ("character  varying", "varchar"),
        ("\"char\"", "char"),
        ("char", "bpchar"),
        ("timestamp without time zone", "timestamp"),
        ("pg_catalog.int8", "int8"),
        ("double precision", "float8"),
        ("text[][]", "_text"),
        ("numeric[3]", "_numeric"),
        ("_int4", "_int4"),
    ] {
        let oid = type_by_name(spelling).unwrap_or_else(|| panic!("{spelling}"));
        assert_eq!(type_info(oid).expect("a known type").name, name, "{spelling}");
    }
    assert_eq!(type_by_name("nosuch"), None);
}
