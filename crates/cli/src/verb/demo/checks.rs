//! What must hold at the end, over the whole life: looked at from outside, in the journal and at every home.

use super::{
    LINES, NAME, PRICES, QUESTION,
    audit::{Journal, amount},
    custody::{Custody, Rate},
    host::Host,
    play::{C, Run},
    stage::Answer,
};
use serde_json::Value;

/// One thing that must hold, and what was seen.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) result: Result<String, String>,
}

/// Looks at everything. Nothing runs any more; the agent is at C.
pub(super) fn look(hosts: &[Host; 3], run: &Run) -> Result<(Vec<Check>, Journal), String> {
    let rate =
        |host: &Host| Ok::<_, String>((host.key.clone(), Rate::new(host.price.per_second, host.price.per_fuel)?));
    let mut custody = Custody::new(hosts.iter().map(rate).collect::<Result<_, _>>()?);
    // What breaks a rule there fails a check; the rest is looked at as well.
    let mut broken = None;
    let journal = Journal::read_with(hosts[C].stage(), NAME, |row| {
        if broken.is_none() {
            broken = custody.take(row).err();
        }
        Ok(())
    })?;
    let unbroken = |said: String| broken.clone().map_or(Ok(said), Err);
    let shown = hosts[C].shown()?;
    let money = amount(&shown["balance"])
        .and_then(|balance| journal.money(balance))
        .map(|money| format!("{} given = {} spent + {} left", money.funded, money.spent, money.balance));
    let bills = format!("{} bills, each by the price of the node that had it then", custody.bills());
    let checks = vec![
        Check { name: "kills", result: Ok(run.kills_in_words()) },
        Check { name: "same result as a run without any accident", result: report(run) },
        Check { name: "ticks", result: ticks(&journal, run) },
        Check { name: "prices", result: prices(&journal, run) },
        Check { name: "one node at a time", result: journey(hosts, run, &custody).and_then(unbroken) },
        Check { name: "one history", result: one_history(hosts, &journal) },
        Check { name: "a connection cut in a move", result: Ok(run.cut.clone()) },
        Check { name: "a node killed while giving", result: Ok(run.giving.clone()) },
        Check { name: "a copy was refused", result: refused(&journal, run) },
        Check { name: "money, to the last unit", result: money },
        Check { name: "bills", result: unbroken(bills) },
        Check { name: "its money ended", result: ends(&journal) },
        Check { name: "whole life executed again", result: executed(&hosts[C]) },
    ];
    Ok((checks, journal))
}

fn report(run: &Run) -> Result<String, String> {
    let native = igor_agent_strategy::uninterrupted(PRICES).to_json();
    if run.report == native { Ok(native) } else { Err(format!("{} instead of {native}", run.report)) }
}

fn ticks(journal: &Journal, run: &Run) -> Result<String, String> {
    journal.announced_are_there(&run.announced)?;
    Ok(format!("{} announced, each in the journal once", run.announced.len()))
}

fn prices(journal: &Journal, run: &Run) -> Result<String, String> {
    journal.stream_once(&run.stream, LINES as u64)?;
    let questions = journal.ids_once(std::iter::once(QUESTION.to_owned()))?;
    Ok(format!("{LINES} lines and {questions} question sent, each processed once"))
}

/// The epochs are those of the nodes that the agent was seen at, in that order.
fn journey(hosts: &[Host; 3], run: &Run, custody: &Custody) -> Result<String, String> {
    let letter = |key: &str| hosts.iter().find(|host| host.key == key).map_or("?", |host| host.letter);
    let epochs: Vec<String> =
        custody.epochs().iter().map(|((term, n), key)| format!("{term}.{n} {}", letter(key))).collect();
    let mut lived: Vec<&str> = custody.epochs().iter().map(|(_, key)| letter(key)).collect();
    // A move that came back has raised the epoch, and changed nothing else.
    lived.dedup();
    let seen: Vec<&str> = run.journey.iter().map(|node| hosts[*node].letter).collect();
    if lived == seen {
        Ok(format!("{}: one custodian an epoch, in order", epochs.join(", ")))
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
