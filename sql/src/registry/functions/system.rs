//! System information, settings and sequences: what clients and tools ask about the session and the catalog.

use std::sync::Arc;

use super::arguments::{boolean, int, text};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::context::{DefinitionKind, VisibleKind};
use crate::registry::{AsyncCall, CallTypes, EvalContext, Function, format_type, type_info};
use crate::types::{Array, Datum, Oid, SqlType};

/// What `version()` says: clients look for PostgreSQL's number in it.
pub const VERSION: &str = concat!("PostgreSQL 15.0 (Meridian ", env!("CARGO_PKG_VERSION"), ")");

fn oid(value: &Datum) -> Oid {
    match value {
        Datum::Oid(v) => Oid(*v),
        other => unreachable!("an oid argument is {other:?}"),
    }
}

fn optional_text(value: Option<String>) -> Datum {
    value.map_or(Datum::Null, |v| Datum::text(&v))
}

fn version(_: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(VERSION))
}

fn current_database(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(ctx.session.current_database()))
}

fn current_schema(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(optional_text(ctx.session.search_path().into_iter().next()))
}

fn current_schemas(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let mut schemas = ctx.session.search_path();
    if boolean(&args[0]) && !schemas.iter().any(|s| s == "pg_catalog") {
        schemas.insert(0, "pg_catalog".to_owned());
    }
    let names = schemas.iter().map(|s| Datum::text(s)).collect();
    Ok(Datum::Array(Arc::new(Array::from_elements(Oid::NAME, names))))
}

fn current_user(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(ctx.session.current_user()))
}

fn session_user(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(ctx.session.session_user()))
}

fn backend_pid(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int4(ctx.session.backend_pid()))
}

fn transaction_id(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int8(ctx.session.transaction_id()? as i64))
}

fn current_setting(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let name = text(&args[0]);
    match ctx.session.setting(name)? {
        Some(value) => Ok(Datum::text(&value)),
        None if args.get(1).is_some_and(boolean) => Ok(Datum::Null),
        None => Err(SqlError::new(
            state::UNDEFINED_OBJECT,
            format!("unrecognized configuration parameter \"{name}\""),
        )),
    }
}

fn set_config(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let name = match &args[0] {
        Datum::Text(name) => name,
        _ => return Err(SqlError::new(state::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name")),
    };
    let value = (!args[1].is_null()).then(|| text(&args[1]));
    let local = args[2] == Datum::Bool(true);
    ctx.session.set_setting(name, value, local).map(|v| Datum::text(&v))
}

fn currval(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    ctx.session.currval(oid(&args[0])).map(Datum::Int8)
}

fn lastval(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    ctx.session.lastval().map(Datum::Int8)
}

fn serial_sequence(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    ctx.session.serial_sequence(text(&args[0]), text(&args[1])).map(optional_text)
}

fn type_of(_: &EvalContext<'_>, types: &CallTypes<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Oid(types.args.first().map_or(0, |t| t.oid.0)))
}

fn format_type_of(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    if args[0].is_null() {
        return Ok(Datum::Null);
    }
    let typmod = if args[1].is_null() { -1 } else { int(&args[1]) as i32 };
    let ty = oid(&args[0]);
    if ty == Oid::INVALID {
        return Ok(Datum::text("-"));
    }
    // With a typmod asked for, even absent, char is shown by its internal name.
    if ty == Oid::BPCHAR && typmod < 0 && !args[1].is_null() {
        return Ok(Datum::text("bpchar"));
    }
    Ok(Datum::text(&format_type(SqlType::with_typmod(ty, typmod))))
}

fn user_by_id(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let role = oid(&args[0]);
    let name = ctx.session.object_names().role_name(role);
    Ok(Datum::text(&name.unwrap_or_else(|| format!("unknown (OID={role})"))))
}

fn visible(ctx: &EvalContext<'_>, kind: VisibleKind, args: &[Datum]) -> SqlResult<Datum> {
    Ok(ctx.session.is_visible(kind, oid(&args[0])).map_or(Datum::Null, Datum::Bool))
}

fn table_is_visible(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    visible(ctx, VisibleKind::Relation, args)
}

/// All types and functions are built in, and pg_catalog is always on the path.
fn type_is_visible(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    if type_info(oid(&args[0])).is_some() {
        Ok(Datum::Bool(true))
    } else {
        visible(ctx, VisibleKind::Type, args)
    }
}

fn function_is_visible(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    match crate::registry::function_by_oid(oid(&args[0])) {
        Some(_) => Ok(Datum::Bool(true)),
        None => visible(ctx, VisibleKind::Function, args),
    }
}

fn operator_is_visible(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(crate::registry::operator_by_oid(oid(&args[0])).map_or(Datum::Null, |_| Datum::Bool(true)))
}

fn definition(ctx: &EvalContext<'_>, kind: DefinitionKind, args: &[Datum], column: i32) -> SqlResult<Datum> {
    ctx.session.definition(kind, oid(&args[0]), column).map(optional_text)
}

fn index_definition(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let column = args.get(1).map_or(0, |c| int(c) as i32);
    definition(ctx, DefinitionKind::Index, args, column)
}

fn constraint_definition(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    definition(ctx, DefinitionKind::Constraint, args, 0)
}

fn view_definition(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    definition(ctx, DefinitionKind::View, args, 0)
}

/// pg_node_tree holds the SQL text itself.
fn expression_text(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(args[0].clone())
}

fn object_comment(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    definition(ctx, DefinitionKind::Comment, args, 0)
}

fn column_comment(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    definition(ctx, DefinitionKind::Comment, args, int(&args[1]) as i32)
}

/// There are no comments on shared objects, statistics objects and the like.
fn nothing(_: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Null)
}

/// Every role may do everything so far: privileges are not implemented, and GRANT is refused.
fn granted(_: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(true))
}

