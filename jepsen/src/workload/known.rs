//! What clients know of what they have made, each thing under an id that nobody else uses; and what a look at all of it must
//! therefore show.
//!
//! What must stay true: a thing is entered before its first message is sent. `There` and `Gone` are said only of what was
//! acknowledged, `Refused` only of what surely was never there; a look is held to what was known when it began, and to what
//! has turned out since.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::asking::Told;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It may be there, now or later.
    Open,
    There,
    /// It was there, and was taken away.
    Gone,
    /// It was never there, and never will be.
    Refused,
}

impl State {
    /// Of what a transaction was to make.
    pub fn made<T>(told: &Told<T>) -> State {
        match told {
            Told::Done(_) => State::There,
            Told::Refused(_) => State::Refused,
            Told::Unknown(_) => State::Open,
        }
    }

    /// Of what was there, and a transaction was to take away.
    pub fn taken<T>(told: &Told<T>) -> State {
        match told {
            Told::Done(_) => State::Gone,
            Told::Refused(_) => State::There,
            Told::Unknown(_) => State::Open,
        }
    }
}

/// States by id.
pub type States = BTreeMap<String, State>;

#[derive(Default)]
pub struct Known(Mutex<States>);

impl Known {
    pub fn set(&self, id: &str, state: State) {
        self.0.lock().insert(id.into(), state);
    }

    pub fn now(&self) -> States {
        self.0.lock().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// One of those that are there, as `at` chooses from so many; nothing is known of it from now on.
    pub fn open_one(&self, at: impl FnOnce(u64) -> u64) -> Option<String> {
        let mut states = self.0.lock();
        let there: Vec<&String> =
            states.iter().filter(|(_, state)| **state == State::There).map(|(id, _)| id).collect();
        let at = at(there.len() as u64) as usize;
        let id = there.get(at).map(|id| id.to_string())?;
        states.insert(id.clone(), State::Open);
        Some(id)
    }
}

/// What is wrong with a look at everything. `before`: what was known when it began; `now`: when it has ended.
pub fn wrong(before: &States, now: &States, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let wrong = |(id, state): (&String, &State)| {
        let known = before.get(id).copied().unwrap_or(State::Open);
        match (known, *state, is_there(id)) {
            // Whoever is about to take it away may have done so already.
            (State::There, State::There, false) => Some(format!("acknowledged, but not there: {id}")),
            // Nobody may ever see it, however long it took until its client knew.
            (_, State::Refused, true) => Some(format!("refused, but there: {id}")),
            (State::Gone, _, true) => Some(format!("taken away, but there: {id}")),
            _ => None,
        }
    };
    now.iter().filter_map(wrong).collect()
}

/// Ids that nobody has made.
pub fn strangers<'a>(now: &States, seen: impl Iterator<Item = &'a str>) -> Vec<String> {
    seen.filter(|id| !now.contains_key(*id)).map(|id| format!("nobody made {id}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::client::Refusal;
    use super::*;

    fn checked(before: Option<State>, now: State, is_there: bool) -> Vec<String> {
        let states = |state| States::from([("a".to_string(), state)]);
        wrong(&before.map(states).unwrap_or_default(), &states(now), |_| is_there)
    }

    #[test]
    fn a_look_is_held_to_what_was_known_and_to_what_has_turned_out() {
        use State::*;
        for known in [Open, There, Gone, Refused] {
            let wrong_if = |is_there: bool| !checked(Some(known), known, is_there).is_empty();
            assert_eq!(
                (wrong_if(false), wrong_if(true)),
                (known == There, known == Gone || known == Refused)
            );
        }
        assert_eq!(checked(Some(There), There, false), ["acknowledged, but not there: a"]);
        assert_eq!(checked(None, There, false), [""; 0], "it was acknowledged after the look began");
        assert_eq!(checked(Some(There), Open, false), [""; 0], "somebody is taking it away");
        assert_eq!(checked(Some(Open), Gone, true), [""; 0], "it was taken away after the look");
        assert_eq!(checked(Some(Open), Refused, true), ["refused, but there: a"], "a dirty read");
        assert_eq!(checked(None, Refused, true), ["refused, but there: a"]);
        assert_eq!(checked(Some(Gone), Gone, true), ["taken away, but there: a"]);
        assert_eq!(strangers(&States::new(), ["b"].into_iter()), ["nobody made b"]);
    }

    #[test]
    fn what_became_of_a_transaction_is_what_became_of_what_it_was_to_do() {
        let refusal = || Refusal::new("40001", "");
        let all = [Told::Done(()), Told::Refused(refusal()), Told::Unknown(refusal())];
        assert_eq!(all.each_ref().map(State::made), [State::There, State::Refused, State::Open]);
        assert_eq!(all.each_ref().map(State::taken), [State::Gone, State::There, State::Open]);
        let known = Known::default();
        known.set("a", State::There);
        known.set("b", State::Refused);
        assert_eq!(known.open_one(|n| n - 1).as_deref(), Some("a"));
        assert_eq!(known.open_one(|n| n), None);
    }
}
