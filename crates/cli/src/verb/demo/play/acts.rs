//! What happens, in order, and the moves.

use super::{A, Aim, B, Broken, C, Duration, Hit, Instant, NAME, PATIENCE, Play, SLICE, Told, Whereabouts};
use crate::{
    verb::demo::{
        QUESTION,
        screen::Doing,
        stage::{Actor, Answer, Heard},
    },
    words,
};
use igor_protocol::Nanos;
use serde_json::Value;
use std::{fs, path::PathBuf};

/// More kills than were asked for, until each kind was hit.
const MORE_KILLS: u32 = 8;
/// Moves that are begun, at most, until one comes to its end.
const ATTEMPTS: usize = 10;
/// Ticks of the copy that show that it runs.
const COPY_TICKS: u64 = 20;

/// An `igor migrate` that runs.
struct Handing {
    actor: Actor,
    said: PathBuf,
    /// Its last event.
    last: Value,
    /// How many entries the other node had already.
    has: u64,
}

/// How one ended.
struct Handed {
    code: Option<i32>,
    last: Value,
    said: String,
    has: u64,
}

impl Play {
    /// All of it.
    pub(in crate::verb::demo) fn perform(&mut self, kills: u32) -> Result<(), Broken> {
        // One is for the move that is given away by a node that dies.
        let all = kills.saturating_sub(1);
        let (at_a, at_b) = (all.div_ceil(2), all / 3);
        let at_c = all - at_a - at_b.min(all - at_a);
        self.tale.act("1. It lives at A")?;
        self.deploy()?;
        self.kills(A, at_a, &[Hit::Commit], MORE_KILLS)?;
        self.spend(A)?;
        self.tale.act("2. It moves to B, while it goes on")?;
        self.migrate(A, B)?;
        self.tale.act("3. B is killed, until that hits a tick in the middle")?;
        self.kills(B, at_b.max(1), &[Hit::Tick], 2 * MORE_KILLS)?;
        self.tale.act("4. It moves on to C, over a wire that is cut in the middle")?;
        self.migrate_over_a_cut()?;
        self.kills(C, at_c, &[], 0)?;
        self.tale.act("5. It moves back to A, and A is killed while it gives it to B")?;
        self.migrate(C, A)?;
        self.prepare_copy()?;
        self.give_and_die()?;
        self.tale.act("6. Somebody took a copy of A's disk, and starts it")?;
        self.present_copy()?;
        self.tale.act("7. The remaining prices come in, and it is asked what it has")?;
        self.finish()
    }

    /// Waits until its money is spent, if it is not yet.
    fn spend(&mut self, node: usize) -> Result<(), Broken> {
        while !self.run.funded {
            self.aim(Aim::Tick { calm: Duration::from_millis(10), then: Duration::ZERO }, node)?;
        }
        Ok(())
    }

    /// Hands the agent on, as often as it takes.
    fn migrate(&mut self, from: usize, to: usize) -> Result<(), Broken> {
        for _ in 0..ATTEMPTS {
            let handed = self.hand(from, to)?;
            if handed.code == Some(0) {
                return self.moved(from, to, &handed);
            }
            // What became of it, the node knows; where nothing was decided the agent lives there, and is given again.
            if self.settled(from)? == "archived" {
                return self.moved(from, to, &handed);
            }
            std::thread::sleep(SLICE);
        }
        Err(format!("the agent did not move from {} to {}", self.hosts[from].letter, self.hosts[to].letter).into())
    }

    fn hand(&mut self, from: usize, to: usize) -> Result<Handed, Broken> {
        let mut handing = self.begin_to_hand(from, to)?;
        while self.hear_handing(&mut handing)?.is_some() {}
        Self::handed(handing)
    }

    fn begin_to_hand(&mut self, from: usize, to: usize) -> Result<Handing, Broken> {
        self.hosts[from].meets(&self.hosts[to].key)?;
        self.tale.screen.picture.agent = Whereabouts::Between(from, to);
        let said = self.folder.join("migrate.log");
        fs::write(&said, "").map_err(|e| e.to_string())?;
        let stage = self.hosts[from].stage().logging(&said, "error");
        let actor = stage.start(&["migrate", NAME, &self.hosts[to].key])?;
        Ok(Handing { actor, said, last: Value::Null, has: 0 })
    }

    /// The next event of a move; nothing once the command has ended.
    fn hear_handing(&mut self, handing: &mut Handing) -> Result<Option<Value>, Broken> {
        loop {
            // What the agent does meanwhile is heard too.
            while self.hear(Instant::now())?.is_some() {}
            match handing.actor.hear(Instant::now() + SLICE) {
                Heard::Row(row) => {
                    handing.has = row["has"].as_u64().unwrap_or(handing.has);
                    handing.last = row.clone();
                    return Ok(Some(row));
                }
                Heard::Silence => {}
                Heard::End => return Ok(None),
            }
        }
    }

