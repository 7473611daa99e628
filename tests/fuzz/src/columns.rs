//! Values as SQL keeps them: in keys, in rows, and in the two formats of the protocol.
//!
//! Whatever the bytes: taking them apart never panics. What was encoded decodes to itself, and a key says again what it has
//! said. Keys order as SQL orders values, in every direction.

use meridian_sql::row::{Direction, KeyKind, ValueRef, datum_value, key};
use meridian_sql::types::compare::compare_typed;
use meridian_sql::types::datum::Array;
use meridian_sql::types::{Column, Datum, Interval, Numeric, Oid, SqlType, binary};

use super::choices::Choices;

/// The types that a column may have.
pub const TYPES: [Oid; 22] = [
    Oid::BOOL,
    Oid::INT2,
    Oid::INT4,
    Oid::INT8,
    Oid::FLOAT4,
    Oid::FLOAT8,
    Oid::TEXT,
    Oid::BPCHAR,
    Oid::BYTEA,
    Oid::DATE,
    Oid::TIME,
    Oid::TIMESTAMP,
    Oid::TIMESTAMPTZ,
    Oid::OID,
    Oid::UUID,
    Oid::NUMERIC,
    Oid::INTERVAL,
    Oid::INT4_ARRAY,
    Oid::TEXT_ARRAY,
    Oid::FLOAT8_ARRAY,
    Oid::NUMERIC_ARRAY,
    Oid::BOOL_ARRAY,
];

const DIRECTIONS: [Direction; 4] = [
    Direction::ASC,
    Direction::DESC,
    Direction { descending: false, nulls_first: true },
    Direction { descending: true, nulls_first: false },
];

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let ty = choices.one_of(&TYPES);
    match choices.u8() % 3 {
        0 => order(ty, &mut choices),
        1 => damaged_key(ty, choices.one_of(&DIRECTIONS), choices.all()),
        _ => damaged_value(ty, choices.all()),
    }
}

fn encoded(ty: Oid, direction: Direction, value: &Datum) -> Option<Vec<u8>> {
    let kind = KeyKind::of(ty).expect("a type with an order");
    let mut out = Vec::new();
    key::encode(&mut out, kind, direction, ValueRef::from(value)).ok().map(|()| out)
}

fn order(ty: Oid, choices: &mut Choices<'_>) {
    let (a, b) = (value(ty, choices), value(ty, choices));
    if a.is_null() || b.is_null() {
        return;
    }
    let order = compare_typed(ty, &a, &b);
    for direction in DIRECTIONS {
        let (Some(x), Some(y)) = (encoded(ty, direction, &a), encoded(ty, direction, &b)) else { return };
        let expected = if direction.descending { order.reverse() } else { order };
        assert_eq!(x.cmp(&y), expected, "{ty:?} {direction:?}: {a:?} and {b:?}");
        assert!(order.is_eq() || !y.starts_with(&x), "{ty:?}: {a:?} is the beginning of {b:?}");
        again(ty, direction, &x, &a);
    }
    let mut stored = Vec::new();
    datum_value::encode(&mut stored, ValueRef::from(&a)).expect("a type that can be stored");
    let read = datum_value::decode(ty, &stored).expect("a value that was encoded");
    assert!(same(&read, &a), "{ty:?}: {a:?} is read as {read:?}");
}

/// A key that was encoded ends where it ends, and says what it holds, unless the row's value has to be asked.
fn again(ty: Oid, direction: Direction, encoded_key: &[u8], value: &Datum) {
    let kind = KeyKind::of(ty).expect("a type with an order");
    let followed = [encoded_key, b"rest"].concat();
    let mut rest = &followed[..];
    key::skip(&mut rest, kind, direction).expect("a key that was encoded");
    assert_eq!(rest, b"rest");
    let mut rest = &followed[..];
    let Ok(read) = key::decode(&mut rest, kind, direction) else {
        assert!(kind == KeyKind::Array, "{ty:?}: a key that was encoded cannot be read");
        return;
    };
    assert_eq!(rest, b"rest");
    let lossy = kind.is_lossy(ValueRef::from(value));
    assert!(lossy || same(&read, value), "{ty:?}: {value:?} is read as {read:?}");
}

fn damaged_key(ty: Oid, direction: Direction, raw: &[u8]) {
    let kind = KeyKind::of(ty).expect("a type with an order");
    let (mut skipped, mut decoded, mut appended) = (raw, raw, raw);
    let skip = key::skip(&mut skipped, kind, direction);
    if let Ok(value) = key::decode(&mut decoded, kind, direction) {
        assert!(skip.is_ok(), "{ty:?}: {raw:?} can be decoded and not skipped");
        assert_eq!(skipped, decoded);
        if let Some(encoded) = encoded(ty, direction, &value) {
            again(ty, direction, &encoded, &value);
        }
    }
    let mut column = Column::for_type(ty);
    let _ = key::decode_into(&mut appended, kind, direction, &mut column);
    for to in DIRECTIONS {
        let _ = key::transcode(&mut Vec::new(), raw, direction, to);
    }
}

