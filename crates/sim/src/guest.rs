//! A simulated program: its state is a digest of all that it ever saw, so any difference shows.

use crate::executor::point;
use igor_protocol::{
    Fuel, Nanos,
    entry::{Failure, Trigger},
};
use igor_spine::guest::{Answer, Ask, Ended, Guest, Held, Input, Membrane, Program, Report, Stop};
use std::sync::Arc;

/// Makes [`SimGuest`]s.
#[derive(Clone, Debug)]
pub struct SimProgram {
    /// The runtime id that it claims.
    pub runtime: String,
    /// Whether it can be checkpointed.
    pub can_checkpoint: bool,
    /// Fuel that every tick takes beside what it takes everywhere: a runtime that is not what it claims to be.
    pub more_fuel: u64,
    /// Fuel after which a run lets others go on, as a real one does, so that it can be killed there; none: it goes on
    /// until it has something to wait for.
    pub slice: Option<Fuel>,
}

impl Default for SimProgram {
    fn default() -> Self {
        Self { runtime: "sim-1".to_owned(), can_checkpoint: true, more_fuel: 0, slice: None }
    }
}

impl Program for SimProgram {
    type Guest = SimGuest;

    fn instantiate(&self) -> SimGuest {
        SimGuest { state: State::default(), fuel: 0, more_fuel: self.more_fuel, slice: self.slice }
    }

    fn can_checkpoint(&self) -> bool {
        self.can_checkpoint
    }

    fn runtime(&self) -> &str {
        &self.runtime
    }
}

/// Counts ticks and messages, and hashes all that it sees. Bodies of messages tell it what to do:
/// `trap`, `trap-if-odd` (by its own tick count), `log N`, `wait`, `finish`, `burn N`; anything else is counted.
#[derive(Debug)]
pub struct SimGuest {
    state: State,
    fuel: u64,
    more_fuel: u64,
    slice: Option<Fuel>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    ticks: u64,
    messages: u64,
    digest: [u8; 32],
}

impl State {
    fn see(&mut self, bytes: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.digest);
        hasher.update(bytes);
        self.digest = *hasher.finalize().as_bytes();
    }

    fn encode(&self) -> Vec<u8> {
        [&self.ticks.to_le_bytes()[..], &self.messages.to_le_bytes(), &self.digest].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (ticks, rest) = bytes.split_first_chunk::<8>()?;
        let (messages, digest) = rest.split_first_chunk::<8>()?;
        let digest = digest.try_into().ok()?;
        Some(Self { ticks: u64::from_le_bytes(*ticks), messages: u64::from_le_bytes(*messages), digest })
    }
}

/// Why a simulated call ends before it returns.
enum Halt {
    Trap(&'static str),
    OutOfFuel,
    Stop(Stop),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl SimGuest {
    async fn burn(&mut self, fuel: u64, limit: Fuel) -> Result<(), Halt> {
        let before = self.fuel;
        self.fuel = self.fuel.saturating_add(fuel);
        if let Some(Fuel(slice)) = self.slice {
            for _ in before / slice..self.fuel.min(limit.0) / slice {
                point().await;
            }
        }
        if self.fuel <= limit.0 {
            return Ok(());
        }
        self.fuel = limit.0;
        Err(Halt::OutOfFuel)
    }

    async fn tick(&mut self, trigger: Trigger, limit: Fuel, membrane: &dyn Membrane) -> Result<bool, Halt> {
        self.state.ticks += 1;
        self.state.see(&trigger.code().to_le_bytes());
        self.burn(100 + self.more_fuel, limit).await?;
        point().await;
        for ask in [Ask::Clock, Ask::Random(4), Ask::Balance] {
            match membrane.observe(ask)? {
                Answer::Number(number) => self.state.see(&number.to_le_bytes()),
                Answer::Bytes(bytes) => self.state.see(&bytes),
                Answer::None | Answer::TooLong(_) => {}
            }
            self.burn(10, limit).await?;
        }
        for _ in 0..3 {
            let Answer::Bytes(body) = membrane.observe(Ask::Message { room: 64 })? else { break };
            self.state.messages += 1;
            self.state.see(&body);
            self.burn(50, limit).await?;
            point().await;
            self.obey(&String::from_utf8_lossy(&body), limit, membrane).await?;
            membrane.hold(Held::Reply(self.state.messages.to_string().into_bytes()))?;
        }
        if self.state.ticks.is_multiple_of(7) {
            membrane.hold(Held::Log(format!("tick {}", self.state.ticks)))?;
        }
        Ok(self.state.ticks.is_multiple_of(5))
    }

    async fn obey(&mut self, order: &str, limit: Fuel, membrane: &dyn Membrane) -> Result<(), Halt> {
        let (word, number) = order.split_once(' ').map_or((order, 1), |(word, n)| (word, n.parse().unwrap_or(1)));
        match word {
            "trap" => return Err(Halt::Trap("told to trap")),
            "trap-if-odd" if self.state.ticks % 2 == 1 => return Err(Halt::Trap("odd")),
            "log" => {
                for i in 0..number {
                    membrane.hold(Held::Log(format!("line {i}")))?;
                }
            }
            "wait" => membrane.wait(Nanos::from_millis(number)).await?,
            "finish" => drop(membrane.hold(Held::Finish)?),
            "burn" => self.burn(number, limit).await?,
            _ => {}
        }
        Ok(())
    }
}

impl Guest for SimGuest {
    async fn run(&mut self, input: Input, fuel: Fuel, membrane: Arc<dyn Membrane>) -> Report {
        self.fuel = 0;
        let ended = match input {
            Input::Init => self.burn(20, fuel).await.map(|()| Ended::Returned { more_work: false }),
            Input::Tick(trigger) => {
                let more_work = self.tick(trigger, fuel, &*membrane).await;
                more_work.map(|more_work| Ended::Returned { more_work })
            }
            Input::Checkpoint => {
                point().await;
                self.burn(30, fuel).await.map(|()| Ended::State(self.state.encode()))
            }
            Input::Resume(state) => match (self.burn(40, fuel).await, State::decode(&state)) {
                (Err(halt), _) => Err(halt),
                (Ok(()), None) => Err(Halt::Trap("not my state")),
                (Ok(()), Some(state)) => {
                    self.state = state;
                    Ok(Ended::Returned { more_work: false })
                }
            },
        };
        let ended = ended.unwrap_or_else(|halt| match halt {
            Halt::Trap(cause) => Ended::Failed(Failure::Trap, cause.to_owned()),
            Halt::OutOfFuel => Ended::Failed(Failure::OutOfFuel, "fuel ended".to_owned()),
            Halt::Stop(stop) => Ended::Stopped(stop),
        });
        Report { ended, fuel: Fuel(self.fuel) }
    }

    fn fuel_used(&self) -> Fuel {
        Fuel(self.fuel)
    }
}
