//! The specification's random values (clauses 2.1.6, 4.3.2).

use rand::Rng;
use rand::rngs::StdRng;

/// A number from `low` to `high`, both included.
pub fn number(rng: &mut StdRng, low: i32, high: i32) -> i32 {
    rng.random_range(low..=high)
}

/// Non-uniform numbers, with the run's constant C.
pub fn nurand(rng: &mut StdRng, a: i32, c: i32, low: i32, high: i32) -> i32 {
    (((number(rng, 0, a) | number(rng, low, high)) + c) % (high - low + 1)) + low
}

/// C of customer ids, item ids and last names; the load and the run may differ as clause 2.1.6.1 allows.
pub const C_CUSTOMER: i32 = 259;
pub const C_ITEM: i32 = 7911;
pub const C_LAST_LOAD: i32 = 157;
pub const C_LAST_RUN: i32 = 223;

pub fn customer(rng: &mut StdRng, customers: i32) -> i32 {
    nurand(rng, 1023, C_CUSTOMER, 1, customers)
}

pub fn item(rng: &mut StdRng, items: i32) -> i32 {
    nurand(rng, 8191, C_ITEM, 1, items)
}

/// A last name by its number, 0 to 999.
pub fn last_name(n: i32) -> String {
    const PARTS: [&str; 10] =
        ["BAR", "OUGHT", "ABLE", "PRI", "PRES", "ESE", "ANTI", "CALLY", "ATION", "EING"];
    let part = |n: i32| PARTS[(n % 10) as usize];
    format!("{}{}{}", part(n / 100), part(n / 10), part(n))
}

pub fn letters(rng: &mut StdRng, low: usize, high: usize) -> String {
    let n = rng.random_range(low..=high);
    (0..n).map(|_| rng.random_range(b'a'..=b'z') as char).collect()
}

pub fn digits(rng: &mut StdRng, n: usize) -> String {
    (0..n).map(|_| rng.random_range(b'0'..=b'9') as char).collect()
}

/// Data with ORIGINAL in one of ten.
pub fn data(rng: &mut StdRng) -> String {
    let mut s = letters(rng, 26, 50);
    if number(rng, 1, 10) == 1 {
        let at = rng.random_range(0..=s.len() - 8);
        s.replace_range(at..at + 8, "ORIGINAL");
    }
    s
}

/// Cents as a decimal.
pub fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}
