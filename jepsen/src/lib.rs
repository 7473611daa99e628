//! Reads a history of what clients asked of a database and were told, and says which isolation level it refutes.
//!
//! `check` holds the checkers: dependency graphs over transactions in the manner of Elle, and a search for an order of
//! single operations in the manner of Wing and Gong. They are pure functions of a `history`; `edn` is the form in which
//! Jepsen and Elle exchange histories. `workload` is what makes them: what clients do, and what must be true of it; `generate`
//! makes them without a database.
//!
//! A program that makes its own history needs no text:
//!
//! ```
//! use meridian_jepsen::check::{Model, Verdict, list_append};
//! use meridian_jepsen::history::{Event, History, Kind, MicroOp, Names, Seen};
//!
//! let mut names = Names::default();
//! let (x, one) = (names.text(":x"), names.int(1));
//! let event = |process, kind, op| Event { index: None, process: Some(process), kind, time: None, value: vec![op] };
//! let append = || MicroOp::Append { key: x, element: one };
//! let read = || MicroOp::Read { key: x, seen: Seen::Nil };
//! let events = vec![
//!     event(0, Kind::Invoke, append()),
//!     event(0, Kind::Ok, append()),
//!     event(1, Kind::Invoke, read()),
//!     event(1, Kind::Ok, read()),
//! ];
//! let history = History::new(events, names)?;
//! let report = list_append::check(&history, Model::StrictSerializable)?;
//! assert_eq!(report.verdict(), Verdict::Invalid);
//! assert_eq!(report.names(), ["G-single-realtime"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What must stay true: nothing here reads a clock, starts a thread or opens a file, so that the simulator can check what
//! it made in the same process. A module uses only those declared below it.

pub mod generate;
pub mod workload;
pub mod check;
pub mod history;
pub mod edn;
