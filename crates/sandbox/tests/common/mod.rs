//! What the tests of the sandbox share: a sandbox for each test, a world that is made up, a way to poll.

#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses its part, and nobody else does
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // the numbers are small ones

use igor_protocol::{Fuel, Manifest, Nanos};
use igor_sandbox::{
    Error, Sandbox, Stack, WasmGuest, WasmProgram,
    compile::{Compiler, Limits},
};
use igor_spine::guest::{Answer, Ask, Ended, Guest, Held, Hold, Input, Membrane, Program, Report, Stop, Waiting};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Waker},
};
use tempfile::TempDir;

/// Enough for every guest that ends by itself.
pub const FUEL: Fuel = Fuel(10_000_000);

/// Where the tests of this process keep compiled programs: one cache for all, since that is how it is used.
fn cache() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}

pub fn child() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_igor-compile-child"))
}

pub fn sandbox() -> Sandbox {
    open(cache(), Stack::Live)
}

pub fn open(cache: &Path, stack: Stack) -> Sandbox {
    Sandbox::open(&cache.join("compiled"), Compiler::new(child(), Limits::default()), stack).expect("a sandbox")
}

/// Loads a module in text form, with every capability.
pub fn load(text: &str) -> WasmProgram {
    let mut manifest = Manifest::default();
    manifest.capabilities.migrate = true;
    try_load(text, &manifest).expect("a module that is accepted")
}

pub fn try_load(text: &str, manifest: &Manifest) -> Result<WasmProgram, Error> {
    sandbox().load(&wat(text), manifest)
}

pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A module with what an agent must have, and `more`. `tick` is the body of `agent_tick`, which gives an i32.
pub fn agent(imports: &str, more: &str, tick: &str) -> String {
    format!(
        r#"(module
            {imports}
            (memory (export "memory") 1)
            {more}
            (func (export "agent_init"))
            (func (export "agent_tick") (result i32) {tick}))"#
    )
}

/// A world that is made up, and remembers.
#[derive(Default)]
pub struct World {
    state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// What was asked, in order.
    pub asked: Vec<Ask>,
    /// What is held, in order.
    pub held: Vec<Held>,
    /// How long was waited, in order.
    pub waited: Vec<Nanos>,
    /// Messages to give.
    pub messages: VecDeque<Vec<u8>>,
    /// Receipts to give.
    pub receipts: Vec<Vec<u8>>,
    /// Nothing more is answered or held after so many.
    pub most: Option<usize>,
    /// What a reply comes to.
    pub reply: Option<Hold>,
    pub gap: Nanos,
    /// The list of nodes.
    pub nodes: Vec<u8>,
    /// What the balance is.
    pub balance: Option<i64>,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn with(change: impl FnOnce(&mut State)) -> Arc<Self> {
        let world = Self::new();
        change(&mut world.state());
        world
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    pub fn logs(&self) -> Vec<String> {
        let lines = self.state().held.clone().into_iter();
        lines.filter_map(|held| if let Held::Log(line) = held { Some(line) } else { None }).collect()
    }
}

impl State {
    fn count(&self) -> Result<(), Stop> {
        match self.most {
            Some(most) if self.asked.len() + self.held.len() >= most => Err(Stop::OverLimit("observations")),
            _ => Ok(()),
        }
    }
}

impl Membrane for World {
    fn observe(&self, ask: Ask) -> Result<Answer, Stop> {
        let mut state = self.state();
        state.count()?;
        let count = state.asked.len();
        state.asked.push(ask.clone());
        Ok(match ask {
            Ask::Clock => Answer::Number(1_000_000_000 + count as i64),
            Ask::Random(len) if len > 1 << 20 => return Err(Stop::OverLimit("random bytes")),
            Ask::Random(len) => Answer::Bytes((0..len).map(|position| (position as u8).wrapping_mul(31)).collect()),
            Ask::Balance => Answer::Number(state.balance.unwrap_or(5_000_000)),
            Ask::Price => Answer::Number(77),
            Ask::ReceiptCount => Answer::Number(state.receipts.len() as i64),
            Ask::Receipt(index) => {
                state.receipts.get(index as usize).map_or(Answer::None, |r| Answer::Bytes(r.clone()))
            }
            Ask::Draining => Answer::Number(1),
            Ask::Nodes => Answer::Bytes(state.nodes.clone()),
            Ask::Message { room } => match state.messages.front().map(Vec::len) {
                None => Answer::None,
                Some(len) if len > room as usize => Answer::TooLong(len as u32),
                Some(_) => Answer::Bytes(state.messages.pop_front().unwrap_or_default()),
            },
        })
    }

    fn wait(&self, duration: Nanos) -> Waiting<'_> {
        self.state().waited.push(duration);
        Box::pin(async { Ok(()) })
    }

    fn hold(&self, held: Held) -> Result<Hold, Stop> {
        let mut state = self.state();
        state.count()?;
        let reply = state.reply;
        let answer = if matches!(held, Held::Reply(_)) { reply } else { None };
        state.held.push(held);
        Ok(answer.unwrap_or(Hold::Held))
    }

    fn resumed_gap(&self) -> Nanos {
        self.state().gap
    }
}

/// Polls until it is ready. The guests of these tests wait for nothing but their turn.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// Polls so many times, then drops it. The output, if it was ready by then.
pub fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
    }
    None
}

pub fn run(guest: &mut WasmGuest, input: Input, world: &Arc<World>) -> Report {
    let world: Arc<dyn Membrane> = Arc::<World>::clone(world);
    block_on(guest.run(input, FUEL, world))
}

/// A guest that has begun.
pub fn begun(program: &WasmProgram) -> WasmGuest {
    let mut guest = program.instantiate();
    let report = run(&mut guest, Input::Init, &World::new());
    assert_eq!(report.ended, Ended::Returned { more_work: false });
    guest
}
