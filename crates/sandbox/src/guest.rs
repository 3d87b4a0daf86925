//! A program and its instances: the implementation of the spine's seam.
//!
//! Invariants kept here:
//! - All code of the guest, its start function included, runs inside a run: with fuel, under a membrane.
//! - Fuel is set after instantiation, whose own work differs between engines and is not the guest's.
//! - A guest that failed or was stopped runs nothing more.

use crate::{
    abi,
    engine::{RUNTIME_ID, YIELD_INTERVAL},
    failure,
    host::Ctx,
};
use igor_protocol::{Fuel, entry::Failure, manifest::Limits};
use igor_spine::guest::{Ended, Guest, Input, Membrane, Program, Report};
use std::sync::Arc;
use wasmtime::{Instance, InstancePre, Module, Store, TypedFunc, WasmParams, WasmResults};

/// A program that was checked and compiled. Cloning it is cheap.
#[derive(Clone)]
pub struct WasmProgram(Arc<Parts>);

struct Parts {
    linked: InstancePre<Ctx>,
    /// Held so that the sandbox knows that it is in use.
    _module: Arc<Module>,
    limits: Limits,
    can_checkpoint: bool,
}

impl WasmProgram {
    pub(crate) fn new(module: Arc<Module>, linked: InstancePre<Ctx>, limits: Limits, can_checkpoint: bool) -> Self {
        Self(Arc::new(Parts { linked, _module: module, limits, can_checkpoint }))
    }
}

impl Program for WasmProgram {
    type Guest = WasmGuest;

    fn instantiate(&self) -> WasmGuest {
        WasmGuest { program: Arc::clone(&self.0), instance: None, given: Fuel::ZERO }
    }

    fn can_checkpoint(&self) -> bool {
        self.0.can_checkpoint
    }

    fn runtime(&self) -> &'static str {
        RUNTIME_ID
    }
}

/// One instance of a program.
pub struct WasmGuest {
    program: Arc<Parts>,
    instance: Option<Running>,
    /// The fuel of the last run.
    given: Fuel,
}

/// An instance with its functions looked up, so that a run does not search for them.
struct Running {
    store: Store<Ctx>,
    instance: Instance,
    tick: Tick,
    checkpoint: Option<(TypedFunc<(), i32>, TypedFunc<(), i32>)>,
    /// A run is under way, or ended in a way after which there is no other.
    spent: bool,
}

#[derive(Clone)]
enum Tick {
    Plain(TypedFunc<(), ()>),
    SaysMore(TypedFunc<(), i32>),
}

impl Guest for WasmGuest {
    /// # Panics
    /// If the guest failed or was stopped before, or if its first run is neither init nor resume, or a later one is:
    /// these are mistakes of the caller.
    async fn run(&mut self, input: Input, fuel: Fuel, membrane: Arc<dyn Membrane>) -> Report {
        let begins = matches!(input, Input::Init | Input::Resume(_));
        assert_eq!(begins, self.instance.is_none(), "the first run of a guest, and only the first, begins it");
        self.given = fuel;
        let running = match &mut self.instance {
            Some(running) => running,
            None => match Running::new(&self.program).await {
                Ok(running) => self.instance.insert(running),
                Err(error) => return Report { ended: failure::instantiating(&error), fuel: Fuel::ZERO },
            },
        };
        assert!(!running.spent, "a guest that failed or was stopped is not run again");
        running.spent = true;
        let result = running.begin(&input, fuel, membrane);
        let result = match result {
            Ok(()) => running.call(input, self.program.limits.state_bytes).await,
            Err(error) => Err(error.into()),
        };
        let ended = running.end(result);
        running.spent = !matches!(ended, Ended::Returned { .. } | Ended::State(_));
        Report { ended, fuel: self.fuel_used() }
    }

    fn fuel_used(&self) -> Fuel {
        let left = self.instance.as_ref().map_or(Ok(self.given.0), |running| running.store.get_fuel());
        // Without fuel metering there would be an error here, and with it there is none.
        self.given.saturating_sub(Fuel(left.unwrap_or(0)))
    }
}

/// Why a call into the guest gave no result.
pub(crate) enum Stopped {
    /// A trap, or what a hostcall ended the run with.
    Call(wasmtime::Error),
    /// It returned something that it must not.
    Broken(Failure, String),
}

impl From<wasmtime::Error> for Stopped {
    fn from(error: wasmtime::Error) -> Self {
        Self::Call(error)
    }
}

fn broken<T>(why: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Broken(Failure::Trap, why.into()))
}

impl Running {
    async fn new(program: &Parts) -> wasmtime::Result<Self> {
        let mut store = Store::new(program.linked.module().engine(), Ctx::new(&program.limits));
        store.limiter(|ctx| &mut ctx.limiter);
        // For what the engine itself does; the run's fuel is set when it begins.
        store.set_fuel(u64::MAX)?;
        let instance = program.linked.instantiate_async(&mut store).await?;
        store.fuel_async_yield_interval(Some(YIELD_INTERVAL))?;
        store.data_mut().memory = instance.get_memory(&mut store, abi::MEMORY);
        let tick = match instance.get_typed_func(&mut store, "agent_tick") {
            Ok(function) => Tick::SaysMore(function),
            Err(_) => Tick::Plain(instance.get_typed_func(&mut store, "agent_tick")?),
        };
        let checkpoint = if program.can_checkpoint {
            let write = instance.get_typed_func(&mut store, "agent_checkpoint")?;
            Some((write, instance.get_typed_func(&mut store, "agent_checkpoint_ptr")?))
        } else {
            None
        };
        Ok(Self { store, instance, tick, checkpoint, spent: false })
    }

