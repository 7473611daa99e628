//! Overload resolution: PostgreSQL's rules (manual, chapter 10; parse_func.c, parse_oper.c, parse_coerce.c).
//!
//! A quoted literal and a parameter of no known type come as [`Oid::UNKNOWN`], which fits everything.

use super::cast::{CastContext, find_cast, is_binary_coercible};
use super::function::Function;
use super::index::{function_by_oid, functions_named, operators_named};
use super::operator::Operator;
use super::type_info::{array_of, element_of, type_by_name, type_info, type_name};
use crate::error::{SqlError, SqlResult, state};
use crate::types::Oid;

/// A chosen function and what the caller must do to the arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub function: &'static Function,
    /// The type that each actual argument is to be coerced to (implicitly); polymorphic types are resolved.
    pub args: Vec<Oid>,
    pub result: Oid,
    /// The arguments from here on are to be gathered into one array, of the function's last argument type.
    pub variadic_from: Option<usize>,
}

/// What a call by name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum FunctionLookup {
    Call(Resolved),
    /// `typename(x)`: an explicit cast to this type.
    Coerce(Oid),
}

#[derive(Clone)]
struct Candidate<T> {
    item: T,
    /// Declared types, one for each actual argument.
    args: Vec<Oid>,
    variadic_from: Option<usize>,
}

/// The function that a call means. `variadic_array`: the last argument was marked VARIADIC.
pub fn resolve_function(name: &str, args: &[Oid], variadic_array: bool) -> SqlResult<FunctionLookup> {
    if variadic_array && functions_named(name).iter().any(|f| f.variadic && f.args.last() == Some(&Oid::ANY))
    {
        return Err(SqlError::unsupported(format!("VARIADIC array argument of {name}()")));
    }
    let mut candidates: Vec<Candidate<&'static Function>> =
        functions_named(name).iter().filter_map(|f| function_candidate(f, args, variadic_array)).collect();
    // The same signature with and without VARIADIC: the plain one.
    let plain: Vec<Vec<Oid>> =
        candidates.iter().filter(|c| c.variadic_from.is_none()).map(|c| c.args.clone()).collect();
    candidates.retain(|c| c.variadic_from.is_none() || !plain.contains(&c.args));
    if let Some(exact) = candidates.iter().find(|c| c.args == args) {
        return finish_function(exact.clone(), args).map(FunctionLookup::Call);
    }
    if let Some(to) = coercion_by_name(name, args) {
        return Ok(FunctionLookup::Coerce(to));
    }
    candidates.retain(|c| can_coerce(args, &c.args, CastContext::Implicit));
    match select(candidates, args) {
        Selection::One(chosen) => finish_function(chosen, args).map(FunctionLookup::Call),
        Selection::Many => Err(SqlError::new(
            state::AMBIGUOUS_FUNCTION,
            format!("function {} is not unique", signature(name, args)),
        )
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")),
        Selection::None => Err(SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("function {} does not exist", signature(name, args)),
        )
        .with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )),
    }
}

/// The operator that `left op right` (or prefix `op right`) means.
pub fn resolve_operator(op: &str, left: Option<Oid>, right: Oid) -> SqlResult<(&'static Operator, Resolved)> {
    let mut args: Vec<Oid> = left.into_iter().chain([right]).collect();
    let named = operators_named(op);
    let declared = |o: &'static Operator| -> Vec<Oid> {
        if o.is_prefix() { vec![o.right] } else { vec![o.left, o.right] }
    };
    let candidates: Vec<Candidate<&'static Operator>> = named
        .iter()
        .filter(|o| o.is_prefix() == left.is_none())
        .map(|o| Candidate { item: *o, args: declared(o), variadic_from: None })
        .collect();
    let exact_args = assume_same_type(&args);
    if let Some(exact) = candidates.iter().find(|c| c.args == exact_args) {
        return finish_operator(exact.clone(), &exact_args);
    }
    let fits = |c: &Candidate<&'static Operator>| can_coerce(&args, &c.args, CastContext::Implicit);
    let fitting: Vec<_> = candidates.into_iter().filter(fits).collect();
    match select(fitting, &args) {
        Selection::One(chosen) => finish_operator(chosen, &args),
        outcome => {
            let right = type_name(args.pop().unwrap_or(Oid::UNKNOWN));
            let shown = match left {
                Some(left) => format!("{} {op} {right}", type_name(left)),
                None => format!("{op} {right}"),
            };
            Err(operator_error(&shown, matches!(outcome, Selection::Many), left.is_some()))
        }
    }
}

