//! Histories from EDN: one operation map after the other, or one vector of them. Tags on the maps and fields that are not
//! known here are passed over.

use super::History;
use super::event::{Event, Kind, Value};
use super::names::Names;
use super::pair::Malformed;
use crate::edn::{self, Edn, Forms};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Text(#[from] edn::Error),
    #[error("not a history: {0}")]
    Malformed(#[from] Malformed),
}

impl<V: Value> History<V> {
    pub fn read(text: &str) -> Result<History<V>, ReadError> {
        let mut names = Names::default();
        let mut events = Vec::new();
        let mut ignored = 0;
        let mut forms = Forms::new(text)?;
        while let Some((at, form)) = forms.next_form()? {
            match read_event(&form, &mut names) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => ignored += 1,
                Err(message) => return Err(forms.error_at(at, message).into()),
            }
        }
        let history = History::new(events, names)?;
        Ok(History { ignored, ..history })
    }
}

/// `None` for what no client did.
fn read_event<V: Value>(form: &Edn<'_>, names: &mut Names) -> Result<Option<Event<V>>, String> {
    let form = match form {
        Edn::Tagged(_, inner) => inner,
        form => form,
    };
    let Edn::Map(fields) = form else { return Err("an operation is a map".into()) };
    let field = |name: &'static str| fields.get(&Edn::Key(name.into())).filter(|v| **v != Edn::Nil);
    let process = match field("process") {
        None => None,
        Some(Edn::Int(process)) => Some(*process),
        Some(_) => return Ok(None),
    };
    let kind = match field("type") {
        Some(Edn::Key(kind)) => match &kind[..] {
            "invoke" => Kind::Invoke,
            "ok" => Kind::Ok,
            "fail" => Kind::Fail,
            "info" => Kind::Info,
            other => return Err(format!("`:{other}` is none of the types :invoke, :ok, :fail and :info")),
        },
        Some(other) => return Err(format!("`{other}` is none of the types :invoke, :ok, :fail and :info")),
        None => return Err("the operation has no :type".into()),
    };
    let number = |name: &'static str| match field(name) {
        None => Ok(None),
        Some(Edn::Int(n)) => Ok(Some(*n)),
        Some(other) => Err(format!("`{other}` is not an integer, as :{name} is")),
    };
    let index = number("index")?.map(|n| u64::try_from(n).map_err(|_| format!("{n} is no :index")));
    let index = index.transpose()?;
    let time = number("time").unwrap_or_default();
    let value = V::read(field("f"), field("key"), field("value"), kind, names)?;
    Ok(value.map(|value| Event { index, process, kind, time, value }))
}
