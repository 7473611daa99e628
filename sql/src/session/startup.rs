//! The parameter `options` of a connection: command-line arguments for the session.

use super::settings::Settings;
use crate::error::{SqlError, SqlResult, state};

/// `-c name=value` and `--name=value`, as libpq's `options` has them.
pub(super) fn apply_options(settings: &mut Settings, options: &str) -> SqlResult<()> {
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c").filter(|w| !w.is_empty()))
        {
            Some(pair) => pair.to_string(),
            None if word == "-c" => words.next().unwrap_or_default(),
            None => {
                return Err(SqlError::new(
                    state::SYNTAX_ERROR,
                    format!("invalid command-line argument for server process: {word}"),
                ));
            }
        };
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| SqlError::new(state::SYNTAX_ERROR, format!("-c {pair} requires a value")))?;
        settings.set_at_startup(&name.replace('-', "_"), value)?;
    }
    Ok(())
}

/// Separated by spaces; a backslash takes the meaning from a space, or from another backslash.
fn words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_backslash_keeps_a_space_in_a_word() {
        assert_eq!(words("-c  a=b\t--c=d"), ["-c", "a=b", "--c=d"]);
        assert_eq!(words(r"-c a=read\ committed \\x"), ["-c", "a=read committed", r"\x"]);
        assert_eq!(words(r" \  end\"), [" ", "end"]);
    }
}