fn operator_error(shown: &str, ambiguous: bool, binary: bool) -> SqlError {
    if ambiguous {
        return SqlError::new(state::AMBIGUOUS_FUNCTION, format!("operator is not unique: {shown}"))
            .with_hint(
                "Could not choose a best candidate operator. You might need to add explicit type casts.",
            );
    }
    let hint = if binary {
        "No operator matches the given name and argument types. You might need to add explicit type casts."
    } else {
        "No operator matches the given name and argument type. You might need to add an explicit type cast."
    };
    SqlError::new(state::UNDEFINED_FUNCTION, format!("operator does not exist: {shown}")).with_hint(hint)
}

/// The type in which UNION, CASE, VALUES, COALESCE, ARRAY, GREATEST meet. `context` names the construct in the error.
pub fn resolve_common_type(context: &str, types: &[Oid]) -> SqlResult<Oid> {
    let Some(&first) = types.first() else { return Ok(Oid::TEXT) };
    if first != Oid::UNKNOWN && types.iter().all(|t| *t == first) {
        return Ok(first);
    }
    let mut chosen = Oid::UNKNOWN;
    for &ty in types.iter().filter(|t| **t != Oid::UNKNOWN) {
        if chosen == Oid::UNKNOWN {
            chosen = ty;
            continue;
        }
        if ty == chosen {
            continue;
        }
        if category(ty) != category(chosen) {
            return Err(SqlError::new(
                state::DATATYPE_MISMATCH,
                format!("{context} types {} and {} cannot be matched", type_name(chosen), type_name(ty)),
            ));
        }
        let forth = find_cast(chosen, ty, CastContext::Implicit).is_some();
        if !is_preferred(chosen) && forth && find_cast(ty, chosen, CastContext::Implicit).is_none() {
            chosen = ty;
        }
    }
    Ok(if chosen == Oid::UNKNOWN { Oid::TEXT } else { chosen })
}

/// Whether arguments of these types can be passed where `targets` are declared.
pub fn can_coerce(inputs: &[Oid], targets: &[Oid], context: CastContext) -> bool {
    inputs.len() == targets.len()
        && inputs.iter().zip(targets).all(|(from, to)| can_coerce_one(*from, *to, context))
        && resolve_polymorphic(inputs, targets, Oid::INVALID).is_some()
}

fn can_coerce_one(from: Oid, to: Oid, context: CastContext) -> bool {
    if from == to || to == Oid::ANY || from == Oid::UNKNOWN {
        return true;
    }
    match to {
        Oid::ANYELEMENT | Oid::ANYCOMPATIBLE => return true,
        Oid::ANYARRAY | Oid::ANYCOMPATIBLEARRAY => return true_array(from).is_some() || from == to,
        Oid::ANYNONARRAY | Oid::ANYCOMPATIBLENONARRAY => return true_array(from).is_none(),
        Oid::ANYENUM => return false,
        _ => {}
    }
    find_cast(from, to, context).is_some()
}

fn true_array(oid: Oid) -> Option<Oid> {
    element_of(oid)
}

fn is_polymorphic(oid: Oid) -> bool {
    is_simple_polymorphic(oid) || is_compatible_polymorphic(oid)
}

fn is_simple_polymorphic(oid: Oid) -> bool {
    matches!(oid, Oid::ANYELEMENT | Oid::ANYARRAY | Oid::ANYNONARRAY | Oid::ANYENUM)
}

fn is_compatible_polymorphic(oid: Oid) -> bool {
    matches!(oid, Oid::ANYCOMPATIBLE | Oid::ANYCOMPATIBLEARRAY | Oid::ANYCOMPATIBLENONARRAY)
}

