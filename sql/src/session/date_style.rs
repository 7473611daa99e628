//! How a value of DateStyle reads: a style of output and an order of a date's fields.
//!
//! What must stay true: what is not mentioned stays as it is; only a German style without an order brings its own. What
//! is mentioned twice has to be the same.

/// `now` and `default` are such as this gives: `ISO, MDY`. The error says what is wrong, for a DETAIL.
pub fn date_style(value: &str, now: &str, default: &str) -> Result<String, String> {
    let (mut style, mut order) = (None, None);
    let mut rest = Rest::Now;
    for word in value.split(',').map(|w| w.trim().to_ascii_lowercase()) {
        match word.as_str() {
            "iso" => mention(&mut style, "ISO")?,
            "sql" => mention(&mut style, "SQL")?,
            "german" => mention(&mut style, "German")?,
            w if w.starts_with("postgres") => mention(&mut style, "Postgres")?,
            "ymd" => mention(&mut order, "YMD")?,
            "dmy" => mention(&mut order, "DMY")?,
            w if w.starts_with("euro") => mention(&mut order, "DMY")?,
            "mdy" | "us" => mention(&mut order, "MDY")?,
            w if w.starts_with("noneuro") => mention(&mut order, "MDY")?,
            "default" => rest = Rest::Default,
            "" if value.trim().is_empty() => {}
            _ => return Err(format!("Unrecognized key word: \"{word}\".")),
        }
    }
    let (old_style, old_order) = match rest {
        Rest::Now => now,
        Rest::Default => default,
    }
    .split_once(", ")
    .unwrap_or(("ISO", "MDY"));
    let old_order = if style == Some("German") { "DMY" } else { old_order };
    Ok(format!("{}, {}", style.unwrap_or(old_style), order.unwrap_or(old_order)))
}

/// Where what is not mentioned comes from.
enum Rest {
    Now,
    Default,
}

fn mention(slot: &mut Option<&'static str>, what: &'static str) -> Result<(), String> {
    match slot.replace(what) {
        Some(other) if other != what => Err("Conflicting \"datestyle\" specifications.".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::date_style;

    #[test]
    fn what_is_not_mentioned_stays() {
        for (value, now, expected) in [
            ("iso", "SQL, DMY", "ISO, DMY"),
            ("YMD", "ISO, DMY", "ISO, YMD"),
            ("german", "ISO, YMD", "German, DMY"),
            ("mdy, german", "ISO, YMD", "German, MDY"),
            ("sql", "German, MDY", "SQL, MDY"),
            ("iso, iso", "SQL, MDY", "ISO, MDY"),
            ("default, sql", "ISO, DMY", "SQL, MDY"),
            ("european, german", "Postgres, MDY", "German, DMY"),
            ("postgresql", "ISO, MDY", "Postgres, MDY"),
            ("", "SQL, DMY", "SQL, DMY"),
        ] {
            assert_eq!(date_style(value, now, "ISO, MDY").as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for value in ["iso, sql", "dmy, mdy"] {
            let detail = date_style(value, "ISO, MDY", "ISO, MDY").expect_err(value);
            assert_eq!(detail, "Conflicting \"datestyle\" specifications.");
        }
        let detail = date_style("isoxx", "ISO, MDY", "ISO, MDY").expect_err("no such word");
        assert_eq!(detail, "Unrecognized key word: \"isoxx\".");
    }
}
