//! What the tests share: a short notation for histories, databases that make valid ones, and an exact checker.
#![allow(dead_code)]

pub mod database;
pub mod exact;
pub mod short;
