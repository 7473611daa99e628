//! A client for tests, which answers as the test says.

use std::future::Future;
use std::time::Duration;

pub use super::client::SplitMix as Dice;
use super::client::{Answer, BoxFuture, Chance, Client, Refusal, Row};

type Reply = dyn FnMut(&str) -> Result<Answer, Refusal> + Send;

pub struct Scripted {
    reply: Box<Reply>,
    pub said: Vec<String>,
    pub left: u64,
}

impl Scripted {
    pub fn new(reply: impl FnMut(&str) -> Result<Answer, Refusal> + Send + 'static) -> Self {
        Scripted { reply: Box::new(reply), said: Vec::new(), left: 0 }
    }
}

impl Client for Scripted {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }

    fn say<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, Result<Answer, Refusal>> {
        self.said.push(text.into());
        let reply = (self.reply)(text);
        Box::pin(async { reply })
    }

    fn leave(&mut self) -> BoxFuture<'_, ()> {
        self.left += 1;
        Box::pin(async {})
    }

    fn go_elsewhere<'a>(&'a mut self, _: &'a mut dyn Chance) -> BoxFuture<'a, ()> {
        self.leave()
    }

    fn rest(&mut self, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn gateway(&self) -> String {
        "n1".into()
    }
}

/// Rows of text; an empty text is NULL.
pub fn rows(rows: &[&[&str]]) -> Vec<Row> {
    let value = |v: &&str| (!v.is_empty()).then(|| v.to_string());
    rows.iter().map(|row| row.iter().map(value).collect()).collect()
}

pub fn tag(tag: &str) -> Result<Answer, Refusal> {
    Ok(Answer { rows: Vec::new(), tags: vec![tag.into()] })
}

/// Of something that never waits.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}
