//! `=`, `<>`, `<`, `<=`, `>`, `>=` over all types.
//!
//! One body per operator serves all types, since [`compare`] works by representation; only char(n), which ignores
//! trailing blanks, and comparisons between date and timestamps, which convert, have their own. The vector forms
//! have a loop for each pair of representations that is worth one.

use std::cmp::Ordering;

use crate::error::SqlResult;
use crate::registry::{CallTypes, EvalContext, Function, Operand};
use crate::types::compare::{compare, compare_floats};
use crate::types::{Bitmap, Column, ColumnData, Datum, Oid, datetime};

macro_rules! comparison {
    ($row:ident, $vector:ident, $bpchar:ident, $mixed:ident, $test:expr) => {
        fn $row(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            let test: fn(Ordering) -> bool = $test;
            Ok(Datum::Bool(test(compare(&args[0], &args[1]))))
        }

        fn $vector(_: &EvalContext<'_>, args: &[Operand<'_>], rows: usize) -> SqlResult<Column> {
            Ok(compare_columns(&args[0], &args[1], rows, $test))
        }

        fn $bpchar(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
            let test: fn(Ordering) -> bool = $test;
            Ok(Datum::Bool(test(crate::types::compare::compare_typed(Oid::BPCHAR, &args[0], &args[1]))))
        }

        fn $mixed(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
            let test: fn(Ordering) -> bool = $test;
            Ok(Datum::Bool(test(compare_dates(ctx, types, args))))
        }
    };
}

comparison!(eq, vector_eq, bpchar_eq, mixed_eq, |o| o == Ordering::Equal);
comparison!(ne, vector_ne, bpchar_ne, mixed_ne, |o| o != Ordering::Equal);
comparison!(lt, vector_lt, bpchar_lt, mixed_lt, |o| o == Ordering::Less);
comparison!(le, vector_le, bpchar_le, mixed_le, |o| o != Ordering::Greater);
comparison!(gt, vector_gt, bpchar_gt, mixed_gt, |o| o == Ordering::Greater);
comparison!(ge, vector_ge, bpchar_ge, mixed_ge, |o| o != Ordering::Less);

/// Whether an entry is one of this file: total, for all values.
pub fn is_comparison(function: &Function) -> bool {
    FUNCTIONS.as_ptr_range().contains(&std::ptr::from_ref(function))
}

/// A date against a timestamp of either kind, or timestamps of both: where one is a timestamptz, the other is local
/// time in the session's zone.
fn compare_dates(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> Ordering {
    let zoned = types.args.iter().any(|t| t.oid == Oid::TIMESTAMPTZ);
    let instant = |i: usize| {
        let local = match &args[i] {
            Datum::Date(days) => datetime::date_to_timestamp_saturating(*days),
            Datum::Timestamp(t) => *t,
            other => unreachable!("a date or timestamp is {other:?}"),
        };
        let convert = zoned && types.args[i].oid != Oid::TIMESTAMPTZ && datetime::is_finite(local);
        if convert { ctx.format.time_zone.to_utc(local) } else { local }
    };
    instant(0).cmp(&instant(1))
}

/// The loop over two operands of one representation.
macro_rules! typed_loop {
    ($left:expr, $right:expr, $values:ident, $variant:path, $order:expr) => {{
        let order = $order;
        match ($left, $right) {
            (
                Operand::Column(Column { data: ColumnData::$values(x), .. }),
                Operand::Column(Column { data: ColumnData::$values(y), .. }),
            ) => Some(x.iter().zip(y).map(|(x, y)| order(x, y)).collect::<Vec<bool>>()),
            (Operand::Column(Column { data: ColumnData::$values(x), .. }), Operand::Const($variant(y))) => {
                Some(x.iter().map(|x| order(x, y)).collect())
            }
            (Operand::Const($variant(x)), Operand::Column(Column { data: ColumnData::$values(y), .. })) => {
                Some(y.iter().map(|y| order(x, y)).collect())
            }
            _ => None,
        }
    }};
}

fn compare_columns(
    left: &Operand<'_>,
    right: &Operand<'_>,
    rows: usize,
    test: impl Fn(Ordering) -> bool + Copy,
) -> Column {
    if matches!(left, Operand::Const(Datum::Null)) || matches!(right, Operand::Const(Datum::Null)) {
        let mut nulls = Bitmap::default();
        (0..rows).for_each(|_| nulls.push(false));
        return Column { data: ColumnData::Bool(vec![false; rows]), validity: Some(nulls) };
    }
    let ints = || typed_loop!(left, right, Int4, Datum::Int4, |x: &i32, y: &i32| test(x.cmp(y)));
    let longs = || typed_loop!(left, right, Int8, Datum::Int8, |x: &i64, y: &i64| test(x.cmp(y)));
    let doubles =
        || typed_loop!(left, right, Float8, Datum::Float8, |x: &f64, y: &f64| test(compare_floats(*x, *y)));
    let dates = || typed_loop!(left, right, Date, Datum::Date, |x: &i32, y: &i32| test(x.cmp(y)));
    let times = || typed_loop!(left, right, Timestamp, Datum::Timestamp, |x: &i64, y: &i64| test(x.cmp(y)));
    let values = ints()
        .or_else(longs)
        .or_else(doubles)
        .or_else(dates)
        .or_else(times)
        .or_else(|| compare_texts(left, right, rows, test))
        .unwrap_or_else(|| compare_values(left, right, rows, test));
    Column { data: ColumnData::Bool(values), validity: common_validity(left, right) }
}

fn compare_texts(
    left: &Operand<'_>,
    right: &Operand<'_>,
    rows: usize,
    test: impl Fn(Ordering) -> bool,
) -> Option<Vec<bool>> {
    fn bytes<'a>(operand: &'a Operand<'a>) -> Option<Box<dyn Fn(usize) -> &'a [u8] + 'a>> {
        match operand {
            Operand::Column(Column { data: ColumnData::Text(v) | ColumnData::Bytes(v), .. }) => {
                Some(Box::new(move |row| v.get(row)))
            }
            Operand::Const(Datum::Text(v)) => Some(Box::new(move |_| v.as_bytes())),
            Operand::Const(Datum::Bytes(v)) => Some(Box::new(move |_| v)),
            _ => None,
        }
    }
    let (left, right) = (bytes(left)?, bytes(right)?);
    Some((0..rows).map(|row| test(left(row).cmp(right(row)))).collect())
}

