//! The PostgreSQL protocol, versions 3.0 and 3.2, over any byte stream.
//!
//! `server` accepts sockets; `startup` negotiates and authenticates; `connection` is the message loop around one
//! [`meridian_sql::session::Session`]; `frontend` decodes what clients send; `backend` and `rows` encode what they get.
//!
//! What must stay true:
//! - Nothing is written to the socket between Flush and Sync unless the buffer is large: one write call answers one
//!   pipeline. A client that does not read slows its own query and nothing else.
//! - A malformed message is answered with `08P01` and the connection closed; the process lives on. No text that is
//!   not UTF-8 gets past `frontend`.
//! - After an error in the extended protocol, everything up to the next Sync is skipped.
//!
//! The backend messages and the startup exchange are the `pgwire` crate's. Messages of the query phase are decoded here:
//! the crate replaces invalid UTF-8 silently and assumes that counts inside a message are true.

pub mod server;
pub mod doorman;
mod startup;
mod connection;
mod rows;
mod backend;
mod frontend;
pub mod cancel;
