//! The order and the exactness of encoded rows, against models; and the frozen bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use meridian_txn::rpc::KvBlockBuilder;
use proptest::prelude::*;

use super::key::{self, Direction, KeyKind};
use super::{PrimaryKeyFinder, RowBuf, RowDecoder, TableCodec, ValueRef};
use crate::catalog::*;
use crate::types::datum::Array;
use crate::types::numeric::{Numeric, Sign};
use crate::types::{Datum, Interval, Oid, SqlType};

const NULLS_FIRST: Direction = Direction { descending: false, nulls_first: true };

fn encoded(kind: KeyKind, direction: Direction, value: &Datum) -> Vec<u8> {
    let mut out = Vec::new();
    key::encode(&mut out, kind, direction, ValueRef::from(value)).unwrap();
    out
}

/// SQL's order of two values of one type, NULLs last.
fn sql_order(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Null, Datum::Null) => Ordering::Equal,
        (Datum::Null, _) => Ordering::Greater,
        (_, Datum::Null) => Ordering::Less,
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int2(a), Datum::Int2(b)) => a.cmp(b),
        (Datum::Int4(a), Datum::Int4(b)) | (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Int8(a), Datum::Int8(b)) => a.cmp(b),
        (Datum::Float8(a), Datum::Float8(b)) => match (a.is_nan(), b.is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => a.partial_cmp(b).unwrap(),
        },
        (Datum::Text(a), Datum::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Datum::Bytes(a), Datum::Bytes(b)) => a.cmp(b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Numeric(a), Datum::Numeric(b)) => numeric_order(a, b),
        (Datum::Interval(a), Datum::Interval(b)) => span(a).cmp(&span(b)),
        (Datum::Array(a), Datum::Array(b)) => {
            for (x, y) in a.elements.iter().zip(&b.elements) {
                let order = sql_order(x, y);
                if order.is_ne() {
                    return order;
                }
            }
            a.elements.len().cmp(&b.elements.len()).then_with(|| a.dims.cmp(&b.dims))
        }
        _ => panic!("{a:?} and {b:?} are of different types"),
    }
}

fn span(i: &Interval) -> i128 {
    (i128::from(i.months) * 30 + i128::from(i.days)) * 86_400_000_000 + i128::from(i.micros)
}

fn numeric_order(a: &Numeric, b: &Numeric) -> Ordering {
    let class = |n: &Numeric| match n.sign {
        Sign::NegativeInfinity => 0,
        Sign::Infinity => 2,
        Sign::NaN => 3,
        _ => 1,
    };
    // Weights in the tests are within -3..=3: scale everything to 10000^-8.
    let fixed = |n: &Numeric| -> i128 {
        let sum: i128 = n
            .digits
            .iter()
            .enumerate()
            .map(|(i, d)| i128::from(*d) * 10_000i128.pow((i32::from(n.weight) - i as i32 + 5) as u32))
            .sum();
        if n.sign == Sign::Negative { -sum } else { sum }
    };
    class(a)
        .cmp(&class(b))
        .then_with(|| if class(a) == 1 { fixed(a).cmp(&fixed(b)) } else { Ordering::Equal })
}

fn numerics() -> impl Strategy<Value = Datum> {
    let finite = (any::<bool>(), -2i16..=2, prop::collection::vec(0i16..10_000, 0..3), 0u16..20).prop_map(
        |(negative, mut weight, mut digits, scale)| {
            while digits.last() == Some(&0) {
                digits.pop();
            }
            while digits.first() == Some(&0) {
                digits.remove(0);
                weight -= 1;
            }
            if digits.is_empty() {
                weight = 0;
            }
            let sign = if negative && !digits.is_empty() { Sign::Negative } else { Sign::Positive };
            Numeric { sign, weight, scale, digits: digits.into() }
        },
    );
    let special = prop::sample::select(vec![Sign::NaN, Sign::Infinity, Sign::NegativeInfinity])
        .prop_map(|sign| Numeric { sign, weight: 0, scale: 0, digits: Default::default() });
    prop_oneof![9 => finite, 1 => special].prop_map(|n| Datum::Numeric(Box::new(n)))
}

