//! What must hold at the end, over the whole life: looked at from outside, in the journal and at every home.

use super::{
    LINES, NAME, PRICES, QUESTION,
    audit::{Journal, amount},
    custody::{Custody, Rate},
    failover::Failover,
    host::Host,
    play::{C, Play, Run},
    stage::Answer,
    tale::Tale,
};
use serde_json::Value;

/// One thing that must hold, and what was seen.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) result: Result<String, String>,
}

/// A whole life, as the node has it that has the agent last.
pub(super) struct Life {
    pub(super) journal: Journal,
    custody: Custody,
    /// What breaks a rule of custody fails a check; the rest is looked at as well.
    broken: Option<String>,
    shown: Value,
}

impl Life {
    /// Reads it. Nothing runs any more.
    pub(super) fn read(hosts: &[Host; 3], last: usize) -> Result<Self, String> {
        let rate =
            |host: &Host| Ok::<_, String>((host.key.clone(), Rate::new(host.price.per_second, host.price.per_fuel)?));
        let mut custody = Custody::new(hosts.iter().map(rate).collect::<Result<_, _>>()?);
        let mut broken = None;
        let journal = Journal::read_with(hosts[last].stage(), NAME, |row| {
            if broken.is_none() {
                broken = custody.take(row).err();
            }
            Ok(())
        })?;
        Ok(Self { journal, custody, broken, shown: hosts[last].shown()? })
    }

    fn unbroken(&self, said: String) -> Result<String, String> {
        self.broken.clone().map_or(Ok(said), Err)
    }

    fn money(&self) -> Result<String, String> {
        let money = self.journal.money(amount(&self.shown["balance"])?)?;
        Ok(format!("{} given = {} spent + {} left", money.funded, money.spent, money.balance))
    }

    fn bills(&self) -> Result<String, String> {
        self.unbroken(format!("{} bills, each by the price of the node that had it then", self.custody.bills()))
    }

    fn ticks(&self, tale: &Tale) -> Result<String, String> {
        self.journal.announced_are_there(&tale.announced)?;
        Ok(format!("{} announced, each in the journal once", tale.announced.len()))
    }

    fn prices(&self, stream: &str) -> Result<String, String> {
        self.journal.stream_once(stream, LINES as u64)?;
        let questions = self.journal.ids_once(std::iter::once(QUESTION.to_owned()))?;
        Ok(format!("{LINES} lines and {questions} question sent, each processed once"))
    }
}

/// Looks at everything after the agent went from node to node, and is at C.
pub(super) fn of_moves(play: &Play) -> Result<(Vec<Check>, Journal), String> {
    let (hosts, run) = (&play.hosts, play.run());
    let life = Life::read(hosts, C)?;
    let checks = vec![
        Check { name: "kills", result: Ok(run.kills_in_words()) },
        Check { name: "same result as a run without any accident", result: report(&run.report) },
        Check { name: "ticks", result: life.ticks(&play.tale) },
        Check { name: "prices", result: life.prices(&run.stream) },
        Check { name: "one node at a time", result: journey(hosts, &play.tale, &life) },
        Check { name: "one history", result: one_history(hosts, &life.journal) },
        Check { name: "a connection cut in a move", result: Ok(run.cut.clone()) },
        Check { name: "a node killed while giving", result: Ok(run.giving.clone()) },
        Check { name: "a copy was refused", result: refused(&life.journal, run) },
        Check { name: "money, to the last unit", result: life.money() },
        Check { name: "bills", result: life.bills() },
        Check { name: "its money ended", result: ends(&life.journal) },
        Check { name: "whole life executed again", result: executed(&hosts[C]) },
    ];
    Ok((checks, life.journal))
}