fn compare_values(
    left: &Operand<'_>,
    right: &Operand<'_>,
    rows: usize,
    test: impl Fn(Ordering) -> bool,
) -> Vec<bool> {
    (0..rows)
        .map(|row| {
            let (x, y) = (left.datum(row), right.datum(row));
            !x.is_null() && !y.is_null() && test(compare(&x, &y))
        })
        .collect()
}

/// Where both operands have a value.
pub(super) fn common_validity(left: &Operand<'_>, right: &Operand<'_>) -> Option<Bitmap> {
    fn nulls<'a>(operand: &'a Operand<'a>) -> Option<&'a Column> {
        match operand {
            Operand::Column(column) if column.may_have_nulls() => Some(column),
            _ => None,
        }
    }
    match (nulls(left), nulls(right)) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one.validity_bitmap()),
        (Some(a), Some(b)) => {
            let mut bits = a.validity_bitmap();
            bits.intersect(&b.validity_bitmap());
            Some(bits)
        }
    }
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(852, "int48eq", &[Oid::INT4, Oid::INT8], Oid::BOOL, eq).vector(vector_eq),
    Function::row(853, "int48ne", &[Oid::INT4, Oid::INT8], Oid::BOOL, ne).vector(vector_ne),
    Function::row(854, "int48lt", &[Oid::INT4, Oid::INT8], Oid::BOOL, lt).vector(vector_lt),
    Function::row(56, "boollt", &[Oid::BOOL, Oid::BOOL], Oid::BOOL, lt).vector(vector_lt),
    Function::row(57, "boolgt", &[Oid::BOOL, Oid::BOOL], Oid::BOOL, gt).vector(vector_gt),
    Function::row(855, "int48gt", &[Oid::INT4, Oid::INT8], Oid::BOOL, gt).vector(vector_gt),
    Function::row(856, "int48le", &[Oid::INT4, Oid::INT8], Oid::BOOL, le).vector(vector_le),
    Function::row(857, "int48ge", &[Oid::INT4, Oid::INT8], Oid::BOOL, ge).vector(vector_ge),
    Function::row(84, "boolne", &[Oid::BOOL, Oid::BOOL], Oid::BOOL, ne).vector(vector_ne),
    Function::row(60, "booleq", &[Oid::BOOL, Oid::BOOL], Oid::BOOL, eq).vector(vector_eq),
    Function::row(61, "chareq", &[Oid::CHAR, Oid::CHAR], Oid::BOOL, eq).vector(vector_eq),
    Function::row(62, "nameeq", &[Oid::NAME, Oid::NAME], Oid::BOOL, eq).vector(vector_eq),
    Function::row(63, "int2eq", &[Oid::INT2, Oid::INT2], Oid::BOOL, eq).vector(vector_eq),
    Function::row(64, "int2lt", &[Oid::INT2, Oid::INT2], Oid::BOOL, lt).vector(vector_lt),
    Function::row(65, "int4eq", &[Oid::INT4, Oid::INT4], Oid::BOOL, eq).vector(vector_eq),
    Function::row(66, "int4lt", &[Oid::INT4, Oid::INT4], Oid::BOOL, lt).vector(vector_lt),
    Function::row(67, "texteq", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, eq).vector(vector_eq),
    Function::row(240, "nameeqtext", &[Oid::NAME, Oid::TEXT], Oid::BOOL, eq).vector(vector_eq),
    Function::row(241, "namelttext", &[Oid::NAME, Oid::TEXT], Oid::BOOL, lt).vector(vector_lt),
    Function::row(242, "nameletext", &[Oid::NAME, Oid::TEXT], Oid::BOOL, le).vector(vector_le),
    Function::row(243, "namegetext", &[Oid::NAME, Oid::TEXT], Oid::BOOL, ge).vector(vector_ge),
    Function::row(244, "namegttext", &[Oid::NAME, Oid::TEXT], Oid::BOOL, gt).vector(vector_gt),
    Function::row(245, "namenetext", &[Oid::NAME, Oid::TEXT], Oid::BOOL, ne).vector(vector_ne),
    Function::row(247, "texteqname", &[Oid::TEXT, Oid::NAME], Oid::BOOL, eq).vector(vector_eq),
    Function::row(248, "textltname", &[Oid::TEXT, Oid::NAME], Oid::BOOL, lt).vector(vector_lt),
    Function::row(249, "textlename", &[Oid::TEXT, Oid::NAME], Oid::BOOL, le).vector(vector_le),
    Function::row(250, "textgename", &[Oid::TEXT, Oid::NAME], Oid::BOOL, ge).vector(vector_ge),
    Function::row(251, "textgtname", &[Oid::TEXT, Oid::NAME], Oid::BOOL, gt).vector(vector_gt),
    Function::row(252, "textnename", &[Oid::TEXT, Oid::NAME], Oid::BOOL, ne).vector(vector_ne),
    Function::row(68, "xideq", &[Oid::XID, Oid::XID], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1319, "xideqint4", &[Oid::XID, Oid::INT4], Oid::BOOL, eq).vector(vector_eq),
    Function::row(69, "cideq", &[Oid::CID, Oid::CID], Oid::BOOL, eq).vector(vector_eq),
    Function::row(467, "int8eq", &[Oid::INT8, Oid::INT8], Oid::BOOL, eq).vector(vector_eq),
    Function::row(468, "int8ne", &[Oid::INT8, Oid::INT8], Oid::BOOL, ne).vector(vector_ne),
    Function::row(469, "int8lt", &[Oid::INT8, Oid::INT8], Oid::BOOL, lt).vector(vector_lt),
    Function::row(470, "int8gt", &[Oid::INT8, Oid::INT8], Oid::BOOL, gt).vector(vector_gt),
    Function::row(471, "int8le", &[Oid::INT8, Oid::INT8], Oid::BOOL, le).vector(vector_le),
    Function::row(472, "int8ge", &[Oid::INT8, Oid::INT8], Oid::BOOL, ge).vector(vector_ge),
    Function::row(474, "int84eq", &[Oid::INT8, Oid::INT4], Oid::BOOL, eq).vector(vector_eq),
    Function::row(475, "int84ne", &[Oid::INT8, Oid::INT4], Oid::BOOL, ne).vector(vector_ne),
    Function::row(476, "int84lt", &[Oid::INT8, Oid::INT4], Oid::BOOL, lt).vector(vector_lt),
    Function::row(477, "int84gt", &[Oid::INT8, Oid::INT4], Oid::BOOL, gt).vector(vector_gt),
    Function::row(478, "int84le", &[Oid::INT8, Oid::INT4], Oid::BOOL, le).vector(vector_le),
    Function::row(479, "int84ge", &[Oid::INT8, Oid::INT4], Oid::BOOL, ge).vector(vector_ge),
    Function::row(144, "int4ne", &[Oid::INT4, Oid::INT4], Oid::BOOL, ne).vector(vector_ne),
    Function::row(145, "int2ne", &[Oid::INT2, Oid::INT2], Oid::BOOL, ne).vector(vector_ne),
    Function::row(146, "int2gt", &[Oid::INT2, Oid::INT2], Oid::BOOL, gt).vector(vector_gt),
    Function::row(147, "int4gt", &[Oid::INT4, Oid::INT4], Oid::BOOL, gt).vector(vector_gt),
    Function::row(148, "int2le", &[Oid::INT2, Oid::INT2], Oid::BOOL, le).vector(vector_le),
    Function::row(149, "int4le", &[Oid::INT4, Oid::INT4], Oid::BOOL, le).vector(vector_le),
    Function::row(151, "int2ge", &[Oid::INT2, Oid::INT2], Oid::BOOL, ge).vector(vector_ge),
    Function::row(150, "int4ge", &[Oid::INT4, Oid::INT4], Oid::BOOL, ge).vector(vector_ge),
    Function::row(157, "textne", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, ne).vector(vector_ne),
    Function::row(158, "int24eq", &[Oid::INT2, Oid::INT4], Oid::BOOL, eq).vector(vector_eq),
    Function::row(159, "int42eq", &[Oid::INT4, Oid::INT2], Oid::BOOL, eq).vector(vector_eq),
    Function::row(160, "int24lt", &[Oid::INT2, Oid::INT4], Oid::BOOL, lt).vector(vector_lt),
    Function::row(161, "int42lt", &[Oid::INT4, Oid::INT2], Oid::BOOL, lt).vector(vector_lt),
    Function::row(162, "int24gt", &[Oid::INT2, Oid::INT4], Oid::BOOL, gt).vector(vector_gt),
    Function::row(163, "int42gt", &[Oid::INT4, Oid::INT2], Oid::BOOL, gt).vector(vector_gt),
    Function::row(164, "int24ne", &[Oid::INT2, Oid::INT4], Oid::BOOL, ne).vector(vector_ne),
    Function::row(165, "int42ne", &[Oid::INT4, Oid::INT2], Oid::BOOL, ne).vector(vector_ne),
    Function::row(166, "int24le", &[Oid::INT2, Oid::INT4], Oid::BOOL, le).vector(vector_le),
    Function::row(167, "int42le", &[Oid::INT4, Oid::INT2], Oid::BOOL, le).vector(vector_le),
    Function::row(168, "int24ge", &[Oid::INT2, Oid::INT4], Oid::BOOL, ge).vector(vector_ge),
    Function::row(169, "int42ge", &[Oid::INT4, Oid::INT2], Oid::BOOL, ge).vector(vector_ge),
    Function::row(184, "oideq", &[Oid::OID, Oid::OID], Oid::BOOL, eq).vector(vector_eq),
    Function::row(185, "oidne", &[Oid::OID, Oid::OID], Oid::BOOL, ne).vector(vector_ne),
    Function::row(716, "oidlt", &[Oid::OID, Oid::OID], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1638, "oidgt", &[Oid::OID, Oid::OID], Oid::BOOL, gt).vector(vector_gt),
    Function::row(717, "oidle", &[Oid::OID, Oid::OID], Oid::BOOL, le).vector(vector_le),
    Function::row(1639, "oidge", &[Oid::OID, Oid::OID], Oid::BOOL, ge).vector(vector_ge),
    Function::row(287, "float4eq", &[Oid::FLOAT4, Oid::FLOAT4], Oid::BOOL, eq).vector(vector_eq),
    Function::row(288, "float4ne", &[Oid::FLOAT4, Oid::FLOAT4], Oid::BOOL, ne).vector(vector_ne),
    Function::row(289, "float4lt", &[Oid::FLOAT4, Oid::FLOAT4], Oid::BOOL, lt).vector(vector_lt),
    Function::row(291, "float4gt", &[Oid::FLOAT4, Oid::FLOAT4], Oid::BOOL, gt).vector(vector_gt),
    Function::row(290, "float4le", &[Oid::FLOAT4, Oid::FLOAT4], Oid::BOOL, le).vector(vector_le),
    Function::row(292, "float4ge", &[Oid::FLOAT4, Oid::FLOAT4], Oid::BOOL, ge).vector(vector_ge),
    Function::row(70, "charne", &[Oid::CHAR, Oid::CHAR], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1246, "charlt", &[Oid::CHAR, Oid::CHAR], Oid::BOOL, lt).vector(vector_lt),
    Function::row(72, "charle", &[Oid::CHAR, Oid::CHAR], Oid::BOOL, le).vector(vector_le),
    Function::row(73, "chargt", &[Oid::CHAR, Oid::CHAR], Oid::BOOL, gt).vector(vector_gt),
    Function::row(74, "charge", &[Oid::CHAR, Oid::CHAR], Oid::BOOL, ge).vector(vector_ge),
    Function::row(659, "namene", &[Oid::NAME, Oid::NAME], Oid::BOOL, ne).vector(vector_ne),
    Function::row(619, "oidvectorne", &[Oid::OIDVECTOR, Oid::OIDVECTOR], Oid::BOOL, ne).vector(vector_ne),
    Function::row(677, "oidvectorlt", &[Oid::OIDVECTOR, Oid::OIDVECTOR], Oid::BOOL, lt).vector(vector_lt),
    Function::row(681, "oidvectorgt", &[Oid::OIDVECTOR, Oid::OIDVECTOR], Oid::BOOL, gt).vector(vector_gt),
    Function::row(678, "oidvectorle", &[Oid::OIDVECTOR, Oid::OIDVECTOR], Oid::BOOL, le).vector(vector_le),
    Function::row(680, "oidvectorge", &[Oid::OIDVECTOR, Oid::OIDVECTOR], Oid::BOOL, ge).vector(vector_ge),
    Function::row(679, "oidvectoreq", &[Oid::OIDVECTOR, Oid::OIDVECTOR], Oid::BOOL, eq).vector(vector_eq),
    Function::row(655, "namelt", &[Oid::NAME, Oid::NAME], Oid::BOOL, lt).vector(vector_lt),
    Function::row(656, "namele", &[Oid::NAME, Oid::NAME], Oid::BOOL, le).vector(vector_le),
    Function::row(657, "namegt", &[Oid::NAME, Oid::NAME], Oid::BOOL, gt).vector(vector_gt),
    Function::row(658, "namege", &[Oid::NAME, Oid::NAME], Oid::BOOL, ge).vector(vector_ge),
    Function::row(740, "text_lt", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, lt).vector(vector_lt),
    Function::row(741, "text_le", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, le).vector(vector_le),
    Function::row(742, "text_gt", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, gt).vector(vector_gt),
    Function::row(743, "text_ge", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, ge).vector(vector_ge),
    Function::row(293, "float8eq", &[Oid::FLOAT8, Oid::FLOAT8], Oid::BOOL, eq).vector(vector_eq),
    Function::row(294, "float8ne", &[Oid::FLOAT8, Oid::FLOAT8], Oid::BOOL, ne).vector(vector_ne),
    Function::row(295, "float8lt", &[Oid::FLOAT8, Oid::FLOAT8], Oid::BOOL, lt).vector(vector_lt),
    Function::row(296, "float8le", &[Oid::FLOAT8, Oid::FLOAT8], Oid::BOOL, le).vector(vector_le),
    Function::row(297, "float8gt", &[Oid::FLOAT8, Oid::FLOAT8], Oid::BOOL, gt).vector(vector_gt),
    Function::row(298, "float8ge", &[Oid::FLOAT8, Oid::FLOAT8], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1048, "bpchareq", &[Oid::BPCHAR, Oid::BPCHAR], Oid::BOOL, bpchar_eq),
    Function::row(1053, "bpcharne", &[Oid::BPCHAR, Oid::BPCHAR], Oid::BOOL, bpchar_ne),
    Function::row(1049, "bpcharlt", &[Oid::BPCHAR, Oid::BPCHAR], Oid::BOOL, bpchar_lt),
    Function::row(1050, "bpcharle", &[Oid::BPCHAR, Oid::BPCHAR], Oid::BOOL, bpchar_le),
    Function::row(1051, "bpchargt", &[Oid::BPCHAR, Oid::BPCHAR], Oid::BOOL, bpchar_gt),
    Function::row(1052, "bpcharge", &[Oid::BPCHAR, Oid::BPCHAR], Oid::BOOL, bpchar_ge),
    Function::row(744, "array_eq", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, eq).vector(vector_eq),
    Function::row(390, "array_ne", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, ne).vector(vector_ne),
    Function::row(391, "array_lt", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, lt).vector(vector_lt),
    Function::row(392, "array_gt", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, gt).vector(vector_gt),
    Function::row(393, "array_le", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, le).vector(vector_le),
    Function::row(396, "array_ge", &[Oid::ANYARRAY, Oid::ANYARRAY], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1086, "date_eq", &[Oid::DATE, Oid::DATE], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1091, "date_ne", &[Oid::DATE, Oid::DATE], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1087, "date_lt", &[Oid::DATE, Oid::DATE], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1088, "date_le", &[Oid::DATE, Oid::DATE], Oid::BOOL, le).vector(vector_le),
    Function::row(1089, "date_gt", &[Oid::DATE, Oid::DATE], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1090, "date_ge", &[Oid::DATE, Oid::DATE], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1145, "time_eq", &[Oid::TIME, Oid::TIME], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1106, "time_ne", &[Oid::TIME, Oid::TIME], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1102, "time_lt", &[Oid::TIME, Oid::TIME], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1103, "time_le", &[Oid::TIME, Oid::TIME], Oid::BOOL, le).vector(vector_le),
    Function::row(1104, "time_gt", &[Oid::TIME, Oid::TIME], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1105, "time_ge", &[Oid::TIME, Oid::TIME], Oid::BOOL, ge).vector(vector_ge),
    Function::row(299, "float48eq", &[Oid::FLOAT4, Oid::FLOAT8], Oid::BOOL, eq).vector(vector_eq),
    Function::row(300, "float48ne", &[Oid::FLOAT4, Oid::FLOAT8], Oid::BOOL, ne).vector(vector_ne),
    Function::row(301, "float48lt", &[Oid::FLOAT4, Oid::FLOAT8], Oid::BOOL, lt).vector(vector_lt),
    Function::row(303, "float48gt", &[Oid::FLOAT4, Oid::FLOAT8], Oid::BOOL, gt).vector(vector_gt),
    Function::row(302, "float48le", &[Oid::FLOAT4, Oid::FLOAT8], Oid::BOOL, le).vector(vector_le),
    Function::row(304, "float48ge", &[Oid::FLOAT4, Oid::FLOAT8], Oid::BOOL, ge).vector(vector_ge),
    Function::row(305, "float84eq", &[Oid::FLOAT8, Oid::FLOAT4], Oid::BOOL, eq).vector(vector_eq),
    Function::row(306, "float84ne", &[Oid::FLOAT8, Oid::FLOAT4], Oid::BOOL, ne).vector(vector_ne),
    Function::row(307, "float84lt", &[Oid::FLOAT8, Oid::FLOAT4], Oid::BOOL, lt).vector(vector_lt),
    Function::row(309, "float84gt", &[Oid::FLOAT8, Oid::FLOAT4], Oid::BOOL, gt).vector(vector_gt),
    Function::row(308, "float84le", &[Oid::FLOAT8, Oid::FLOAT4], Oid::BOOL, le).vector(vector_le),
    Function::row(310, "float84ge", &[Oid::FLOAT8, Oid::FLOAT4], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1152, "timestamptz_eq", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1153, "timestamptz_ne", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1154, "timestamptz_lt", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1155, "timestamptz_le", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, le).vector(vector_le),
    Function::row(1157, "timestamptz_gt", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1156, "timestamptz_ge", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMPTZ], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1162, "interval_eq", &[Oid::INTERVAL, Oid::INTERVAL], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1163, "interval_ne", &[Oid::INTERVAL, Oid::INTERVAL], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1164, "interval_lt", &[Oid::INTERVAL, Oid::INTERVAL], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1165, "interval_le", &[Oid::INTERVAL, Oid::INTERVAL], Oid::BOOL, le).vector(vector_le),
    Function::row(1167, "interval_gt", &[Oid::INTERVAL, Oid::INTERVAL], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1166, "interval_ge", &[Oid::INTERVAL, Oid::INTERVAL], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1691, "boolle", &[Oid::BOOL, Oid::BOOL], Oid::BOOL, le).vector(vector_le),
    Function::row(1692, "boolge", &[Oid::BOOL, Oid::BOOL], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1718, "numeric_eq", &[Oid::NUMERIC, Oid::NUMERIC], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1719, "numeric_ne", &[Oid::NUMERIC, Oid::NUMERIC], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1722, "numeric_lt", &[Oid::NUMERIC, Oid::NUMERIC], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1723, "numeric_le", &[Oid::NUMERIC, Oid::NUMERIC], Oid::BOOL, le).vector(vector_le),
    Function::row(1720, "numeric_gt", &[Oid::NUMERIC, Oid::NUMERIC], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1721, "numeric_ge", &[Oid::NUMERIC, Oid::NUMERIC], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1850, "int28eq", &[Oid::INT2, Oid::INT8], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1851, "int28ne", &[Oid::INT2, Oid::INT8], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1852, "int28lt", &[Oid::INT2, Oid::INT8], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1853, "int28gt", &[Oid::INT2, Oid::INT8], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1854, "int28le", &[Oid::INT2, Oid::INT8], Oid::BOOL, le).vector(vector_le),
    Function::row(1855, "int28ge", &[Oid::INT2, Oid::INT8], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1856, "int82eq", &[Oid::INT8, Oid::INT2], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1857, "int82ne", &[Oid::INT8, Oid::INT2], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1858, "int82lt", &[Oid::INT8, Oid::INT2], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1859, "int82gt", &[Oid::INT8, Oid::INT2], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1860, "int82le", &[Oid::INT8, Oid::INT2], Oid::BOOL, le).vector(vector_le),
    Function::row(1861, "int82ge", &[Oid::INT8, Oid::INT2], Oid::BOOL, ge).vector(vector_ge),
    Function::row(1948, "byteaeq", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, eq).vector(vector_eq),
    Function::row(1953, "byteane", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, ne).vector(vector_ne),
    Function::row(1949, "bytealt", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, lt).vector(vector_lt),
    Function::row(1950, "byteale", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, le).vector(vector_le),
    Function::row(1951, "byteagt", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, gt).vector(vector_gt),
    Function::row(1952, "byteage", &[Oid::BYTEA, Oid::BYTEA], Oid::BOOL, ge).vector(vector_ge),
    Function::row(2052, "timestamp_eq", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, eq).vector(vector_eq),
    Function::row(2053, "timestamp_ne", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, ne).vector(vector_ne),
    Function::row(2054, "timestamp_lt", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, lt).vector(vector_lt),
    Function::row(2055, "timestamp_le", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, le).vector(vector_le),
    Function::row(2057, "timestamp_gt", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, gt).vector(vector_gt),
    Function::row(2056, "timestamp_ge", &[Oid::TIMESTAMP, Oid::TIMESTAMP], Oid::BOOL, ge).vector(vector_ge),
    Function::typed(2338, "date_lt_timestamp", &[Oid::DATE, Oid::TIMESTAMP], Oid::BOOL, mixed_lt),
    Function::typed(2339, "date_le_timestamp", &[Oid::DATE, Oid::TIMESTAMP], Oid::BOOL, mixed_le),
    Function::typed(2340, "date_eq_timestamp", &[Oid::DATE, Oid::TIMESTAMP], Oid::BOOL, mixed_eq),
    Function::typed(2342, "date_ge_timestamp", &[Oid::DATE, Oid::TIMESTAMP], Oid::BOOL, mixed_ge),
    Function::typed(2341, "date_gt_timestamp", &[Oid::DATE, Oid::TIMESTAMP], Oid::BOOL, mixed_gt),
    Function::typed(2343, "date_ne_timestamp", &[Oid::DATE, Oid::TIMESTAMP], Oid::BOOL, mixed_ne),
    Function::typed(2351, "date_lt_timestamptz", &[Oid::DATE, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_lt).stable(),
    Function::typed(2352, "date_le_timestamptz", &[Oid::DATE, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_le).stable(),
    Function::typed(2353, "date_eq_timestamptz", &[Oid::DATE, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_eq).stable(),
    Function::typed(2355, "date_ge_timestamptz", &[Oid::DATE, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_ge).stable(),
    Function::typed(2354, "date_gt_timestamptz", &[Oid::DATE, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_gt).stable(),
    Function::typed(2356, "date_ne_timestamptz", &[Oid::DATE, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_ne).stable(),
    Function::typed(2364, "timestamp_lt_date", &[Oid::TIMESTAMP, Oid::DATE], Oid::BOOL, mixed_lt),
    Function::typed(2365, "timestamp_le_date", &[Oid::TIMESTAMP, Oid::DATE], Oid::BOOL, mixed_le),
    Function::typed(2366, "timestamp_eq_date", &[Oid::TIMESTAMP, Oid::DATE], Oid::BOOL, mixed_eq),
    Function::typed(2368, "timestamp_ge_date", &[Oid::TIMESTAMP, Oid::DATE], Oid::BOOL, mixed_ge),
    Function::typed(2367, "timestamp_gt_date", &[Oid::TIMESTAMP, Oid::DATE], Oid::BOOL, mixed_gt),
    Function::typed(2369, "timestamp_ne_date", &[Oid::TIMESTAMP, Oid::DATE], Oid::BOOL, mixed_ne),
    Function::typed(2377, "timestamptz_lt_date", &[Oid::TIMESTAMPTZ, Oid::DATE], Oid::BOOL, mixed_lt).stable(),
    Function::typed(2378, "timestamptz_le_date", &[Oid::TIMESTAMPTZ, Oid::DATE], Oid::BOOL, mixed_le).stable(),
    Function::typed(2379, "timestamptz_eq_date", &[Oid::TIMESTAMPTZ, Oid::DATE], Oid::BOOL, mixed_eq).stable(),
    Function::typed(2381, "timestamptz_ge_date", &[Oid::TIMESTAMPTZ, Oid::DATE], Oid::BOOL, mixed_ge).stable(),
    Function::typed(2380, "timestamptz_gt_date", &[Oid::TIMESTAMPTZ, Oid::DATE], Oid::BOOL, mixed_gt).stable(),
    Function::typed(2382, "timestamptz_ne_date", &[Oid::TIMESTAMPTZ, Oid::DATE], Oid::BOOL, mixed_ne).stable(),
    Function::typed(2520, "timestamp_lt_timestamptz", &[Oid::TIMESTAMP, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_lt).stable(),
    Function::typed(2521, "timestamp_le_timestamptz", &[Oid::TIMESTAMP, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_le).stable(),
    Function::typed(2522, "timestamp_eq_timestamptz", &[Oid::TIMESTAMP, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_eq).stable(),
    Function::typed(2524, "timestamp_ge_timestamptz", &[Oid::TIMESTAMP, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_ge).stable(),
    Function::typed(2523, "timestamp_gt_timestamptz", &[Oid::TIMESTAMP, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_gt).stable(),
    Function::typed(2525, "timestamp_ne_timestamptz", &[Oid::TIMESTAMP, Oid::TIMESTAMPTZ], Oid::BOOL, mixed_ne).stable(),
    Function::typed(2527, "timestamptz_lt_timestamp", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMP], Oid::BOOL, mixed_lt).stable(),
    Function::typed(2528, "timestamptz_le_timestamp", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMP], Oid::BOOL, mixed_le).stable(),
    Function::typed(2529, "timestamptz_eq_timestamp", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMP], Oid::BOOL, mixed_eq).stable(),
    Function::typed(2531, "timestamptz_ge_timestamp", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMP], Oid::BOOL, mixed_ge).stable(),
    Function::typed(2530, "timestamptz_gt_timestamp", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMP], Oid::BOOL, mixed_gt).stable(),
    Function::typed(2532, "timestamptz_ne_timestamp", &[Oid::TIMESTAMPTZ, Oid::TIMESTAMP], Oid::BOOL, mixed_ne).stable(),
    Function::row(2956, "uuid_eq", &[Oid::UUID, Oid::UUID], Oid::BOOL, eq).vector(vector_eq),
    Function::row(2959, "uuid_ne", &[Oid::UUID, Oid::UUID], Oid::BOOL, ne).vector(vector_ne),
    Function::row(2954, "uuid_lt", &[Oid::UUID, Oid::UUID], Oid::BOOL, lt).vector(vector_lt),
    Function::row(2958, "uuid_gt", &[Oid::UUID, Oid::UUID], Oid::BOOL, gt).vector(vector_gt),
    Function::row(2955, "uuid_le", &[Oid::UUID, Oid::UUID], Oid::BOOL, le).vector(vector_le),
    Function::row(2957, "uuid_ge", &[Oid::UUID, Oid::UUID], Oid::BOOL, ge).vector(vector_ge),
    Function::row(2981, "record_eq", &[Oid::RECORD, Oid::RECORD], Oid::BOOL, eq).vector(vector_eq),
    Function::row(2982, "record_ne", &[Oid::RECORD, Oid::RECORD], Oid::BOOL, ne).vector(vector_ne),
    Function::row(2983, "record_lt", &[Oid::RECORD, Oid::RECORD], Oid::BOOL, lt).vector(vector_lt),
    Function::row(2984, "record_gt", &[Oid::RECORD, Oid::RECORD], Oid::BOOL, gt).vector(vector_gt),
    Function::row(2985, "record_le", &[Oid::RECORD, Oid::RECORD], Oid::BOOL, le).vector(vector_le),
    Function::row(2986, "record_ge", &[Oid::RECORD, Oid::RECORD], Oid::BOOL, ge).vector(vector_ge),
    Function::row(4043, "jsonb_eq", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, eq).vector(vector_eq),
    Function::row(4038, "jsonb_ne", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, ne).vector(vector_ne),
    Function::row(4039, "jsonb_lt", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, lt).vector(vector_lt),
    Function::row(4040, "jsonb_gt", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, gt).vector(vector_gt),
    Function::row(4041, "jsonb_le", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, le).vector(vector_le),
    Function::row(4042, "jsonb_ge", &[Oid::JSONB, Oid::JSONB], Oid::BOOL, ge).vector(vector_ge),
    Function::row(3308, "xidneq", &[Oid::XID, Oid::XID], Oid::BOOL, ne).vector(vector_ne),
    Function::row(3309, "xidneqint4", &[Oid::XID, Oid::INT4], Oid::BOOL, ne).vector(vector_ne),
];
