//! What the workloads share: connections that come back, transactions with retries, the line each second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use super::{Pace, Target};

/// How often a transaction is tried.
const MAX_ATTEMPTS: u32 = 100;

/// Why a transaction did not commit.
#[derive(Debug)]
pub enum Failure {
    /// The server said no, surely; by SQLSTATE.
    Refused(String, String),
    /// The connection was lost before COMMIT was sent: nothing happened.
    Lost(String),
    /// The connection was lost, or the server did not know (40003), while COMMIT was under way.
    Indeterminate(String),
}

pub async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

/// Connects for `init`, with an error that says what to do.
pub async fn connect_first(target: &Target) -> Result<Client, String> {
    let url = target.urls.first().ok_or("give a --url")?;
    connect(url).await.map_err(|e| format!("cannot connect to {url}: {}", describe(&e)))
}

/// The message and, from a server, the SQLSTATE.
pub fn describe(e: &tokio_postgres::Error) -> String {
    match e.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => {
            let mut text = e.to_string();
            if let Some(source) = std::error::Error::source(e) {
                text = format!("{text}: {source}");
            }
            text
        }
    }
}

#[derive(Default)]
struct Counts {
    done: u64,
    retries: u64,
    indeterminate: u64,
    errors: BTreeMap<String, u64>,
    /// The first message of each code.
    examples: BTreeMap<String, String>,
}

pub struct Stats {
    window: Mutex<(Histogram<u64>, Counts)>,
    /// By kind of transaction.
    total: Mutex<BTreeMap<&'static str, Histogram<u64>>>,
    sums: Mutex<Counts>,
    begun: Instant,
}

fn histogram() -> Histogram<u64> {
    // Microseconds up to ten minutes, three digits.
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("constant bounds are valid")
}

impl Stats {
    fn new() -> Arc<Self> {
        Arc::new(Stats {
            window: Mutex::new((histogram(), Counts::default())),
            total: Mutex::default(),
            sums: Mutex::default(),
            begun: Instant::now(),
        })
    }

    pub fn done(&self, kind: &'static str, took: Duration) {
        let us = (took.as_micros() as u64).max(1);
        let mut w = self.window.lock();
        w.0.saturating_record(us);
        w.1.done += 1;
        drop(w);
        self.total.lock().entry(kind).or_insert_with(histogram).saturating_record(us);
        self.sums.lock().done += 1;
    }

    pub fn retried(&self) {
        self.window.lock().1.retries += 1;
        self.sums.lock().retries += 1;
    }

    pub fn failed(&self, failure: &Failure) {
        let mut sums = self.sums.lock();
        let mut w = self.window.lock();
        let (code, text) = match failure {
            Failure::Refused(code, text) => (code.clone(), text),
            Failure::Lost(text) => ("lost".into(), text),
            Failure::Indeterminate(text) => {
                sums.indeterminate += 1;
                w.1.indeterminate += 1;
                ("indeterminate".into(), text)
            }
        };
        sums.examples.entry(code.clone()).or_insert_with(|| text.clone());
        *sums.errors.entry(code.clone()).or_default() += 1;
        *w.1.errors.entry(code).or_default() += 1;
    }

    fn line(&self) -> String {
        let (h, c) = std::mem::replace(&mut *self.window.lock(), (histogram(), Counts::default()));
        let q = |q: f64| h.value_at_quantile(q) as f64 / 1000.0;
        format!(
            "{:>6.1}s {:>7} tx/s  p50 {:>8.2} ms  p95 {:>8.2} ms  p99 {:>8.2} ms  retries {:>5}  errors {}",
            self.begun.elapsed().as_secs_f64(),
            c.done,
            q(0.5),
            q(0.95),
            q(0.99),
            c.retries,
            by_code(&c.errors)
        )
    }

    fn summary(&self) -> String {
        let seconds = self.begun.elapsed().as_secs_f64();
        let sums = self.sums.lock();
        let mut out = format!(
            "\n{} transactions in {seconds:.1} s: {:.1} per second, {} retries, errors {}\n",
            sums.done,
            sums.done as f64 / seconds,
            sums.retries,
            by_code(&sums.errors)
        );
        for (code, text) in &sums.examples {
            out += &format!("  first {code}: {text}\n");
        }
        for (kind, h) in self.total.lock().iter() {
            let q = |q: f64| h.value_at_quantile(q) as f64 / 1000.0;
            out += &format!(
                "  {kind:<14} {:>8}  p50 {:>8.2} ms  p95 {:>8.2} ms  p99 {:>8.2} ms  max {:>8.2} ms\n",
                h.len(),
                q(0.5),
                q(0.95),
                q(0.99),
                h.max() as f64 / 1000.0
            );
        }
        out
    }
}

fn by_code(errors: &BTreeMap<String, u64>) -> String {
    if errors.is_empty() {
        return "none".into();
    }
    errors.iter().map(|(code, n)| format!("{code}:{n}")).collect::<Vec<_>>().join(" ")
}