fn damaged_value(ty: Oid, raw: &[u8]) {
    let mut column = Column::for_type(ty);
    let appended = datum_value::decode_into(ty, raw, &mut column).is_ok();
    if let Ok(value) = datum_value::decode(ty, raw) {
        assert!(appended, "{ty:?}: {raw:?} can be decoded, and not into a column");
        assert!(same(&column.datum(0), &value), "{ty:?}: {:?} and {value:?}", column.datum(0));
        let mut stored = Vec::new();
        if datum_value::encode(&mut stored, ValueRef::from(&value)).is_ok() {
            let read = datum_value::decode(ty, &stored).expect("a value that was encoded");
            assert!(same(&read, &value), "{ty:?}: {value:?} is read as {read:?}");
        }
    }
    if let Ok(value) = binary::receive(SqlType::new(ty), raw) {
        let mut sent = Vec::new();
        binary::send(ty, &value, &mut sent).expect("a value that was received");
        let again = binary::receive(SqlType::new(ty), &sent).expect("a value that was sent");
        assert!(same(&again, &value), "{ty:?}: {value:?} is received as {again:?}");
    }
}

/// Equal, where a NaN equals itself and a zero has a sign.
fn same(a: &Datum, b: &Datum) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

/// A value of the type, or NULL.
pub fn value(ty: Oid, choices: &mut Choices<'_>) -> Datum {
    match ty {
        Oid::BOOL => Datum::Bool(choices.flag()),
        Oid::INT2 => Datum::Int2(choices.u32() as i16),
        Oid::INT4 => Datum::Int4(choices.u32() as i32),
        Oid::INT8 => Datum::Int8(choices.u64() as i64),
        Oid::FLOAT4 => Datum::Float4(f32::from_bits(choices.u32())),
        Oid::FLOAT8 => Datum::Float8(f64::from_bits(choices.u64())),
        Oid::TEXT | Oid::BPCHAR => {
            Datum::text(&String::from_utf8_lossy(choices.some_bytes()).replace('\0', ""))
        }
        Oid::BYTEA => Datum::Bytes(choices.some_bytes().into()),
        Oid::DATE => Datum::Date(choices.u32() as i32),
        Oid::TIME => Datum::Time(choices.u64() as i64),
        Oid::TIMESTAMP | Oid::TIMESTAMPTZ => Datum::Timestamp(choices.u64() as i64),
        Oid::OID => Datum::Oid(choices.u32()),
        Oid::UUID => {
            let mut uuid = [0; 16];
            uuid[..8].copy_from_slice(&choices.u64().to_be_bytes());
            uuid[8..].copy_from_slice(&choices.u64().to_be_bytes());
            Datum::Uuid(uuid)
        }
        Oid::NUMERIC => numeric(choices),
        Oid::INTERVAL => Datum::Interval(Interval {
            months: choices.u32() as i32,
            days: choices.u32() as i32,
            micros: choices.u64() as i64,
        }),
        Oid::INT4_ARRAY => array(Oid::INT4, choices),
        Oid::TEXT_ARRAY => array(Oid::TEXT, choices),
        Oid::FLOAT8_ARRAY => array(Oid::FLOAT8, choices),
        Oid::NUMERIC_ARRAY => array(Oid::NUMERIC, choices),
        Oid::BOOL_ARRAY => array(Oid::BOOL, choices),
        _ => Datum::Null,
    }
}

/// As a client would write it.
fn numeric(choices: &mut Choices<'_>) -> Datum {
    const SIGNS: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "9", "-", ".", "e", "00000000"];
    let text = match choices.u8() {
        0 => "NaN".to_string(),
        1 => "Infinity".to_string(),
        2 => "-Infinity".to_string(),
        n => (0..n % 40).map(|_| choices.one_of(&SIGNS)).collect(),
    };
    Numeric::parse(&text).map_or(Datum::Null, |n| Datum::Numeric(Box::new(n)))
}

/// Of one dimension, or of two.
fn array(element: Oid, choices: &mut Choices<'_>) -> Datum {
    let (outer, inner) = (choices.below(4), choices.below(3) + 1);
    let elements: Vec<Datum> = (0..outer * inner)
        .map(|_| if choices.u8() == 0 { Datum::Null } else { value(element, choices) })
        .collect();
    let mut array = Array::from_elements(element, elements);
    if outer > 0 && choices.flag() {
        array.dims = vec![(outer as i32, i32::from(choices.u8()) - 100), (inner as i32, 1)];
    } else if outer > 0 {
        array.dims[0].1 = i32::from(choices.u8()) - 100;
    }
    Datum::Array(array.into())
}
