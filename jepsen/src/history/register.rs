//! One operation on one register: read, write, compare-and-set.
//!
//! Three spellings of the key, as Jepsen's tests have them: none (`{:f :read, :value 3}`), a field of its own (`:key x`), or
//! the first of a pair (`:value [x 3]`, for compare-and-set `[x [3 4]]`): a register's values are no vectors. Transactions
//! of one micro-operation are taken too: `{:f :txn, :value [[:r x 3]]}`.

use std::fmt::Write;

use super::event::{Kind, Value};
use super::names::{Names, Symbol};
use crate::edn::Edn;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterOp {
    /// The only register has no key.
    pub key: Option<Symbol>,
    pub f: RegisterFn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterFn {
    /// What it saw; `None` is the initial state, or not known yet.
    Read(Option<Symbol>),
    Write(Symbol),
    /// Sets the second value if the first is there, and fails if not. The initial state cannot be asked for.
    Cas(Symbol, Symbol),
}

fn sequence<'e, 'a>(form: &'e Edn<'a>) -> Option<&'e [Edn<'a>]> {
    match form {
        Edn::Vector(parts) | Edn::List(parts) => Some(parts),
        _ => None,
    }
}

/// The only micro-operation of a transaction.
fn single<'e, 'a>(txn: &'e Edn<'a>) -> Result<(&'static str, Option<&'e Edn<'a>>, &'e Edn<'a>), String> {
    let Some([one]) = sequence(txn) else { return Err(format!("`{txn}` is not one micro-operation")) };
    let Some([Edn::Key(f), key, value]) = sequence(one) else {
        return Err(format!("`{one}` is not a micro-operation"));
    };
    let names = [("r", "read"), ("w", "write"), ("cas", "cas")];
    match names.into_iter().find(|(short, _)| f == short) {
        Some((_, f)) => Ok((f, Some(key), value)),
        None => Err(format!("`:{f}` is none of the micro-operations :r, :w and :cas")),
    }
}

impl Value for RegisterOp {
    fn read(
        f: Option<&Edn<'_>>,
        key: Option<&Edn<'_>>,
        value: Option<&Edn<'_>>,
        kind: Kind,
        names: &mut Names,
    ) -> Result<Option<Self>, String> {
        let nil = Edn::Nil;
        let value = value.unwrap_or(&nil);
        let f = match f {
            Some(Edn::Key(f)) => &f[..],
            _ => return Ok(None),
        };
        let (f, key, value) = match f {
            "txn" => single(value)?,
            "read" | "write" | "cas" => {
                let pair = sequence(value).filter(|parts| {
                    parts.len() == 2 && key.is_none() && (f != "cas" || sequence(&parts[1]).is_some())
                });
                let (key, value) = pair.map_or((key, value), |parts| (Some(&parts[0]), &parts[1]));
                (f, key, value)
            }
            _ => return Ok(None),
        };
        let key = key.map(|k| names.edn(k));
        let f = match (f, value, sequence(value)) {
            ("read", _, _) if kind != Kind::Ok => RegisterFn::Read(None),
            ("read", Edn::Nil, _) => RegisterFn::Read(None),
            ("read", _, None) => RegisterFn::Read(Some(names.edn(value))),
            ("write", _, None) if *value != Edn::Nil => RegisterFn::Write(names.edn(value)),
            ("cas", _, Some([old, new])) => RegisterFn::Cas(names.edn(old), names.edn(new)),
            _ => return Err(format!("`{value}` is not what :{f} takes")),
        };
        Ok(Some(RegisterOp { key, f }))
    }

    fn write(&self, names: &Names, out: &mut String) {
        let _ = match &self.f {
            RegisterFn::Read(None) => write!(out, ":f :read, :value nil"),
            RegisterFn::Read(Some(v)) => write!(out, ":f :read, :value {}", names.show(*v)),
            RegisterFn::Write(v) => write!(out, ":f :write, :value {}", names.show(*v)),
            RegisterFn::Cas(old, new) => {
                write!(out, ":f :cas, :value [{} {}]", names.show(*old), names.show(*new))
            }
        };
        if let Some(key) = self.key {
            let _ = write!(out, ", :key {}", names.show(key));
        }
    }

    fn completes(&self, invocation: &Self) -> bool {
        self.key == invocation.key
            && match (&self.f, &invocation.f) {
                (RegisterFn::Read(_), RegisterFn::Read(_)) => true,
                (done, asked) => done == asked,
            }
    }
}
