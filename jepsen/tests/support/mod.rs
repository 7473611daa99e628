//! What the tests share: a short notation for histories, and an exact checker.
#![allow(dead_code)]

pub mod exact;
pub mod short;