/// One client's endless work: a transaction per call.
pub trait Worker: Send {
    /// The statements of one transaction, up to but without COMMIT. Gives the transaction's kind.
    fn transaction<'a>(
        &'a mut self,
        client: &'a Client,
    ) -> meridian_storage::base::BoxFuture<'a, Result<&'static str, tokio_postgres::Error>>;
    /// Prepares a new connection.
    fn connected<'a>(
        &'a mut self,
        client: &'a Client,
    ) -> meridian_storage::base::BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        let _ = client;
        Box::pin(async { Ok(()) })
    }
    /// A new transaction begins (and is not a repetition).
    fn choose(&mut self) {}
    fn committed(&mut self) {}
    fn indeterminate(&mut self) {}
}

/// Runs `make(i)`'s workers until the time is over; prints lines and the summary. Gives the number committed.
pub async fn drive<W: Worker + 'static>(
    target: &Target,
    pace: &Pace,
    mut make: impl FnMut(usize) -> W,
) -> Result<u64, String> {
    let stats = Stats::new();
    let begin = begin_statement(pace.isolation.as_deref())?;
    // An unreachable server is an error now, not a silent minute.
    connect_first(target).await?;
    let until = Instant::now() + pace.duration;
    let mut tasks = Vec::new();
    for i in 0..pace.clients {
        let url = target.urls[i % target.urls.len()].clone();
        let (stats, begin, mut worker) = (stats.clone(), begin.clone(), make(i));
        tasks.push(tokio::spawn(async move {
            let mut client = None;
            while Instant::now() < until {
                step(&mut client, &url, &begin, &mut worker, &stats).await;
            }
        }));
    }
    let ticker = {
        let stats = stats.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            every.tick().await;
            loop {
                every.tick().await;
                println!("{}", stats.line());
            }
        })
    };
    for task in tasks {
        let _ = task.await;
    }
    ticker.abort();
    println!("{}", stats.summary());
    let done = stats.sums.lock().done;
    Ok(done)
}

fn begin_statement(isolation: Option<&str>) -> Result<String, String> {
    match isolation.map(|i| i.to_ascii_lowercase()) {
        None => Ok("BEGIN".into()),
        Some(i) if ["read committed", "repeatable read", "serializable"].contains(&i.as_str()) => {
            Ok(format!("BEGIN ISOLATION LEVEL {i}"))
        }
        Some(i) => Err(format!("`{i}` is not an isolation level")),
    }
}

/// One transaction, whatever it takes.
async fn step<W: Worker>(client: &mut Option<Client>, url: &str, begin: &str, worker: &mut W, stats: &Stats) {
    if client.as_ref().is_none_or(|c| c.is_closed()) {
        *client = match open(url, worker).await {
            Ok(c) => Some(c),
            Err(e) => {
                stats.failed(&Failure::Lost(describe(&e)));
                tokio::time::sleep(Duration::from_millis(100)).await;
                return;
            }
        };
    }
    let Some(c) = client.as_ref() else { return };
    worker.choose();
    let begun = Instant::now();
    for attempt in 0..MAX_ATTEMPTS {
        match attempt_once(c, begin, worker).await {
            Ok(kind) => {
                worker.committed();
                stats.done(kind, begun.elapsed());
                return;
            }
            Err(Failure::Refused(code, _)) if code == "40001" || code == "40P01" => {
                stats.retried();
                let pause = rand::random::<u64>() % (1 << attempt.min(7));
                tokio::time::sleep(Duration::from_micros(500 * pause)).await;
            }
            Err(failure) => {
                if matches!(failure, Failure::Indeterminate(_)) {
                    worker.indeterminate();
                }
                stats.failed(&failure);
                if !matches!(failure, Failure::Refused(..)) {
                    *client = None;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                return;
            }
        }
    }
    stats.failed(&Failure::Refused("40001".into(), "retried too often".into()));
}

async fn open<W: Worker>(url: &str, worker: &mut W) -> Result<Client, tokio_postgres::Error> {
    let client = connect(url).await?;
    worker.connected(&client).await?;
    Ok(client)
}

async fn attempt_once<W: Worker>(
    client: &Client,
    begin: &str,
    worker: &mut W,
) -> Result<&'static str, Failure> {
    let body = async {
        client.batch_execute(begin).await?;
        worker.transaction(client).await
    };
    let kind = match body.await {
        Ok(kind) => kind,
        Err(e) => {
            let failure = classify(&e, false);
            if matches!(failure, Failure::Refused(..)) {
                let _ = client.batch_execute("ROLLBACK").await;
            }
            return Err(failure);
        }
    };
    match client.batch_execute("COMMIT").await {
        Ok(()) => Ok(kind),
        Err(e) => Err(classify(&e, true)),
    }
}

fn classify(e: &tokio_postgres::Error, committing: bool) -> Failure {
    let text = describe(e);
    match e.as_db_error() {
        Some(db) if committing && (db.code().code() == "40003" || db.code().code().starts_with("08")) => {
            Failure::Indeterminate(text)
        }
        Some(db) => Failure::Refused(db.code().code().into(), text),
        None if committing => Failure::Indeterminate(text),
        None => Failure::Lost(text),
    }
}