/// Puts concrete types for the polymorphic ones in `declared` and `result`; `None` if the inputs contradict.
fn resolve_polymorphic(inputs: &[Oid], declared: &[Oid], result: Oid) -> Option<(Vec<Oid>, Oid)> {
    if !declared.iter().copied().chain([result]).any(is_polymorphic) {
        return Some((declared.to_vec(), result));
    }
    let mut element = None;
    let mut compatible: Vec<Oid> = Vec::new();
    for (&from, &to) in inputs.iter().zip(declared) {
        if from == Oid::UNKNOWN {
            continue;
        }
        let seen = match to {
            Oid::ANYARRAY | Oid::ANYCOMPATIBLEARRAY => true_array(from)?,
            _ => from,
        };
        if is_simple_polymorphic(to) {
            if element.is_some_and(|e| e != seen) {
                return None;
            }
            element = Some(seen);
        } else if is_compatible_polymorphic(to) {
            compatible.push(seen);
        }
    }
    let element = element.unwrap_or(Oid::TEXT);
    let common = resolve_common_type("", &compatible).ok()?;
    let convertible = |from: &Oid| find_cast(*from, common, CastContext::Implicit).is_some();
    if !compatible.iter().all(convertible) {
        return None;
    }
    let concrete = |oid: Oid| match oid {
        Oid::ANYELEMENT | Oid::ANYNONARRAY | Oid::ANYENUM => Some(element),
        Oid::ANYARRAY => array_of(element),
        Oid::ANYCOMPATIBLE | Oid::ANYCOMPATIBLENONARRAY => Some(common),
        Oid::ANYCOMPATIBLEARRAY => array_of(common),
        other => Some(other),
    };
    let args = declared.iter().map(|d| concrete(*d)).collect::<Option<Vec<_>>>()?;
    Some((args, concrete(result)?))
}

/// `"any"` takes each argument as it is; quoted literals become text.
fn settle_any(inputs: &[Oid], mut args: Vec<Oid>) -> Vec<Oid> {
    for (arg, input) in args.iter_mut().zip(inputs) {
        if *arg == Oid::ANY {
            *arg = if *input == Oid::UNKNOWN { Oid::TEXT } else { *input };
        }
    }
    args
}

fn finish_function(chosen: Candidate<&'static Function>, inputs: &[Oid]) -> SqlResult<Resolved> {
    let function = chosen.item;
    let (args, result) = settle(inputs, &chosen.args, function.result)?;
    Ok(Resolved { function, args, result, variadic_from: chosen.variadic_from })
}

fn finish_operator(
    chosen: Candidate<&'static Operator>,
    inputs: &[Oid],
) -> SqlResult<(&'static Operator, Resolved)> {
    let operator = chosen.item;
    let function = function_by_oid(operator.function)
        .ok_or_else(|| SqlError::internal(format!("operator {} without function", operator.oid)))?;
    let (args, result) = settle(inputs, &chosen.args, operator.result)?;
    Ok((operator, Resolved { function, args, result, variadic_from: None }))
}

fn settle(inputs: &[Oid], declared: &[Oid], result: Oid) -> SqlResult<(Vec<Oid>, Oid)> {
    let all_unknown =
        inputs.iter().zip(declared).all(|(i, d)| *i == Oid::UNKNOWN || !is_simple_polymorphic(*d));
    if all_unknown && declared.iter().any(|d| is_simple_polymorphic(*d)) {
        return Err(SqlError::new(
            state::DATATYPE_MISMATCH,
            "could not determine polymorphic type because input has type unknown",
        ));
    }
    let (args, result) = resolve_polymorphic(inputs, declared, result)
        .ok_or_else(|| SqlError::internal("a chosen candidate does not fit its arguments"))?;
    Ok((settle_any(inputs, args), result))
}

fn function_candidate(
    f: &'static Function,
    args: &[Oid],
    variadic_array: bool,
) -> Option<Candidate<&'static Function>> {
    if f.variadic && !variadic_array {
        let fixed = f.args.len() - 1;
        // Even a variadic function wants at least one argument in its place.
        if args.len() <= fixed {
            return None;
        }
        let last = f.args[fixed];
        let repeated = if last == Oid::ANY { last } else { variadic_element(last)? };
        let mut declared = f.args[..fixed].to_vec();
        declared.resize(args.len(), repeated);
        let variadic_from = (last != Oid::ANY).then_some(fixed);
        return Some(Candidate { item: f, args: declared, variadic_from });
    }
    if variadic_array && !f.variadic || f.args.len() != args.len() {
        return None;
    }
    Some(Candidate { item: f, args: f.args.to_vec(), variadic_from: None })
}

fn variadic_element(array: Oid) -> Option<Oid> {
    match array {
        Oid::ANYARRAY => Some(Oid::ANYELEMENT),
        Oid::ANYCOMPATIBLEARRAY => Some(Oid::ANYCOMPATIBLE),
        other => element_of(other),
    }
}