fn never(_: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(false))
}

fn relation_size(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(ctx.session.relation_size(oid(&args[0])).map_or(Datum::Null, Datum::Int8))
}

fn encoding_name(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text(match int(&args[0]) {
        6 => "UTF8",
        0 => "SQL_ASCII",
        _ => "",
    }))
}

fn client_encoding(_: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::text("UTF8"))
}

fn size_pretty(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let size = match &args[0] {
        Datum::Numeric(n) => n.to_i128(n.scale).map_or(0, |v| v / 10i128.pow(u32::from(n.scale))),
        other => i128::from(int(other)),
    };
    if size.abs() < 10 * 1024 {
        return Ok(Datum::text(&format!("{size} bytes")));
    }
    // In halves of the unit, to be rounded; each unit is shown up to 10239.
    let mut halves = size / 512;
    let mut unit = 1;
    while halves.abs() >= 20 * 1024 - 1 && unit + 1 < UNITS.len() {
        halves /= 1024;
        unit += 1;
    }
    Ok(Datum::text(&format!("{} {}", (halves + halves.signum()) / 2, UNITS[unit])))
}

fn address(end: Option<(String, i32)>) -> Datum {
    optional_text(end.map(|(host, _)| host))
}

fn port(end: Option<(String, i32)>) -> Datum {
    end.map_or(Datum::Null, |(_, port)| Datum::Int4(port))
}

fn server_address(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(address(ctx.session.server_address()))
}

fn server_port(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(port(ctx.session.server_address()))
}

fn client_address(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(address(ctx.session.client_address()))
}

fn client_port(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(port(ctx.session.client_address()))
}

fn start_time(ctx: &EvalContext<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(ctx.session.start_time().map_or(Datum::Null, Datum::Timestamp))
}

/// `to_regclass` and its like: NULL where the cast would fail.
fn to_reg(ctx: &EvalContext<'_>, types: &CallTypes<'_>, args: &[Datum]) -> SqlResult<Datum> {
    let ty = types.result.oid;
    Ok(crate::types::reg::parse(ty, text(&args[0]), ctx.session.object_names())
        .map_or(Datum::Null, Datum::Oid))
}

fn text_to_regclass(ctx: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    crate::types::reg::parse(Oid::REGCLASS, text(&args[0]), ctx.session.object_names()).map(Datum::Oid)
}

