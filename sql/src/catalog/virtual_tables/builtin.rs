//! Views of the registry: what we say we have is what we have.

use super::{Rows, Source};
use crate::catalog::bootstrap::SUPERUSER;
use crate::error::SqlResult;
use crate::registry::cast::CastKind;
use crate::registry::index::all_casts;
use crate::registry::type_info::{TypeKind, all_types};
use crate::registry::{CastContext, Volatility, all_functions, all_operators};
use crate::types::Oid;

const CATALOG: i32 = 11;

pub fn pg_type(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for t in all_types() {
        let by_value = matches!(t.len, 1 | 2 | 4 | 8);
        let align = match t.len {
            1 => 'c',
            2 => 's',
            8 => 'd',
            _ => 'i',
        };
        let varying = t.len == -1;
        rows.set("oid", t.oid)
            .set("typname", t.name)
            .set("typnamespace", CATALOG)
            .set("typowner", SUPERUSER)
            .set("typlen", i32::from(t.len))
            .set("typbyval", by_value)
            .set("typtype", if t.kind == TypeKind::Pseudo { 'p' } else { 'b' })
            .set("typcategory", char::from(t.category))
            .set("typispreferred", t.preferred)
            .set("typisdefined", true)
            .set("typdelim", ',')
            .set("typelem", t.element)
            .set("typarray", t.array)
            .set("typalign", align)
            .set("typstorage", if varying { 'x' } else { 'p' })
            .set("typnotnull", false)
            .set("typtypmod", -1)
            .set("typcollation", if t.category == b'S' { 100 } else { 0 })
            .set_all(&["typrelid", "typbasetype", "typndims", "typsubscript"], 0)
            .set_all(&["typinput", "typoutput", "typreceive", "typsend"], 0)
            .set_all(&["typmodin", "typmodout", "typanalyze"], 0)
            .push();
    }
    Ok(())
}

pub fn pg_proc(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for f in all_functions() {
        let kind = if f.is_aggregate() {
            'a'
        } else if f.is_window() {
            'w'
        } else {
            'f'
        };
        let volatility = match f.volatility {
            Volatility::Immutable => 'i',
            Volatility::Stable => 's',
            Volatility::Volatile => 'v',
        };
        let variadic = if f.variadic { f.args.last().copied().unwrap_or_default() } else { Oid::INVALID };
        let element = crate::registry::element_of(variadic).unwrap_or(variadic);
        rows.set("oid", f.oid)
            .set("proname", f.name)
            .set("pronamespace", CATALOG)
            .set("proowner", SUPERUSER)
            .set("prolang", 12)
            .set("procost", 1)
            .set("prorows", if f.is_set_returning() { 1000 } else { 0 })
            .set("provariadic", element)
            .set("prosupport", 0)
            .set("prokind", kind)
            .set_all(&["prosecdef", "proleakproof"], false)
            .set("proisstrict", f.strict)
            .set("proretset", f.is_set_returning())
            .set("provolatile", volatility)
            .set("proparallel", 's')
            .set("pronargs", f.args.len() as i32)
            .set("pronargdefaults", 0)
            .set("prorettype", f.result)
            .set("proargtypes", f.args.to_vec())
            .set("prosrc", f.name)
            .push();
    }
    Ok(())
}

pub fn pg_operator(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for o in all_operators() {
        rows.set("oid", o.oid)
            .set("oprname", o.name)
            .set("oprnamespace", CATALOG)
            .set("oprowner", SUPERUSER)
            .set("oprkind", if o.is_prefix() { 'l' } else { 'b' })
            .set_all(&["oprcanmerge", "oprcanhash"], o.name == "=")
            .set("oprleft", o.left)
            .set("oprright", o.right)
            .set("oprresult", o.result)
            .set("oprcom", o.commutator)
            .set("oprnegate", o.negator)
            .set("oprcode", o.function)
            .set_all(&["oprrest", "oprjoin"], 0)
            .push();
    }
    Ok(())
}

pub fn pg_cast(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for (n, cast) in all_casts().enumerate() {
        let (method, function) = match cast.kind {
            CastKind::Function(oid) => ('f', oid),
            CastKind::Relabel => ('b', Oid::INVALID),
            CastKind::InOut => ('i', Oid::INVALID),
        };
        let context = match cast.context {
            CastContext::Implicit => 'i',
            CastContext::Assignment => 'a',
            CastContext::Explicit => 'e',
        };
        // PostgreSQL numbers its casts in this range.
        rows.set("oid", 10_035 + n as i32)
            .set("castsource", cast.from)
            .set("casttarget", cast.to)
            .set("castfunc", function)
            .set("castcontext", context)
            .set("castmethod", method)
            .push();
    }
    Ok(())
}

pub fn pg_aggregate(_: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for f in all_functions().iter().filter(|f| f.is_aggregate()) {
        rows.set("aggfnoid", f.oid)
            .set("aggkind", 'n')
            .set_all(&["aggnumdirectargs", "aggtransfn", "aggfinalfn", "aggcombinefn"], 0)
            .set_all(&["aggserialfn", "aggdeserialfn", "aggmtransfn", "aggminvtransfn"], 0)
            .set_all(&["aggmfinalfn", "aggsortop", "aggtransspace", "aggmtransspace"], 0)
            .set_all(&["aggfinalextra", "aggmfinalextra"], false)
            .set_all(&["aggfinalmodify", "aggmfinalmodify"], 'r')
            .set("aggtranstype", f.result)
            .set("aggmtranstype", 0)
            .push();
    }
    Ok(())
}