/// Looks at everything after the nodes of the agent failed one after the other.
pub(super) fn of_failovers(failover: &Failover) -> Result<(Vec<Check>, Journal), String> {
    let hosts = &failover.hosts;
    let last = *failover.tale.journey.last().ok_or("the agent lived nowhere")?;
    let life = Life::read(hosts, last)?;
    let checks = vec![
        Check { name: "failovers", result: Ok(failover.in_words()) },
        Check { name: "same result as a run without any accident", result: report(&failover.report) },
        Check { name: "ticks", result: life.ticks(&failover.tale) },
        Check { name: "prices", result: life.prices(&failover.stream) },
        Check { name: "one node at a time", result: journey(hosts, &failover.tale, &life) },
        Check { name: "one history", result: one_history(hosts, &life.journal) },
        Check { name: "whoever came back stood down", result: failover.stood_down() },
        Check { name: "money, to the last unit", result: life.money() },
        Check { name: "bills", result: life.bills() },
        Check { name: "whole life executed again", result: executed(&hosts[last]) },
    ];
    Ok((checks, life.journal))
}

fn report(said: &str) -> Result<String, String> {
    let native = igor_agent_strategy::uninterrupted(PRICES).to_json();
    if said == native { Ok(native) } else { Err(format!("{said} instead of {native}")) }
}

/// The epochs are those of the nodes that the agent was seen at, in that order.
fn journey(hosts: &[Host; 3], tale: &Tale, life: &Life) -> Result<String, String> {
    let custody = &life.custody;
    let letter = |key: &str| hosts.iter().find(|host| host.key == key).map_or("?", |host| host.letter);
    let epochs: Vec<String> =
        custody.epochs().iter().map(|((term, n), key)| format!("{term}.{n} {}", letter(key))).collect();
    let mut lived: Vec<&str> = custody.epochs().iter().map(|(_, key)| letter(key)).collect();
    // A move that came back has raised the epoch, and changed nothing else.
    lived.dedup();
    let seen: Vec<&str> = tale.journey.iter().map(|node| hosts[*node].letter).collect();
    if lived == seen {
        life.unbroken(format!("{}: one custodian an epoch, in order", epochs.join(", ")))
    } else {
        Err(format!("it was seen at {seen:?}; its journal says {epochs:?}"))
    }
}

/// What every node kept is a beginning of the same journal.
fn one_history(hosts: &[Host; 3], journal: &Journal) -> Result<String, String> {
    let mut kept = Vec::new();
    for host in hosts {
        let shown = host.shown()?;
        let (seq, head) = end_of(&shown)?;
        if !journal.has(seq, head) {
            return Err(format!("entry {seq} of node {} is not in the journal", host.letter));
        }
        kept.push(format!("{} {} entries", host.letter, seq + 1));
    }
    Ok(format!("{}: each the beginning of the same one", kept.join(", ")))
}

fn end_of(shown: &Value) -> Result<(u64, &str), String> {
    shown["seq"].as_u64().zip(shown["head"].as_str()).ok_or_else(|| format!("no end of a journal in {shown}"))
}

/// It was refused, and what it did is in no journal.
fn refused(journal: &Journal, run: &Run) -> Result<String, String> {
    let refused = run.refused.as_ref().ok_or("no copy was presented")?;
    if refused.code != 3 {
        return Err(format!("it was not refused: exit code {}: {}", refused.code, refused.said));
    }
    if journal.has(refused.seq, &refused.head) {
        return Err("its branch is in the journal".to_owned());
    }
    Ok(format!("exit code 3; it stands still, and its branch, up to tick {}, is in no journal", refused.tick))
}

fn ends(journal: &Journal) -> Result<String, String> {
    match journal.ends() {
        1 => Ok("it ended once, was funded, and went on".to_owned()),
        n => Err(format!("it ended {n} times")),
    }
}

fn executed(host: &Host) -> Result<String, String> {
    let verdict = host.stage().ask(&["verify", NAME, "--execute"]).and_then(Answer::last)?;
    let number = |field: &str| verdict[field].as_u64().unwrap_or(0);
    // What cannot be executed again is the one tick that was stopped because the money ended.
    if verdict["ok"] == true && number("runs") == number("executed") + number("asserted") {
        Ok(format!("{} entries hold; {} runs executed again, all alike", number("entries"), number("executed")))
    } else {
        Err(verdict.to_string())
    }
}