fn texts() -> impl Strategy<Value = Datum> {
    "[ -\u{7f}a-cü]{0,4}".prop_map(|s| Datum::text(&s))
}

fn floats() -> impl Strategy<Value = Datum> {
    let some =
        prop::sample::select(vec![0.0, -0.0, 1.5, -1.5, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE]);
    prop_oneof![some, any::<f64>().prop_filter("NaN is not itself", |v| !v.is_nan())].prop_map(Datum::Float8)
}

fn intervals() -> impl Strategy<Value = Datum> {
    let micros = prop_oneof![Just(0), Just(86_400_000_000), any::<i64>()];
    let small = prop_oneof![Just(0), -40i32..40, any::<i32>()];
    (small.clone(), small, micros)
        .prop_map(|(months, days, micros)| Datum::Interval(Interval { months, days, micros }))
}

fn arrays() -> impl Strategy<Value = Datum> {
    prop::collection::vec(prop_oneof![1 => Just(Datum::Null), 4 => (-2i32..3).prop_map(Datum::Int4)], 0..4)
        .prop_map(|elements| {
            let dims = if elements.is_empty() { vec![] } else { vec![(elements.len() as i32, 1)] };
            Datum::Array(Arc::new(Array { element: Oid::INT4, dims, elements }))
        })
}

/// Two or more values of one type, with the type.
fn same_type() -> impl Strategy<Value = (Oid, Vec<Datum>)> {
    fn of<S: Strategy<Value = Datum> + 'static>(ty: Oid, values: S) -> BoxedStrategy<(Oid, Vec<Datum>)> {
        let nullable = prop_oneof![1 => Just(Datum::Null), 9 => values];
        prop::collection::vec(nullable, 2..6).prop_map(move |v| (ty, v)).boxed()
    }
    prop_oneof![
        of(Oid::BOOL, any::<bool>().prop_map(Datum::Bool)),
        of(Oid::INT2, any::<i16>().prop_map(Datum::Int2)),
        of(Oid::INT4, any::<i32>().prop_map(Datum::Int4)),
        of(Oid::INT8, any::<i64>().prop_map(Datum::Int8)),
        of(Oid::DATE, any::<i32>().prop_map(Datum::Date)),
        of(Oid::FLOAT8, floats()),
        of(Oid::TEXT, texts()),
        of(Oid::BYTEA, prop::collection::vec(0u8..3, 0..4).prop_map(|v| Datum::Bytes(v.into()))),
        of(Oid::UUID, any::<[u8; 16]>().prop_map(Datum::Uuid)),
        of(Oid::NUMERIC, numerics()),
        of(Oid::INTERVAL, intervals()),
        of(Oid::INT4_ARRAY, arrays()),
    ]
}

fn column(id: u32, ty: Oid) -> ColumnDescriptor {
    ColumnDescriptor {
        id: ColumnId(id),
        name: format!("c{id}"),
        ty: SqlType::new(ty),
        not_null: false,
        default: None,
        owned_sequence: None,
        identity: None,
        hidden: false,
        state: ElementState::Public,
        missing_value: None,
    }
}

fn index(id: u32, key: &[(u32, Direction)], unique: bool, include: &[u32]) -> IndexDescriptor {
    IndexDescriptor {
        id: IndexId(id),
        name: format!("i{id}"),
        oid: Oid(20_000 + id),
        unique,
        constraint: false,
        is_primary_key: id == 1,
        key: key
            .iter()
            .map(|(c, d)| IndexColumn {
                column: ColumnId(*c),
                descending: d.descending,
                nulls_first: d.nulls_first,
            })
            .collect(),
        include: include.iter().map(|c| ColumnId(*c)).collect(),
        predicate: None,
        state: ElementState::Public,
    }
}

/// Columns 1.. of these types; the primary key is columns 2 and 1 (descending); the given secondary indexes.
fn table(types: &[Oid], indexes: Vec<IndexDescriptor>) -> TableDescriptor {
    TableDescriptor {
        id: TableId(16_400),
        database: DatabaseId(5),
        schema: SchemaId(2200),
        name: "t".into(),
        version: 1,
        kind: TableKind::Table,
        columns: types.iter().enumerate().map(|(i, ty)| column(i as u32 + 1, *ty)).collect(),
        next_column: types.len() as u32 + 1,
        primary: index(1, &[(2, Direction::ASC), (1, Direction::DESC)], true, &[]),
        indexes,
        next_index: 10,
        checks: vec![],
        foreign_keys: vec![],
        next_constraint: 1,
    }
}

