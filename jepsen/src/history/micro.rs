//! Transactions of micro-operations: `[:append k v]`, `[:w k v]`, `[:r k seen]`.

use std::fmt::Write;

use super::event::{Kind, Value};
use super::names::{Names, Symbol};
use crate::edn::Edn;

/// A transaction's requests, in order, with what the reads saw.
pub type Txn = Vec<MicroOp>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MicroOp {
    /// Adds an element at the end of a list.
    Append {
        key: Symbol,
        element: Symbol,
    },
    /// Sets a register.
    Write {
        key: Symbol,
        value: Symbol,
    },
    Read {
        key: Symbol,
        seen: Seen,
    },
}

/// What a read saw; nothing at all unless its transaction is known to have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// `nil`: the initial state. In an invocation, that nothing is known yet.
    Nil,
    Value(Symbol),
    List(Box<[Symbol]>),
}

impl MicroOp {
    pub fn key(&self) -> Symbol {
        match self {
            MicroOp::Append { key, .. } | MicroOp::Write { key, .. } | MicroOp::Read { key, .. } => *key,
        }
    }

    /// The key and what is written to it.
    pub fn written(&self) -> Option<(Symbol, Symbol)> {
        match self {
            MicroOp::Append { key, element: new } | MicroOp::Write { key, value: new } => Some((*key, *new)),
            MicroOp::Read { .. } => None,
        }
    }

    fn read(form: &Edn<'_>, kind: Kind, names: &mut Names) -> Result<MicroOp, String> {
        let (Edn::Vector(parts) | Edn::List(parts)) = form else {
            return Err(format!("`{form}` is not a micro-operation"));
        };
        let [Edn::Key(f), key, rest @ ..] = &parts[..] else {
            return Err(format!("`{form}` is not a micro-operation"));
        };
        let argument = match rest {
            [] => &Edn::Nil,
            [one] => one,
            _ => return Err(format!("`{form}` has more than three parts")),
        };
        let key = names.edn(key);
        match (&f[..], argument) {
            ("append" | "w", Edn::Nil) => Err(format!("`{form}` writes nothing")),
            ("append", element) => Ok(MicroOp::Append { key, element: names.edn(element) }),
            ("w", value) => Ok(MicroOp::Write { key, value: names.edn(value) }),
            // What an uncertain transaction says it read is worth nothing.
            ("r", _) if kind != Kind::Ok => Ok(MicroOp::Read { key, seen: Seen::Nil }),
            ("r", Edn::Nil) => Ok(MicroOp::Read { key, seen: Seen::Nil }),
            ("r", Edn::Vector(list) | Edn::List(list)) => {
                let list = list.iter().map(|e| names.edn(e)).collect();
                Ok(MicroOp::Read { key, seen: Seen::List(list) })
            }
            ("r", value) => Ok(MicroOp::Read { key, seen: Seen::Value(names.edn(value)) }),
            (f, _) => Err(format!("`:{f}` is none of the micro-operations :append, :w and :r")),
        }
    }

    /// As EDN.
    pub fn write(&self, names: &Names, out: &mut String) {
        let _ = match self {
            MicroOp::Append { key, element } => {
                write!(out, "[:append {} {}]", names.show(*key), names.show(*element))
            }
            MicroOp::Write { key, value } => write!(out, "[:w {} {}]", names.show(*key), names.show(*value)),
            MicroOp::Read { key, seen: Seen::Nil } => write!(out, "[:r {} nil]", names.show(*key)),
            MicroOp::Read { key, seen: Seen::Value(v) } => {
                write!(out, "[:r {} {}]", names.show(*key), names.show(*v))
            }
            MicroOp::Read { key, seen: Seen::List(list) } => {
                let _ = write!(out, "[:r {} [", names.show(*key));
                for (i, e) in list.iter().enumerate() {
                    let _ = write!(out, "{}{}", if i == 0 { "" } else { " " }, names.show(*e));
                }
                write!(out, "]]")
            }
        };
    }
}

impl Value for Txn {
    fn read(
        f: Option<&Edn<'_>>,
        _key: Option<&Edn<'_>>,
        value: Option<&Edn<'_>>,
        kind: Kind,
        names: &mut Names,
    ) -> Result<Option<Self>, String> {
        if !matches!(f, None | Some(Edn::Nil)) && !matches!(f, Some(Edn::Key(f)) if f == "txn") {
            return Ok(None);
        }
        match value {
            Some(Edn::Vector(ops) | Edn::List(ops)) => {
                ops.iter().map(|op| MicroOp::read(op, kind, names)).collect::<Result<_, _>>().map(Some)
            }
            // A completion need not repeat the request.
            None | Some(Edn::Nil) if matches!(kind, Kind::Fail | Kind::Info) => Ok(Some(Vec::new())),
            other => Err(match other {
                Some(form) => format!("`{form}` is not a list of micro-operations"),
                None => "the event has no :value".into(),
            }),
        }
    }

    fn write(&self, names: &Names, out: &mut String) {
        out.push_str(":f :txn, :value [");
        for (i, op) in self.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { " " });
            op.write(names, out);
        }
        out.push(']');
    }

    fn completes(&self, invocation: &Self) -> bool {
        self.len() == invocation.len()
            && self.iter().zip(invocation).all(|(done, asked)| match (done, asked) {
                (MicroOp::Read { key, .. }, MicroOp::Read { key: asked, .. }) => key == asked,
                _ => done == asked,
            })
    }
}
