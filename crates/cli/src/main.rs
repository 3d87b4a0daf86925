//! The binary `igor`.
//!
//! Invariants kept here:
//! - The compiler's child process is dispatched before anything else: it reads no argument, environment or file.
//! - Every way out of a command has the exit code of its [`failure::Code`].

mod args;
mod context;
mod execute;
mod failure;
mod logging;
mod module;
mod output;
mod signals;
mod source;
mod verb;
mod words;

use args::{Cli, FIRST_SCREEN, NodeVerb, Verb};
use clap::Parser;
use context::{Context, Kept};
use failure::{Code, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == igor_sandbox::compile::CHILD_ARG) {
        return igor_sandbox::compile::child_main();
    }
    igor_sandbox::heap::keep_little();
    let cli = Cli::parse();
    match logging::begin(cli.verb.as_ref(), cli.global.json).and_then(|()| run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.code != Code::Closed {
                output::note(format!("igor: {failure}"));
            }
            ExitCode::from(failure.code as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().event_interval(igor_node::EVENT_INTERVAL).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::failed(format!("the system gives no threads: {e}")))?;
    runtime.block_on(dispatch(cli))
}

/// Moves that a command follows: nodes that send it in circles end it.
const FOLLOWED_MAX: u32 = 8;

async fn dispatch(mut cli: Cli) -> Result<(), Failure> {
    let mut context = Context::new(&cli.global)?;
    let Some(mut verb) = cli.verb.take() else { return output::raw(FIRST_SCREEN) };
    // What is sent once more elsewhere is the same message, the same order.
    let mut kept = Kept::default();
    let mut follows = if verb::send::name_message(&mut verb)? { FOLLOWED_MAX } else { 0 };
    loop {
        let done = Box::pin(perform(&context, &cli, &verb, &mut kept)).await;
        let Err(failure) = done else { return Ok(()) };
        let Some(elsewhere) = failure.elsewhere() else { return Err(failure) };
        let next = tokio::task::block_in_place(|| context.following(elsewhere.node));
        match next {
            Some(next) if follows > 0 => {
                follows -= 1;
                if let Some(name) = verb.agent_mut() {
                    *name = elsewhere.agent.to_string();
                }
                tracing::info!(agent = %elsewhere.agent, node = %elsewhere.node, "following the agent");
                context = next;
            }
            // Scripts read from stdout who has it.
            _ => {
                if context.out.is_json() {
                    context.out.say(&SentOn { error: "moved", elsewhere }, String::new)?;
                }
                return Err(failure);
            }
        }
    }
}

/// What scripts read where a command has to go to another node.
#[derive(serde::Serialize)]
struct SentOn<'a> {
    error: &'static str,
    #[serde(flatten)]
    elsewhere: &'a igor_node::api::wire::Elsewhere,
}

async fn perform(context: &Context, cli: &Cli, verb: &Verb, kept: &mut Kept) -> Result<(), Failure> {
    match verb {
        Verb::Run(args) => Box::pin(verb::run::run(context, args)).await,
        Verb::Deploy(args) => verb::deploy::deploy(context, args),
        Verb::Node { verb: NodeVerb::Start } => Box::pin(verb::node::start(context)).await,
        Verb::Send(args) => verb::send::send(context, args, kept).await,
        Verb::Call(args) => verb::send::call(context, args, kept).await,
        Verb::Ps(args) => verb::show::ps(context, args),
        Verb::Logs(args) => verb::logs::logs(context, args),
        Verb::Show(args) => verb::show::show(context, args),
        Verb::Timeline(args) => verb::timeline::timeline(context, args),
        Verb::Fund(args) => verb::order::fund(context, args, kept),
        Verb::Pause(args) => verb::control::pause(context, args),
        Verb::Resume(args) => verb::control::resume(context, args),
        Verb::End(args) => verb::order::end(context, args, kept),
        Verb::Migrate(args) => verb::migrate::migrate(context, args),
        Verb::Standby { verb } => verb::standby::standby(context, verb, kept),
        Verb::Node { verb: NodeVerb::Drain } => verb::migrate::drain(context),
        Verb::Node { verb: NodeVerb::Check } => verb::standby::check(context),
        Verb::Nodes => verb::migrate::nodes(context),
        Verb::Verify(args) => verb::verify::verify(context, args),
        Verb::Replay(args) => verb::replay::replay(context, args),
        Verb::Takeover(args) => verb::takeover::takeover(context, args),
        Verb::Export(args) => verb::export::export(context, args),
        Verb::Import(args) => verb::import::import(context, args),
        Verb::Delete(args) => verb::delete::delete(context, args),
        Verb::Key(args) => verb::key::key(context, args),
        Verb::Config => verb::config::config(context, &cli.global),
        Verb::Doctor => verb::doctor::doctor(context),
        Verb::Demo(args) => tokio::task::block_in_place(|| verb::demo::demo(context, args)),
        Verb::Completions { shell } => verb::completions::completions(*shell),
    }
}
