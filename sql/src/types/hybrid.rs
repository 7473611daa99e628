//! Hybrid timestamps as SQL writes them, which is as CockroachDB does: a decimal, nanoseconds since the Unix epoch before the
//! point, the counter in ten digits behind it. `cluster_logical_timestamp()` says them, AS OF SYSTEM TIME takes them.

use meridian_storage::base::Timestamp;

use super::Numeric;

/// Digits of the counter: those of the largest there is.
const SCALE: u16 = 10;
const UNIT: i128 = 10_i128.pow(SCALE as u32);
/// Decimals are told from dates, which may be written as one number, too (`20240229123000`), by their length: fewer digits
/// mean a time within a day of the epoch.
const WALL_DIGITS: usize = 15;

pub fn to_numeric(at: Timestamp) -> Numeric {
    Numeric::from_i128(i128::from(at.wall) * UNIT + i128::from(at.logical), SCALE)
}

/// `None`: there is no such timestamp.
pub fn from_numeric(number: &Numeric) -> Option<Timestamp> {
    let value = number.to_i128(SCALE)?;
    let (wall, logical) = (u64::try_from(value / UNIT).ok()?, u32::try_from(value % UNIT).ok()?);
    Some(Timestamp::new(wall, logical))
}

/// Whether a text is meant to be one.
pub fn is_decimal(text: &str) -> bool {
    let (wall, logical) = text.split_once('.').unwrap_or((text, ""));
    wall.len() >= WALL_DIGITS && [wall, logical].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_can_be_asked_for() {
        for at in [
            Timestamp::new(1_580_361_670_629_466_905, 1),
            Timestamp::new(1, 0),
            Timestamp::MAX,
            Timestamp::new(1_700_000_000_000_000_000, u32::MAX),
        ] {
            let said = to_numeric(at).to_string();
            assert!(at.wall == 1 || is_decimal(&said), "{said}");
            assert_eq!(from_numeric(&Numeric::parse(&said).expect("a number")), Some(at), "{said}");
        }
        let said = to_numeric(Timestamp::new(1_580_361_670_629_466_905, 1)).to_string();
        assert_eq!(said, "1580361670629466905.0000000001");
    }

    #[test]
    fn what_is_none_is_known() {
        for text in ["-1", "1.00000000001", "1.9999999999", "18446744073709551616", "NaN"] {
            assert_eq!(from_numeric(&Numeric::parse(text).expect("a number")), None, "{text}");
        }
        for text in ["20240229123000", "2024-02-29", "-10s", "1580361670629466905.1.1", ""] {
            assert!(!is_decimal(text), "{text}");
        }
    }
}
