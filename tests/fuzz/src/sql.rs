//! Text, through parsing, binding and planning over a fixed catalog.
//!
//! Whatever the text: it is planned or refused, and soon; no panic, no end of the stack. What begins with a byte of text is
//! text; else every byte is a word of [`WORDS`], which gets further.

use meridian_sql::parse;

use super::database::{plan_with, with_stack};

/// What statements are made of.
const WORDS: &str = "
SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET DISTINCT ON ALL AS JOIN LEFT RIGHT FULL CROSS INNER NATURAL USING
LATERAL UNION INTERSECT EXCEPT VALUES WITH RECURSIVE MATERIALIZED INSERT INTO UPDATE SET DELETE RETURNING CONFLICT DO
NOTHING DEFAULT MERGE WHEN MATCHED THEN ELSE END CASE CAST NULL IS NOT AND OR IN EXISTS ANY SOME BETWEEN LIKE ILIKE
SIMILAR TO ESCAPE TRUE FALSE UNKNOWN ARRAY ROW OVER PARTITION ROWS RANGE GROUPS UNBOUNDED PRECEDING FOLLOWING CURRENT
WINDOW FILTER WITHIN ROLLUP CUBE GROUPING SETS FOR SHARE KEY NO NOWAIT SKIP LOCKED OF COLLATE AT TIME ZONE EXTRACT
EXPLAIN ANALYZE VERBOSE CREATE TABLE INDEX UNIQUE VIEW SEQUENCE ALTER ADD DROP COLUMN CONSTRAINT PRIMARY FOREIGN
REFERENCES CHECK IF TRUNCATE COPY STDIN BEGIN COMMIT ROLLBACK SAVEPOINT DECLARE CURSOR FETCH CLOSE PREPARE EXECUTE
DEALLOCATE SHOW RESET ISOLATION LEVEL SERIALIZABLE TRANSACTION READ ONLY ASC DESC NULLS FIRST LAST INTERVAL
t u w s v q a b c d e f g h i j k l x y z n r id both pg_class pg_attribute information_schema.tables pg_catalog
excluded old ctid xmin tableoid
( ) , . ; * + - / % ^ = <> < > <= >= || :: [ ] : ~ !~ @> <@ && -> ->> #> ? & | # << >> $1 $2 $3
0 1 2 -1 1.5 1e10 1e400 9223372036854775807 2147483648 0x1f '' 'a' 'abc%' '2024-01-01' '{1,2}' '{\"a\":1}' 'infinity' 'NaN'
E'\\x00' U&'\\0061' B'101' $$x$$ \"t\" \"A b\" t.* u.* t.a u.a public.t
int bigint smallint numeric(5,2) text varchar(3) char(2) bool float8 real date timestamp timestamptz time interval uuid
jsonb json bytea int[] text[] regclass oid name numeric record void
count(*) count sum avg min max string_agg array_agg bool_and row_number() rank() lag lead first_value generate_series
unnest coalesce nullif greatest least abs round trunc length substring position overlay trim upper lower replace
concat format to_char to_number date_trunc date_part now() current_date current_user random() nextval currval
pg_typeof array_length jsonb_agg jsonb_build_object regexp_replace regexp_matches md5 repeat lpad width_bucket power
";

pub fn run(input: &[u8]) {
    match input.first() {
        Some(first) if *first >= 0x80 => plan(&of_words(&input[1..])),
        _ => plan(&String::from_utf8_lossy(input)),
    }
}

fn of_words(input: &[u8]) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut text = String::new();
    // One byte does not name them all: two that follow one another do.
    let mut shift = 0;
    for byte in input {
        match byte {
            0xff => shift = 128,
            byte => {
                text.push_str(words[(usize::from(*byte) + shift) % words.len()]);
                text.push(' ');
                shift = 0;
            }
        }
    }
    text
}

fn plan(text: &str) {
    with_stack(|| {
        let _ = parse::parse(text);
        let _ = parse::parse_expression(text);
        let _ = parse::parse_data_type(text);
        plan_with(|runtime, session| {
            if runtime.block_on(session.parse("", text, &[])).is_ok() {
                let _ = session.describe_statement("");
            }
        });
    });
}