/// Writes the row into every index, reads all its columns back from each that has them, and finds the row again
/// from each secondary entry.
fn round_trip(table: &TableDescriptor, row: &Vec<Datum>) {
    let codec = TableCodec::new(table).unwrap();
    let mut buf = RowBuf::default();
    let all: Vec<ColumnId> = table.columns.iter().map(|c| c.id).collect();
    let primary_key = codec.primary.encode_key(row).unwrap();
    let mut block = KvBlockBuilder::new();
    block.push(&primary_key, &codec.primary.encode_value(row, &mut buf).unwrap());
    let batch = RowDecoder::primary(table, &all).unwrap().decode_block(&block.build()).unwrap();
    assert_eq!(batch.columns.iter().map(|c| c.datum(0)).collect::<Vec<_>>(), *row);
    for (index, (encoder, _)) in table.indexes.iter().zip(&codec.secondary) {
        let (key, value) = (encoder.encode_key(row).unwrap(), encoder.encode_value(row, &mut buf).unwrap());
        let finder = PrimaryKeyFinder::new(table, index).unwrap();
        assert_eq!(finder.primary_key(&key, &value).unwrap(), primary_key);
        let covered: Vec<ColumnId> =
            all.iter().copied().filter(|c| super::covers(table, index, *c)).collect();
        let decoder = RowDecoder::secondary(table, index, &covered).unwrap();
        let mut columns = decoder.columns();
        decoder.decode_row(&key, &value, &mut columns).unwrap();
        for (column, id) in columns.iter().zip(&covered) {
            assert_eq!(column.datum(0), row[id.0 as usize - 1]);
        }
    }
}

proptest! {
    #[test]
    fn keys_order_as_sql_orders_values((ty, values) in same_type()) {
        let kind = KeyKind::of(ty).unwrap();
        for a in &values {
            for b in &values {
                let order = sql_order(a, b);
                prop_assert_eq!(encoded(kind, Direction::ASC, a).cmp(&encoded(kind, Direction::ASC, b)), order);
                let descending = encoded(kind, Direction::DESC, a).cmp(&encoded(kind, Direction::DESC, b));
                prop_assert_eq!(descending, order.reverse());
                if !a.is_null() && !b.is_null() {
                    let nulls_first = encoded(kind, NULLS_FIRST, a).cmp(&encoded(kind, NULLS_FIRST, b));
                    prop_assert_eq!(nulls_first, order);
                }
            }
        }
    }

    #[test]
    fn skipping_a_key_column_stops_at_its_end((ty, values) in same_type(), descending: bool) {
        let kind = KeyKind::of(ty).unwrap();
        let direction = if descending { Direction::DESC } else { Direction::ASC };
        for value in &values {
            let mut key = encoded(kind, direction, value);
            key.extend_from_slice(b"rest");
            let mut input = &key[..];
            key::skip(&mut input, kind, direction).unwrap();
            prop_assert_eq!(input, b"rest");
            if !matches!(value, Datum::Array(_)) {
                let mut input = &key[..];
                let decoded = key::decode(&mut input, kind, direction).unwrap();
                prop_assert_eq!(input, b"rest");
                let lossy = kind.is_lossy(ValueRef::from(value));
                prop_assert_eq!(decoded == *value && !is_negative_zero(value), !lossy, "{:?} {:?}", decoded, value);
            }
        }
    }

    #[test]
    fn rows_read_back_exactly((a, xs) in same_type(), (b, ys) in same_type(), (c, zs) in same_type()) {
        let table = table(&[a, b, c, Oid::INT8], vec![
            index(2, &[(3, Direction::DESC)], false, &[4]),
            index(3, &[(3, Direction::ASC), (4, Direction::ASC)], true, &[]),
            index(4, &[(1, Direction::ASC)], true, &[3]),
        ]);
        for (x, y) in xs.iter().zip(&ys).filter(|(x, y)| !x.is_null() && !y.is_null()) {
            for z in &zs {
                round_trip(&table, &vec![x.clone(), y.clone(), z.clone(), Datum::Int8(7)]);
                round_trip(&table, &vec![x.clone(), y.clone(), z.clone(), Datum::Null]);
            }
        }
    }
}