    fn handed(mut handing: Handing) -> Result<Handed, Broken> {
        let (status, rows) = handing.actor.end()?;
        let said = fs::read_to_string(&handing.said).map_err(|e| e.to_string())?;
        let last = rows.into_iter().next_back().unwrap_or(handing.last);
        Ok(Handed {
            code: status.code(),
            last,
            said: said.trim().trim_start_matches("igor: ").to_owned(),
            has: handing.has,
        })
    }

    /// What a node says became of an agent that it was giving away: `archived`, or that it runs.
    fn settled(&mut self, from: usize) -> Result<String, Broken> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.hosts[from].shown()?;
            let status = shown["status"].as_str().unwrap_or_default();
            if ["archived", "running", "idle"].contains(&status) {
                if status != "archived" {
                    self.tale.screen.picture.agent = Whereabouts::At(from);
                }
                return Ok(status.to_owned());
            }
            if Instant::now() >= deadline {
                return Err(format!("nobody knows where the agent is: {shown}").into());
            }
            self.hear(Instant::now() + SLICE)?;
        }
    }

    /// The agent lives somewhere else now.
    fn moved(&mut self, from: usize, to: usize, handed: &Handed) -> Result<(), Broken> {
        self.hosts[to]
            .until("the agent does not live", |shown| shown["status"] == "running" || shown["status"] == "idle")?;
        self.lives_at(to)?;
        let shown = self.hosts[to].shown()?;
        let epoch = shown["epoch"].as_str().unwrap_or_default().to_owned();
        let (pause_ns, bytes) = (handed.last["pause_ns"].as_u64(), handed.last["bytes"].as_u64());
        self.run.bytes = bytes.unwrap_or(self.run.bytes);
        let (from, to) = (self.hosts[from].letter, self.hosts[to].letter);
        let has = handed.has;
        let told = Told::Moved { from, to, epoch: epoch.clone(), had: has, bytes, pause_ns };
        Ok(self.tale.screen.tell(&told, || {
            let had =
                if has == 0 { String::new() } else { format!(" ({to} had {} already)", words::count(has, "entry")) };
            let how = match (bytes, pause_ns) {
                (Some(bytes), Some(pause)) => {
                    format!(
                        "{} went over{had}; it stood still for {}",
                        words::bytes(bytes),
                        words::duration(Nanos(pause))
                    )
                }
                _ => "as the nodes agreed when they met again".to_owned(),
            };
            format!("{from} to {to}: {how}. Epoch {epoch}: only {to} may run it now")
        })?)
    }

    /// B gives it to C, and the wire breaks when half of it has gone over.
    fn migrate_over_a_cut(&mut self) -> Result<(), Broken> {
        self.hosts[B].meets(&self.hosts[C].key)?;
        self.wire.cut_after(self.run.bytes / 2);
        let handed = self.hand(B, C)?;
        if self.wire.cuts() == 0 {
            return Err("the wire was to be cut, and was not".to_owned().into());
        }
        let status = self.settled(B)?;
        let goes_on = status != "archived";
        let bytes = self.run.bytes / 2;
        self.run.cut = format!(
            "cut after {}: {}",
            words::bytes(bytes),
            if goes_on { "it went on at B, and was given again" } else { "the move was finished later" }
        );
        let Handed { said, code, .. } = &handed;
        self.tale.screen.tell(&Told::Cut { from: "B", to: "C", bytes, goes_on, said: said.clone() }, || {
            format!(
                "the wire is cut after {}. igor migrate exits with {}:\n  {}",
                words::bytes(bytes),
                code.unwrap_or(-1),
                words::safe(said, 300)
            )
        })?;
        if goes_on { self.migrate(B, C) } else { self.moved(B, C, &handed) }
    }

    /// A is killed in the moment in which the agent stands still.
    fn give_and_die(&mut self) -> Result<(), Broken> {
        let mut handing = self.begin_to_hand(A, B)?;
        while let Some(row) = self.hear_handing(&mut handing)? {
            if row["event"] == "freeze" {
                break;
            }
        }
        self.hosts[A].kill()?;
        self.tale.screen.picture.nodes[A].1 = Doing::Killed;
        self.hear_out()?;
        let handed = Self::handed(handing)?;
        let shown = self.hosts[A].shown()?;
        self.hit(A, Hit::Giving, &shown)?;
        let stood = match shown["status"].as_str() {
            Some("archived") => "B had it, and A knew",
            Some("moving") => "A had signed it away, and had no answer: A may not run it, whatever happens",
            _ => "nothing was signed yet: it is A's",
        };
        stood.clone_into(&mut self.run.giving);
        self.tale.screen.words(format!("  {stood}"))?;
        self.start(A)?;
        self.recovered(A)?;
        if self.settled(A)? == "archived" { self.moved(A, B, &handed) } else { self.migrate(A, B) }
    }

    /// The copy of A's home is started, cut off from everybody. It believes that the agent is its own.
    fn prepare_copy(&mut self) -> Result<(), Broken> {
        match &mut self.rogue {
            Some(rogue) => Ok(rogue.start()?),
            None => Err("nobody copied A's home".to_owned().into()),
        }
    }

    fn present_copy(&mut self) -> Result<(), Broken> {
        self.hosts[A].stop()?;
        self.tale.screen.picture.nodes[A].1 = Doing::Off;
        let rogue = self.rogue.take().ok_or_else(|| "nobody copied A's home".to_owned())?;
        rogue.runs(COPY_TICKS)?;
        self.tale.screen.words(
            "A is switched off. The copy is from before the first move. It has A's key, and on its own it runs what it has:\n\
             nobody can prevent that, but what it does there is in nobody else's journal. Now it meets C, and gives it the agent:",
        )?;
        let refused = rogue.present(&self.hosts[C])?;
        let evidence = self.evidence()?;
        let (code, said) = (refused.code, refused.said.clone());
        let (status, cause) = (refused.status.clone(), refused.cause.clone());
        let told = Told::Refused { code, said, status, cause, evidence: evidence.clone() };
        self.tale.screen.tell(&told, || {
            let cause = if refused.cause.is_empty() { String::new() } else { format!(": {}", refused.cause) };
            format!(
                "  igor migrate exits with {code}: {}\n  the evidence: {evidence}\n  it was sent that, and stands still at \
                 tick {}{}",
                words::safe(&refused.said, 300),
                refused.tick,
                words::safe(&cause, 300)
            )
        })?;
        self.run.refused = Some(refused);
        Ok(())
    }

    /// The newest record of custody that C has and A's key has signed: a copy from before does not know of it.
    fn evidence(&self) -> Result<String, String> {
        let key = self.hosts[A].key.as_str();
        let mut newest = None;
        self.hosts[C].stage().read(&["timeline", NAME], |row| {
            let by = if row["phase"] == "accept" { &row["to"] } else { &row["from"] };
            if row["kind"] == "custody" && by == key {
                newest = Some(row);
            }
            Ok(())
        })?;
        let row = newest.ok_or("A's key has signed no record of custody")?;
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let to = self.hosts.iter().find(|host| row["to"] == host.key.as_str()).map_or("?", |host| host.letter);
        Ok(format!(
            "entry {} of the journal, epoch {}: {} to {to}, signed with A's key",
            row["seq"],
            text("epoch"),
            text("phase")
        ))
    }

    /// All prices are in; the agent says what became of them. Then B is switched off too, and hands it to C, and C.
    fn finish(&mut self) -> Result<(), Broken> {
        let mut feeder = self.feeder.take().ok_or_else(|| "nobody sends prices".to_owned())?;
        feeder.hurry();
        while !feeder.is_done() {
            self.hear(Instant::now() + SLICE)?;
        }
        self.run.stream = feeder.finish()?;
        let socket = self.hosts[B].socket()?;
        let answer = self.owner.at(&socket).ask(&["call", NAME, "report", "--id", QUESTION]).and_then(Answer::last)?;
        answer["reply"].as_str().unwrap_or_default().clone_into(&mut self.run.report);
        self.hear_out()?;
        let told = self.hosts[B].stop()?;
        self.tale.screen.picture.nodes[B].1 = Doing::Off;
        let moved = told.iter().any(|row| row["event"] == "drained" && row["moved"] == 1);
        if !moved {
            return Err(format!("B did not hand the agent on when it was told to stop: {told:?}").into());
        }
        self.lives_at(C)?;
        // What came with it is told there too: C is to have run it.
        let (before, deadline) = (self.tale.last_tick(), Instant::now() + PATIENCE);
        while self.tale.last_tick() == before && Instant::now() < deadline {
            self.hear(deadline)?;
        }
        self.tale.screen.words("B is told to stop: it hands the agent to C by itself. Then C is told to stop")?;
        self.hosts[C].stop()?;
        self.hear_out()?;
        self.tale.screen.picture.nodes[C].1 = Doing::Off;
        Ok(self.tale.screen.erase()?)
    }
}