    fn begin(&mut self, input: &Input, fuel: Fuel, membrane: Arc<dyn Membrane>) -> wasmtime::Result<()> {
        let ctx = self.store.data_mut();
        ctx.trigger = if let Input::Tick(trigger) = input { trigger.code() } else { 0 };
        ctx.membrane = Some(membrane);
        self.store.set_fuel(fuel.0)
    }

    async fn call(&mut self, input: Input, state_bytes_max: u64) -> Result<Ended, Stopped> {
        let returned = Ended::Returned { more_work: false };
        match input {
            Input::Init => self.initialise().await.map(|()| returned),
            Input::Tick(_) => {
                let more_work = match &self.tick {
                    Tick::SaysMore(tick) => tick.call_async(&mut self.store, ()).await? != 0,
                    Tick::Plain(tick) => tick.call_async(&mut self.store, ()).await.map(|()| false)?,
                };
                Ok(Ended::Returned { more_work })
            }
            Input::Checkpoint => self.write_state(state_bytes_max).await.map(Ended::State),
            Input::Resume(state) => {
                self.initialise().await?;
                self.resume(&state).await.map(|()| returned)
            }
        }
    }

    async fn initialise(&mut self) -> Result<(), Stopped> {
        for name in [abi::START, "_initialize", "agent_init"] {
            if self.instance.get_func(&mut self.store, name).is_some() {
                self.call_named::<(), ()>(name, ()).await?;
            }
        }
        Ok(())
    }

    async fn write_state(&mut self, bytes_max: u64) -> Result<Vec<u8>, Stopped> {
        let Some((write, locate)) = &self.checkpoint else {
            return broken("the module exports no agent_checkpoint");
        };
        let length = write.call_async(&mut self.store, ()).await?.cast_unsigned();
        let at = locate.call_async(&mut self.store, ()).await?;
        if u64::from(length) > bytes_max {
            let why = format!("agent_checkpoint says {length} bytes, limits.state_bytes is {bytes_max}");
            return Err(Stopped::Broken(Failure::OverLimit, why));
        }
        let start = at.cast_unsigned() as usize;
        let memory = self.store.data().memory.map_or(&[][..], |memory| memory.data(&self.store));
        match memory.get(start..start.saturating_add(length as usize)) {
            Some(state) => Ok(state.to_vec()),
            None => broken(format!("agent_checkpoint: {length} bytes at {at:#x} are not inside memory")),
        }
    }

    async fn resume(&mut self, state: &[u8]) -> Result<(), Stopped> {
        if self.checkpoint.is_none() {
            return broken("the module exports no agent_resume");
        }
        let Ok(length) = i32::try_from(state.len()) else {
            return broken(format!("a state of {} bytes is too long for agent_resume", state.len()));
        };
        let has_alloc = self.instance.get_func(&mut self.store, "agent_alloc").is_some();
        let allocator = if has_alloc { "agent_alloc" } else { abi::MALLOC.name };
        let at = self.call_named::<i32, i32>(allocator, length).await?;
        // Zero is how `malloc` fails, and no allocator gives it for a state that has bytes.
        if at == 0 && length > 0 {
            return broken(format!("{allocator} gave no room for a state of {length} bytes"));
        }
        let memory = self.store.data().memory;
        if memory.is_none_or(|memory| memory.write(&mut self.store, at.cast_unsigned() as usize, state).is_err()) {
            return broken(format!("{allocator}: {length} bytes at {at:#x} are not inside memory"));
        }
        Ok(self.call_named::<(i32, i32), ()>("agent_resume", (at, length)).await?)
    }

    /// For the calls of a new instance, which are made once.
    async fn call_named<P, R>(&mut self, name: &str, params: P) -> wasmtime::Result<R>
    where
        P: WasmParams + Sync,
        R: WasmResults + Sync,
    {
        let function: TypedFunc<P, R> = self.instance.get_typed_func(&mut self.store, name)?;
        function.call_async(&mut self.store, params).await
    }

    /// Turns what came of the calls into what is reported, and lets go of the membrane.
    fn end(&mut self, result: Result<Ended, Stopped>) -> Ended {
        let ctx = self.store.data_mut();
        let refused = ctx.limiter.take_refused();
        let unfinished = ctx.finish_lines();
        ctx.membrane = None;
        let ended = match result {
            Ok(ended) => ended,
            Err(stopped) => failure::ended(stopped, refused),
        };
        match (ended, unfinished) {
            // The membrane's word counts more than the guest's end: what is left of a line may be what stops the run.
            (ended @ (Ended::Stopped(_) | Ended::HostFailed(_)), _) | (ended, Ok(())) => ended,
            (_, Err(error)) => failure::ended(Stopped::Call(error), None),
        }
    }
}