fn int_to_oid(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    u32::try_from(int(&args[0]))
        .map(Datum::Oid)
        .map_err(|_| SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range"))
}

fn oid_to_int8(_: &EvalContext<'_>, args: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Int8(i64::from(oid(&args[0]).0)))
}

#[rustfmt::skip]
pub static FUNCTIONS: &[Function] = &[
    Function::row(89, "version", &[], Oid::TEXT, version).stable(),
    Function::row(861, "current_database", &[], Oid::NAME, current_database).stable(),
    Function::row(1402, "current_schema", &[], Oid::NAME, current_schema).stable(),
    Function::row(1403, "current_schemas", &[Oid::BOOL], Oid::NAME_ARRAY, current_schemas).stable(),
    Function::row(745, "current_user", &[], Oid::NAME, current_user).stable(),
    Function::row(746, "session_user", &[], Oid::NAME, session_user).stable(),
    Function::row(710, "getpgusername", &[], Oid::NAME, current_user).stable(),
    Function::row(2026, "pg_backend_pid", &[], Oid::INT4, backend_pid).stable(),
    Function::row(2943, "txid_current", &[], Oid::INT8, transaction_id).stable(),
    Function::row(2077, "current_setting", &[Oid::TEXT], Oid::TEXT, current_setting).stable(),
    Function::row(3294, "current_setting", &[Oid::TEXT, Oid::BOOL], Oid::TEXT, current_setting).stable(),
    Function::row(2078, "set_config", &[Oid::TEXT, Oid::TEXT, Oid::BOOL], Oid::TEXT, set_config).volatile().lax(),
    Function::row(1575, "currval", &[Oid::REGCLASS], Oid::INT8, currval).volatile(),
    Function::row(2559, "lastval", &[], Oid::INT8, lastval).volatile(),
    Function::row(1665, "pg_get_serial_sequence", &[Oid::TEXT, Oid::TEXT], Oid::TEXT, serial_sequence).stable(),
    Function::row(1081, "format_type", &[Oid::OID, Oid::INT4], Oid::TEXT, format_type_of).stable().lax(),
    Function::row(1642, "pg_get_userbyid", &[Oid::OID], Oid::NAME, user_by_id).stable(),
    Function::row(2079, "pg_table_is_visible", &[Oid::OID], Oid::BOOL, table_is_visible).stable(),
    Function::row(2080, "pg_type_is_visible", &[Oid::OID], Oid::BOOL, type_is_visible).stable(),
    Function::row(2081, "pg_function_is_visible", &[Oid::OID], Oid::BOOL, function_is_visible).stable(),
    Function::row(2082, "pg_operator_is_visible", &[Oid::OID], Oid::BOOL, operator_is_visible).stable(),
    Function::row(2083, "pg_opclass_is_visible", &[Oid::OID], Oid::BOOL, granted).stable(),
    Function::row(3815, "pg_collation_is_visible", &[Oid::OID], Oid::BOOL, granted).stable(),
    Function::row(2093, "pg_conversion_is_visible", &[Oid::OID], Oid::BOOL, granted).stable(),
    Function::row(1643, "pg_get_indexdef", &[Oid::OID], Oid::TEXT, index_definition).stable(),
    Function::row(2507, "pg_get_indexdef", &[Oid::OID, Oid::INT4, Oid::BOOL], Oid::TEXT, index_definition).stable(),
    Function::row(1387, "pg_get_constraintdef", &[Oid::OID], Oid::TEXT, constraint_definition).stable(),
    Function::row(2508, "pg_get_constraintdef", &[Oid::OID, Oid::BOOL], Oid::TEXT, constraint_definition).stable(),
    Function::row(1640, "pg_get_viewdef", &[Oid::TEXT], Oid::TEXT, view_definition).stable(),
    Function::row(1641, "pg_get_viewdef", &[Oid::OID], Oid::TEXT, view_definition).stable(),
    Function::row(2505, "pg_get_viewdef", &[Oid::TEXT, Oid::BOOL], Oid::TEXT, view_definition).stable(),
    Function::row(2506, "pg_get_viewdef", &[Oid::OID, Oid::BOOL], Oid::TEXT, view_definition).stable(),
    Function::row(3159, "pg_get_viewdef", &[Oid::OID, Oid::INT4], Oid::TEXT, view_definition).stable(),
    Function::row(1716, "pg_get_expr", &[Oid::PG_NODE_TREE, Oid::OID], Oid::TEXT, expression_text).stable(),
    Function::row(2509, "pg_get_expr", &[Oid::PG_NODE_TREE, Oid::OID, Oid::BOOL], Oid::TEXT, expression_text).stable(),
    Function::row(1215, "obj_description", &[Oid::OID, Oid::NAME], Oid::TEXT, object_comment).stable(),
    Function::row(1348, "obj_description", &[Oid::OID], Oid::TEXT, object_comment).stable(),
    Function::row(1216, "col_description", &[Oid::OID, Oid::INT4], Oid::TEXT, column_comment).stable(),
    Function::row(1993, "shobj_description", &[Oid::OID, Oid::NAME], Oid::TEXT, nothing).stable(),
    Function::row(6174, "pg_get_statisticsobjdef_columns", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(2165, "pg_get_function_result", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(2232, "pg_get_function_identity_arguments", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(2162, "pg_get_function_arguments", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(1573, "pg_get_ruledef", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(2504, "pg_get_ruledef", &[Oid::OID, Oid::BOOL], Oid::TEXT, nothing).stable(),
    Function::row(1662, "pg_get_triggerdef", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(2730, "pg_get_triggerdef", &[Oid::OID, Oid::BOOL], Oid::TEXT, nothing).stable(),
    Function::row(3352, "pg_get_partkeydef", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(3408, "pg_get_partition_constraintdef", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(3778, "pg_tablespace_location", &[Oid::OID], Oid::TEXT, nothing).stable(),
    Function::row(2997, "pg_table_size", &[Oid::REGCLASS], Oid::INT8, relation_size).volatile(),
    Function::row(2325, "pg_relation_size", &[Oid::REGCLASS], Oid::INT8, relation_size).volatile(),
    Function::row(2286, "pg_total_relation_size", &[Oid::REGCLASS], Oid::INT8, relation_size).volatile(),
    Function::row(2998, "pg_indexes_size", &[Oid::REGCLASS], Oid::INT8, relation_size).volatile(),
    Function::row(1597, "pg_encoding_to_char", &[Oid::INT4], Oid::NAME, encoding_name).stable(),
    Function::row(810, "pg_client_encoding", &[], Oid::NAME, client_encoding).stable(),
    Function::row(1039, "getdatabaseencoding", &[], Oid::NAME, client_encoding).stable(),
    Function::row(2288, "pg_size_pretty", &[Oid::INT8], Oid::TEXT, size_pretty),
    Function::row(3166, "pg_size_pretty", &[Oid::NUMERIC], Oid::TEXT, size_pretty),
    Function::row(2560, "pg_postmaster_start_time", &[], Oid::TIMESTAMPTZ, start_time).stable(),
    Function::row(2034, "pg_conf_load_time", &[], Oid::TIMESTAMPTZ, start_time).stable(),
    Function::row(3810, "pg_is_in_recovery", &[], Oid::BOOL, never).volatile(),
    Function::row(2855, "pg_is_other_temp_schema", &[Oid::OID], Oid::BOOL, never).stable(),
    Function::row(2199, "inet_server_port", &[], Oid::INT4, server_port).stable().lax(),
    Function::row(2197, "inet_client_port", &[], Oid::INT4, client_port).stable().lax(),
    Function::row(6121, "pg_relation_is_publishable", &[Oid::REGCLASS], Oid::BOOL, never).stable(),
    Function::row(1287, "oid", &[Oid::INT8], Oid::OID, int_to_oid),
    Function::row(1288, "int8", &[Oid::OID], Oid::INT8, oid_to_int8),
    Function::row(1922, "has_table_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(1923, "has_table_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(1924, "has_table_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(1925, "has_table_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(1926, "has_table_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(1927, "has_table_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2268, "has_schema_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2269, "has_schema_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2270, "has_schema_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2271, "has_schema_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2272, "has_schema_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2273, "has_schema_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2250, "has_database_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2251, "has_database_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2252, "has_database_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2253, "has_database_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2254, "has_database_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2255, "has_database_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3012, "has_column_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3013, "has_column_privilege", &[Oid::NAME, Oid::TEXT, Oid::INT2, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3014, "has_column_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3015, "has_column_privilege", &[Oid::NAME, Oid::OID, Oid::INT2, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3016, "has_column_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3017, "has_column_privilege", &[Oid::OID, Oid::TEXT, Oid::INT2, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3018, "has_column_privilege", &[Oid::OID, Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3019, "has_column_privilege", &[Oid::OID, Oid::OID, Oid::INT2, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3020, "has_column_privilege", &[Oid::TEXT, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3021, "has_column_privilege", &[Oid::TEXT, Oid::INT2, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3022, "has_column_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3023, "has_column_privilege", &[Oid::OID, Oid::INT2, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2256, "has_function_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2257, "has_function_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2258, "has_function_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2259, "has_function_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2260, "has_function_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2261, "has_function_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2181, "has_sequence_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2182, "has_sequence_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2183, "has_sequence_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2184, "has_sequence_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2185, "has_sequence_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2186, "has_sequence_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3024, "has_any_column_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3025, "has_any_column_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3026, "has_any_column_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3027, "has_any_column_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3028, "has_any_column_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3029, "has_any_column_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3138, "has_type_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3139, "has_type_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3140, "has_type_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3141, "has_type_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3142, "has_type_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3143, "has_type_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2262, "has_language_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2263, "has_language_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2264, "has_language_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2265, "has_language_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2266, "has_language_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2267, "has_language_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2390, "has_tablespace_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2391, "has_tablespace_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2392, "has_tablespace_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2393, "has_tablespace_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2394, "has_tablespace_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2395, "has_tablespace_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3000, "has_foreign_data_wrapper_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3001, "has_foreign_data_wrapper_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3002, "has_foreign_data_wrapper_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3003, "has_foreign_data_wrapper_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3004, "has_foreign_data_wrapper_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3005, "has_foreign_data_wrapper_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3006, "has_server_privilege", &[Oid::NAME, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3007, "has_server_privilege", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3008, "has_server_privilege", &[Oid::OID, Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3009, "has_server_privilege", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3010, "has_server_privilege", &[Oid::TEXT, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(3011, "has_server_privilege", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2705, "pg_has_role", &[Oid::NAME, Oid::NAME, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2706, "pg_has_role", &[Oid::NAME, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2707, "pg_has_role", &[Oid::OID, Oid::NAME, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2708, "pg_has_role", &[Oid::OID, Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2709, "pg_has_role", &[Oid::NAME, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2710, "pg_has_role", &[Oid::OID, Oid::TEXT], Oid::BOOL, granted).stable(),
    Function::row(2198, "inet_server_addr", &[], Oid::TEXT, server_address).stable().lax(),
    Function::row(2196, "inet_client_addr", &[], Oid::TEXT, client_address).stable().lax(),
    Function::typed(1619, "pg_typeof", &[Oid::ANY], Oid::REGTYPE, type_of).stable().lax(),
    Function::typed(3495, "to_regclass", &[Oid::TEXT], Oid::REGCLASS, to_reg).stable(),
    Function::typed(3493, "to_regtype", &[Oid::TEXT], Oid::REGTYPE, to_reg).stable(),
    Function::typed(3494, "to_regproc", &[Oid::TEXT], Oid::REGPROC, to_reg).stable(),
    Function::typed(4086, "to_regnamespace", &[Oid::TEXT], Oid::REGNAMESPACE, to_reg).stable(),
    Function::typed(4093, "to_regrole", &[Oid::TEXT], Oid::REGROLE, to_reg).stable(),
    Function::typed(3479, "to_regprocedure", &[Oid::TEXT], Oid::REGPROCEDURE, to_reg).stable(),
    Function::typed(3492, "to_regoper", &[Oid::TEXT], Oid::REGOPER, to_reg).stable(),
    Function::row(1079, "regclass", &[Oid::TEXT], Oid::REGCLASS, text_to_regclass).stable(),
    Function::asynchronous(1574, "nextval", &[Oid::REGCLASS], Oid::INT8, AsyncCall::NextVal),
    Function::asynchronous(1576, "setval", &[Oid::REGCLASS, Oid::INT8], Oid::INT8, AsyncCall::SetVal),
    Function::asynchronous(1765, "setval", &[Oid::REGCLASS, Oid::INT8, Oid::BOOL], Oid::INT8, AsyncCall::SetVal),
    Function::asynchronous(9040, "cluster_logical_timestamp", &[], Oid::NUMERIC, AsyncCall::LogicalTimestamp),
    Function::asynchronous(2626, "pg_sleep", &[Oid::FLOAT8], Oid::VOID, AsyncCall::Sleep),
];
