//! Histories in a line a transaction: `ok 0 ax1 rx[1] ry[]`, by outcome, client and micro-operations; or, with invocations,
//! `> 0 ax1 rx_` and `< ok 0 ax1 rx[1]`. Without them each transaction of a client without a `>` is invoked at the very
//! beginning, so that all overlap.

use meridian_jepsen::history::{Event, History, Kind, MicroOp, Names, Seen, Txn};

pub fn read(text: &str) -> History<Txn> {
    let (events, names) = events(text);
    History::new(events, names).expect("well-formed")
}

pub fn events(text: &str) -> (Vec<Event<Txn>>, Names) {
    let mut names = Names::default();
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    let mut events = Vec::new();
    let has_invocations = lines.iter().any(|l| l[0] == ">");
    // Every line is a client of its own then: what a client says in its session is not meant.
    if !has_invocations {
        for (client, line) in lines.iter().enumerate() {
            events.push(event(Kind::Invoke, client as i64, &line[2..], &mut names));
        }
    }
    for (client, line) in lines.iter().enumerate() {
        match line[0] {
            ">" => events.push(event(Kind::Invoke, number(line[1]), &line[2..], &mut names)),
            "<" => events.push(event(kind(line[1]), number(line[2]), &line[3..], &mut names)),
            outcome => events.push(event(kind(outcome), client as i64, &line[2..], &mut names)),
        }
    }
    (events, names)
}

fn number(word: &str) -> i64 {
    word.parse().expect("a number")
}

fn kind(word: &str) -> Kind {
    match word {
        "ok" => Kind::Ok,
        "fail" => Kind::Fail,
        "info" => Kind::Info,
        other => panic!("{other}"),
    }
}

fn event(kind: Kind, process: i64, words: &[&str], names: &mut Names) -> Event<Txn> {
    let value = words
        .iter()
        .map(|word| {
            let key = names.text(&format!(":{}", &word[1..2]));
            let argument = &word[2..];
            match &word[..1] {
                "a" => MicroOp::Append { key, element: names.int(number(argument)) },
                "w" => MicroOp::Write { key, value: names.int(number(argument)) },
                "r" if argument == "_" || kind != Kind::Ok => MicroOp::Read { key, seen: Seen::Nil },
                "r" => match argument.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
                    None => MicroOp::Read { key, seen: Seen::Value(names.int(number(argument))) },
                    Some(list) => {
                        let list = list.split(',').filter(|e| !e.is_empty());
                        MicroOp::Read { key, seen: Seen::List(list.map(|e| names.int(number(e))).collect()) }
                    }
                },
                other => panic!("{other}"),
            }
        })
        .collect();
    Event { index: None, process: Some(process), kind, time: None, value }
}