fn is_negative_zero(value: &Datum) -> bool {
    matches!(value, Datum::Float8(v) if *v == 0.0 && v.is_sign_negative())
}

fn numeric(sign: Sign, weight: i16, scale: u16, digits: &[i16]) -> Datum {
    Datum::Numeric(Box::new(Numeric { sign, weight, scale, digits: digits.to_vec().into() }))
}

/// Bytes that are on disk: a change here needs a migration.
#[test]
fn frozen_keys() {
    let cases: &[(Oid, Direction, Datum, &str)] = &[
        (Oid::BOOL, Direction::ASC, Datum::Bool(true), "0201"),
        (Oid::INT2, Direction::ASC, Datum::Int2(-2), "027ffe"),
        (Oid::INT4, Direction::ASC, Datum::Int4(1), "0280000001"),
        (Oid::INT4, Direction::DESC, Datum::Int4(1), "027ffffffe"),
        (Oid::INT8, Direction::ASC, Datum::Int8(-1), "027fffffffffffffff"),
        (Oid::DATE, Direction::ASC, Datum::Date(1), "0280000001"),
        (Oid::TIMESTAMP, Direction::ASC, Datum::Timestamp(256), "028000000000000100"),
        (Oid::FLOAT8, Direction::ASC, Datum::Float8(1.0), "02bff0000000000000"),
        (Oid::FLOAT8, Direction::ASC, Datum::Float8(-1.0), "02400fffffffffffff"),
        (Oid::TEXT, Direction::ASC, Datum::text("ab"), "02616200"),
        (Oid::TEXT, Direction::DESC, Datum::text("ab"), "029e9dff"),
        (Oid::BPCHAR, Direction::ASC, Datum::text("ab  "), "02616200"),
        (Oid::BYTEA, Direction::ASC, Datum::Bytes([1u8, 0, 2].as_slice().into()), "020100ff020001"),
        (Oid::OID, Direction::ASC, Datum::Oid(16384), "0200004000"),
        (Oid::NUMERIC, Direction::ASC, numeric(Sign::Positive, 0, 2, &[1, 5000]), "02038000000213890000"),
        (Oid::NUMERIC, Direction::ASC, numeric(Sign::Negative, 0, 0, &[1]), "02017ffffffdffff"),
        (Oid::NUMERIC, Direction::ASC, numeric(Sign::NaN, 0, 0, &[]), "0205"),
        (
            Oid::INTERVAL,
            Direction::ASC,
            Datum::Interval(Interval { months: 0, days: 0, micros: 5 }),
            "0280000000000000000000000000000005",
        ),
        (Oid::INT4, Direction::ASC, Datum::Null, "03"),
        (Oid::INT4, Direction::DESC, Datum::Null, "01"),
    ];
    for (ty, direction, value, expected) in cases {
        assert_eq!(hex(&encoded(KeyKind::of(*ty).unwrap(), *direction, value)), *expected, "{value:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn frozen_rows() {
    let mut table = table(
        &[Oid::INT4, Oid::INT4, Oid::TEXT, Oid::NUMERIC, Oid::INT8],
        vec![index(2, &[(3, Direction::ASC)], true, &[]), index(3, &[(3, Direction::ASC)], false, &[5])],
    );
    table.columns[4].missing_value = Some(Arc::from([5u8]));
    let row = vec![
        Datum::Int4(1),
        Datum::Int4(2),
        Datum::text("ab"),
        numeric(Sign::Positive, 0, 2, &[1, 5000]),
        Datum::Int8(300),
    ];
    let codec = TableCodec::new(&table).unwrap();
    let mut buf = RowBuf::default();
    assert_eq!(
        hex(&codec.primary.encode_key(&row).unwrap()),
        "10000040100000000102800000020280000001".replace("0280000001", "027ffffffe")
    );
    assert_eq!(
        hex(&codec.primary.encode_value(&row, &mut buf).unwrap()),
        "10030003040502 0a0c 6162 02000000 0100 8813 2c01".replace(' ', "")
    );
    let unique = &codec.secondary[0].0;
    assert_eq!(hex(&unique.encode_key(&row).unwrap()), "10000040100000000202616200");
    assert_eq!(hex(&unique.encode_value(&row, &mut buf).unwrap()), "0a0280000002027ffffffe00");
    let plain = &codec.secondary[1].0;
    assert_eq!(hex(&plain.encode_key(&row).unwrap()), "100000401000000003026162000280000002027ffffffe");
    assert_eq!(hex(&plain.encode_value(&row, &mut buf).unwrap()), "10010005022c01");
    // NULL where absence means 5 is said.
    let mut with_null = row;
    with_null[4] = Datum::Null;
    with_null[3] = Datum::Null;
    assert_eq!(hex(&codec.primary.encode_value(&with_null, &mut buf).unwrap()), "1001010305026162");
    round_trip(&table, &with_null);
}

#[test]
fn absent_columns_read_as_their_missing_value() {
    let old = table(&[Oid::INT4, Oid::INT4, Oid::TEXT], vec![]);
    let row = vec![Datum::Int4(1), Datum::Int4(2), Datum::text("x")];
    let codec = TableCodec::new(&old).unwrap();
    let key = codec.primary.encode_key(&row).unwrap();
    let value = codec.primary.encode_value(&row, &mut RowBuf::default()).unwrap();
    let mut new = old.clone();
    new.columns.push(column(4, Oid::INT8));
    new.columns.push(ColumnDescriptor { missing_value: Some(Arc::from([7u8])), ..column(5, Oid::INT4) });
    let decoder = RowDecoder::primary(&new, &[ColumnId(5), ColumnId(4), ColumnId(3)]).unwrap();
    let mut columns = decoder.columns();
    decoder.decode_row(&key, &value, &mut columns).unwrap();
    let read: Vec<Datum> = columns.iter().map(|c| c.datum(0)).collect();
    assert_eq!(read, [Datum::Int4(7), Datum::Null, Datum::text("x")]);
}

#[test]
fn wide_ids_and_long_values() {
    let mut table = table(&[Oid::INT4, Oid::INT4, Oid::TEXT, Oid::TEXT], vec![]);
    table.columns[3].id = ColumnId(70_000);
    for length in [0usize, 200, 300, 70_000] {
        let row = vec![Datum::Int4(1), Datum::Int4(2), Datum::text(&"x".repeat(length)), Datum::text("y")];
        round_trip(&table, &row);
    }
}

#[test]
fn widening_an_integer_column_needs_no_rewrite() {
    let old = table(&[Oid::INT4, Oid::INT4, Oid::INT2], vec![]);
    let row = vec![Datum::Int4(1), Datum::Int4(2), Datum::Int2(-300)];
    let codec = TableCodec::new(&old).unwrap();
    let key = codec.primary.encode_key(&row).unwrap();
    let value = codec.primary.encode_value(&row, &mut RowBuf::default()).unwrap();
    let new = table(&[Oid::INT4, Oid::INT4, Oid::INT8], vec![]);
    let decoder = RowDecoder::primary(&new, &[ColumnId(3)]).unwrap();
    let mut columns = decoder.columns();
    decoder.decode_row(&key, &value, &mut columns).unwrap();
    assert_eq!(columns[0].datum(0), Datum::Int8(-300));
}

#[test]
fn damaged_rows_are_refused_not_misread() {
    let table = table(&[Oid::INT4, Oid::INT4, Oid::TEXT], vec![]);
    let row = vec![Datum::Int4(1), Datum::Int4(2), Datum::text("hello")];
    let codec = TableCodec::new(&table).unwrap();
    let key = codec.primary.encode_key(&row).unwrap();
    let value = codec.primary.encode_value(&row, &mut RowBuf::default()).unwrap();
    let decoder = RowDecoder::primary(&table, &[ColumnId(1), ColumnId(3)]).unwrap();
    for cut in 0..value.len() {
        assert!(decoder.decode_row(&key, &value[..cut], &mut decoder.columns()).is_err(), "cut at {cut}");
    }
    for cut in 0..key.len() {
        assert!(decoder.decode_row(&key[..cut], &value, &mut decoder.columns()).is_err(), "cut at {cut}");
    }
}
