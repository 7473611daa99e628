//! Transfers between accounts, each with a row in a ledger, and audits that read everything at once. `books` says what must
//! be true, in every snapshot that an audit sees: it shows every transfer that was acknowledged before it began, and none
//! that was refused.

pub mod books;

use books::{Books, OPENING, Outcome, Transfer, Transfers};

use super::asking::{Asking, Told};
use super::client::{BoxFuture, Chance, Client, Refusal, Row};
use super::setting::{Level, Setting};
use super::tally::Tally;
use super::{Workload, fill, number, text};

/// For each unit of scale.
const ACCOUNTS: u64 = 10;
const MAX_ATTEMPTS: u32 = 20;
/// There are fewer audits when there is more to read: one operation in ten, and in one more for each so many transfers.
const TRANSFERS_PER_AUDIT: u64 = 200;

/// How a transfer reads what it will change.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// Optimistic: validated at the commit.
    Plain,
    /// `SELECT … FOR UPDATE`, one by one.
    Locking,
    /// All at once, in one message.
    Message,
    /// Changes everything, then thinks better of it.
    Regretted,
}

pub struct Bank {
    accounts: u64,
    tally: Tally,
    transfers: Transfers,
}

impl Bank {
    pub fn new(setting: Setting) -> Self {
        let tally = Tally::new(setting.excused);
        Bank { accounts: ACCOUNTS * setting.scale, tally, transfers: Transfers::default() }
    }

    async fn transfer(&self, client: &mut dyn Client, id: &str, chance: &mut dyn Chance) {
        let from = chance.below(self.accounts);
        let to = (from + 1 + chance.below(self.accounts - 1)) % self.accounts;
        let amount = 1 + chance.below(30) as i64;
        let transfer = Transfer { from, to, amount, outcome: Outcome::Pending };
        let style = match chance.below(10) {
            0..4 => Style::Plain,
            4..7 => Style::Locking,
            7..9 => Style::Message,
            _ => Style::Regretted,
        };
        self.transfers.enter(id, transfer);
        let told = self.attempts(client, transfer, style, id).await;
        let outcome = match told {
            Told::Done(true) => Outcome::Acknowledged,
            Told::Done(false) | Told::Refused(_) => Outcome::Refused,
            Told::Unknown(_) => Outcome::Unknown,
        };
        self.transfers.end(id, outcome);
    }

    /// Whether it was carried out; `false`: it was taken back.
    async fn attempts(&self, client: &mut dyn Client, t: Transfer, style: Style, id: &str) -> Told<bool> {
        for attempt in 0.. {
            // Who has not enough breaks a check.
            let mut asking = Asking::new(client, &self.tally, &["23514"]);
            let done = transact(&mut asking, t, style, id).await;
            let told = asking.end(done).await;
            if !told.may_be_repeated() || attempt == MAX_ATTEMPTS {
                return told;
            }
            self.tally.retried();
        }
        unreachable!("the attempts are counted")
    }

    async fn audit(&self, client: &mut dyn Client) -> Result<(), Refusal> {
        let before = self.transfers.known();
        let mut asking = Asking::new(client, &self.tally, &[]);
        let done = read_books(&mut asking).await;
        let books = asking.end(done).await.into_result()?;
        self.tally.looked();
        self.tally.violations(self.transfers.check(&books, self.accounts, &before));
        Ok(())
    }
}

impl Workload for Bank {
    fn open(&self) -> Vec<String> {
        vec![
            "CREATE TABLE accounts (id int8 PRIMARY KEY, balance int8 NOT NULL CHECK (balance >= 0))".into(),
            "CREATE TABLE ledger (id text PRIMARY KEY, source int8 NOT NULL, target int8 NOT NULL, \
             amount int8 NOT NULL)"
                .into(),
            fill("accounts", &format!("i, {OPENING}"), self.accounts),
        ]
    }

    fn step<'a>(
        &'a self,
        client: &'a mut dyn Client,
        id: &'a str,
        chance: &'a mut dyn Chance,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let sizes = self.transfers.len() as u64 / TRANSFERS_PER_AUDIT;
            match chance.below(10 + sizes) {
                // What cannot be read now proves nothing.
                0 => drop(self.audit(client).await),
                _ => self.transfer(client, id, chance).await,
            }
        })
    }

    fn last_look<'a>(&'a self, client: &'a mut dyn Client) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(self.audit(client))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

async fn transact(asking: &mut Asking<'_>, t: Transfer, style: Style, id: &str) -> Result<bool, Refusal> {
    let Transfer { from, to, amount, .. } = t;
    let debit = format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {from}");
    let credit = format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {to}");
    let note = format!("INSERT INTO ledger VALUES ('{id}', {from}, {to}, {amount})");
    if let Style::Message = style {
        // An implicit transaction, committed before the first answer leaves.
        asking.say_alone(&format!("{debit}; {credit}; {note}")).await?;
        return Ok(true);
    }
    asking.begin(Level::Serializable).await?;
    if let Style::Locking = style {
        let lock = format!("SELECT balance FROM accounts WHERE id IN ({from}, {to}) FOR UPDATE");
        let found = asking.say(&lock).await?;
        if found.rows.len() != 2 {
            return Err(Refusal::wrong(format!("of the accounts {from} and {to} there is {found:?}")));
        }
    }
    for text in [&debit, &credit] {
        let done = asking.say(text).await?;
        if done.tags != ["UPDATE 1"] {
            return Err(Refusal::wrong(format!("{text}: {done:?}, though the account is there")));
        }
    }
    asking.say(&note).await?;
    if let Style::Regretted = style {
        asking.rollback().await?;
        return Ok(false);
    }
    asking.commit().await?;
    Ok(true)
}

async fn read_books(asking: &mut Asking<'_>) -> Result<Books, Refusal> {
    asking.begin_read_only(Level::Serializable).await?;
    let accounts = asking.say("SELECT id, balance FROM accounts").await?.rows;
    let ledger = asking.say("SELECT source, target, amount, id FROM ledger").await?.rows;
    asking.commit().await?;
    let balance = |row: &Row| Ok((number(&row[0])? as u64, number(&row[1])?));
    let entry = |row: &Row| {
        Ok((text(&row[3])?, (number(&row[0])? as u64, number(&row[1])? as u64, number(&row[2])?)))
    };
    let books = Books {
        balances: accounts.iter().map(balance).collect::<Result<_, Refusal>>()?,
        ledger: ledger.iter().map(entry).collect::<Result<_, Refusal>>()?,
    };
    if books.ledger.len() < ledger.len() || books.balances.len() < accounts.len() {
        return Err(Refusal::wrong("a row is there twice"));
    }
    Ok(books)
}