/// A call with one argument by a type's name means a cast, unless a function fits exactly.
fn coercion_by_name(name: &str, args: &[Oid]) -> Option<Oid> {
    let [from] = args else { return None };
    // Only real type names (int4, text), not the grammar's spellings.
    let to =
        type_by_name(name).filter(|to| type_info(*to).is_some_and(|t| t.name == name && !t.is_pseudo()))?;
    let castable = *from == Oid::UNKNOWN || is_binary_coercible(*from, to);
    castable.then_some(to)
}

enum Selection<T> {
    None,
    One(Candidate<T>),
    Many,
}

/// With one of two operands unknown, try first as if it were of the other's type.
fn assume_same_type(args: &[Oid]) -> Vec<Oid> {
    match args {
        [Oid::UNKNOWN, known] | [known, Oid::UNKNOWN] => vec![*known, *known],
        _ => args.to_vec(),
    }
}

/// PostgreSQL's func_select_candidate: `candidates` all fit; which one is meant?
fn select<T: Clone>(mut candidates: Vec<Candidate<T>>, args: &[Oid]) -> Selection<T> {
    let exact = |c: &Candidate<T>| {
        args.iter().zip(&c.args).filter(|(a, d)| **a != Oid::UNKNOWN && matches_exactly(**a, **d)).count()
    };
    let preferred = |c: &Candidate<T>| {
        args.iter()
            .zip(&c.args)
            .filter(|(a, d)| {
                **a != Oid::UNKNOWN
                    && (matches_exactly(**a, **d) || (is_preferred(**d) && category(**a) == category(**d)))
            })
            .count()
    };
    keep_best(&mut candidates, exact);
    if candidates.len() > 1 {
        keep_best(&mut candidates, preferred);
    }
    if candidates.len() > 1 && args.contains(&Oid::UNKNOWN) {
        resolve_unknown(&mut candidates, args);
    }
    match candidates.len() {
        0 => Selection::None,
        1 => candidates.pop().map_or(Selection::None, Selection::One),
        _ => Selection::Many,
    }
}

fn matches_exactly(actual: Oid, declared: Oid) -> bool {
    actual == declared
}

fn keep_best<T>(candidates: &mut Vec<Candidate<T>>, score: impl Fn(&Candidate<T>) -> usize) {
    let best = candidates.iter().map(&score).max().unwrap_or(0);
    candidates.retain(|c| score(c) == best);
}

/// Unknown arguments: by category, strings first; then by the preferred type; then as the known arguments.
fn resolve_unknown<T>(candidates: &mut Vec<Candidate<T>>, args: &[Oid]) {
    let mut slots: Vec<Option<(u8, bool)>> = vec![None; args.len()];
    let mut resolved = true;
    for (i, _) in args.iter().enumerate().filter(|(_, a)| **a == Oid::UNKNOWN) {
        let categories: Vec<(u8, bool)> =
            candidates.iter().map(|c| (category(c.args[i]), is_preferred(c.args[i]))).collect();
        let chosen = if categories.iter().any(|(c, _)| *c == b'S') {
            b'S'
        } else if categories.iter().all(|(c, _)| *c == categories[0].0) {
            categories[0].0
        } else {
            resolved = false;
            break;
        };
        slots[i] = Some((chosen, categories.iter().any(|(c, p)| *c == chosen && *p)));
    }
    if resolved {
        let fits = |c: &Candidate<T>| {
            slots.iter().zip(&c.args).all(|(slot, declared)| match slot {
                None => true,
                Some((cat, preferred)) => {
                    category(*declared) == *cat && (!*preferred || is_preferred(*declared))
                }
            })
        };
        if candidates.iter().any(fits) {
            candidates.retain(fits);
        }
    }
    if candidates.len() <= 1 {
        return;
    }
    let mut known = args.iter().copied().filter(|a| *a != Oid::UNKNOWN);
    let Some(first) = known.next() else { return };
    if known.any(|k| k != first) {
        return;
    }
    let as_known = |c: &Candidate<T>| {
        c.args.iter().all(|declared| can_coerce_one(first, *declared, CastContext::Implicit))
    };
    if candidates.iter().filter(|c| as_known(c)).count() == 1 {
        candidates.retain(as_known);
    }
}

fn category(oid: Oid) -> u8 {
    type_info(oid).map_or(b'U', |t| t.category)
}

fn is_preferred(oid: Oid) -> bool {
    type_info(oid).is_some_and(|t| t.preferred)
}

fn signature(name: &str, args: &[Oid]) -> String {
    let args: Vec<String> = args.iter().map(|a| type_name(*a)).collect();
    format!("{name}({})", args.join(", "))
}
