//! `meridian debug …`: looks into a running cluster, through any node of it.

use std::time::Duration;

use super::node::ask_within;
use super::{DebugCommand, NodeArgs};
use crate::rpc::proto::{Answer, Ask, Check, CheckAnswer};

/// For one part of the check: the first asks every range.
const TIMEOUT: Duration = Duration::from_secs(120);

pub async fn run(command: DebugCommand) -> Result<(), String> {
    match command {
        DebugCommand::Check { args, locks_older } => check(&args, locks_older).await,
    }
}

/// What has been looked at, and what was wrong.
#[derive(Default)]
struct Sum {
    ranges: u64,
    looked_at: u64,
    violations: u64,
}

async fn check(args: &NodeArgs, locks_older: Duration) -> Result<(), String> {
    let mut ask = Check { locks_older_ms: locks_older.as_millis() as u64, ..Check::default() };
    let mut sum = Sum::default();
    loop {
        let Answer::Check(answer) = ask_within(args, Ask::Check(ask.clone()), TIMEOUT).await? else {
            return Err("unexpected answer".into());
        };
        if answer.too_old {
            println!("the versions of {} are gone: going on at a later time", shown(ask.wall, ask.logical));
            (ask.wall, ask.logical) = (0, 0);
            continue;
        }
        if ask.wall == 0 {
            println!("as of {}", shown(answer.wall, answer.logical));
        }
        sum.add(&answer);
        answer.violations.iter().for_each(|violation| println!("{violation}"));
        if answer.next.is_empty() {
            return sum.verdict();
        }
        (ask.wall, ask.logical, ask.from) = (answer.wall, answer.logical, answer.next);
    }
}

fn shown(wall: u64, logical: u32) -> String {
    meridian_storage::base::Timestamp::new(wall, logical).to_string()
}

impl Sum {
    fn add(&mut self, answer: &CheckAnswer) {
        self.ranges += answer.ranges;
        self.looked_at += answer.looked_at;
        self.violations += answer.violations.len() as u64;
    }

    fn verdict(&self) -> Result<(), String> {
        println!("{} ranges, {} rows and index entries", self.ranges, self.looked_at);
        match self.violations {
            0 => {
                println!("all is as it should be");
                Ok(())
            }
            1 => Err("1 violation".into()),
            n => Err(format!("{n} violations")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_fails_when_anything_is_wrong() {
        let mut sum = Sum::default();
        sum.add(&CheckAnswer { ranges: 3, looked_at: 7, ..CheckAnswer::default() });
        assert_eq!(sum.verdict(), Ok(()));
        sum.add(&CheckAnswer { violations: vec!["a".into(), "b".into()], ..CheckAnswer::default() });
        sum.add(&CheckAnswer { looked_at: 1, ..CheckAnswer::default() });
        assert_eq!(sum.verdict(), Err("2 violations".into()));
    }
}
