//! A client for tests, which answers as the test says; and chance that repeats itself.

use std::future::Future;
use std::time::Duration;

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

/// SplitMix64.
pub struct Dice(pub u64);

impl Chance for Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
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
