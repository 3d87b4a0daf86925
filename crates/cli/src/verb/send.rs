//! `send` and `call`: messages to an agent at a node, each processed exactly once.
//!
//! Invariant: a message that is sent again has the id or number and the sender that it had, so that a repeat changes
//! nothing; where it would have another sender, it is not sent.

use crate::{
    Context, Kept,
    args::{self, Verb},
    failure::{Code, Failure},
    output::{Progress, note},
    source::Local,
    words,
};
use igor_node::{
    api::wire::{MessageAnswer, MessageState, MessageStatus, Outgoing, Taken, WAIT_SECONDS_MAX},
    client::{self, Address, Attempts, Client, Lines, Progress as Sent, SentAs, send_lines},
    home::Home,
};
use igor_protocol::{Hash, Nanos, entry::MessageId};
use serde::Serialize;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout_at};

/// Longest message that is read; the agent's own limit is checked by its node.
const BODY_BYTES_MAX: u64 = 1 << 20;
/// Longest file of lines.
const LINES_BYTES_MAX: u64 = 256 << 20;
/// How long one message waits for a node.
const PATIENCE: Nanos = Nanos::from_secs(10);
/// Pauses between attempts.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct SentOne {
    id: String,
    #[serde(flatten)]
    taken: Taken,
}

#[derive(Debug, Serialize)]
struct SentLines {
    stream: String,
    lines: usize,
    sent: u64,
}

#[derive(Debug, Serialize)]
struct Answered {
    id: String,
    reply: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_base64: Option<String>,
    seq: u64,
}

/// Names the message of a command, so that it is the same one wherever the command is given again. Says whether it can
/// be: stdin is read once.
pub(crate) fn name_message(verb: &mut Verb) -> Result<bool, Failure> {
    let (id, body, lines) = match verb {
        Verb::Send(args) => (&mut args.id, args.body.as_deref(), args.lines.as_deref()),
        Verb::Call(args) => (&mut args.id, Some(args.body.as_str()), None),
        _ => return Ok(true),
    };
    if id.is_none() && lines.is_none() {
        *id = Some(new_id()?);
    }
    Ok(body != Some("-") && lines != Some(Path::new("-")))
}

/// Sends one message, or each line of a file.
pub(crate) async fn send(context: &Context, args: &args::Send, kept: &mut Kept) -> Result<(), Failure> {
    let client = client_of(context)?;
    tokio::task::block_in_place(|| refuse_archive(context, &args.name))?;
    if let Some(path) = &args.lines {
        return lines(context, &client, args, path, &mut kept.sent_as).await;
    }
    let body = body(args.body.as_deref().unwrap_or_default())?;
    let id = args.id.clone().map_or_else(new_id, Ok)?;
    let deadline = Instant::now() + args.timeout.unwrap_or(PATIENCE).to_duration();
    let taken = deliver(&client, &args.name, &id, &body, deadline, &mut kept.sent_as).await?;
    let row = SentOne { id, taken };
    context.out.say(&row, || {
        if taken.duplicate {
            format!("{} came before, as entry {}; nothing was added", row.id, taken.seq)
        } else {
            format!("committed as entry {} (id {})", taken.seq, row.id)
        }
    })
}

/// Sends one message and waits for its reply.
pub(crate) async fn call(context: &Context, args: &args::Call, kept: &mut Kept) -> Result<(), Failure> {
    let client = client_of(context)?;
    tokio::task::block_in_place(|| refuse_archive(context, &args.name))?;
    let body = body(&args.body)?;
    let id = args.id.clone().map_or_else(new_id, Ok)?;
    let deadline = Instant::now() + args.timeout.to_duration();
    deliver(&client, &args.name, &id, &body, deadline, &mut kept.sent_as).await?;
    let status = closed(&client, &args.name, &id, deadline).await?;
    if status.state == MessageState::Failed {
        let cause = status.cause.unwrap_or_else(|| "the ticks that took it failed".to_owned());
        return Err(Failure::failed(format!("the agent failed on this message: {cause}")));
    }
    let bytes = status.reply_bytes().map_err(Failure::failed)?;
    let bytes = bytes.ok_or_else(|| Failure::failed("the agent took the message and gave no reply"))?;
    let reply = String::from_utf8_lossy(&bytes).into_owned();
    let row = Answered { id, reply, reply_base64: status.reply_base64, seq: status.seq.0 };
    context.out.say(&row, || row.reply.clone())
}

async fn lines(
    context: &Context,
    client: &Client,
    args: &args::Send,
    path: &Path,
    sent_as: &mut SentAs,
) -> Result<(), Failure> {
    let bytes = read(path, LINES_BYTES_MAX)?;
    let stream = Hash::of_blob(&bytes).to_string();
    let lines = split(&bytes);
    let mut progress = Progress::new(format!("sending {}", path.display()));
    let what = Lines {
        agent: &args.name,
        stream: &stream,
        lines: &lines,
        rate: args.rate.map(f64::from),
        patience: args.timeout.map(Nanos::to_duration),
    };
    let mut waiting = String::new();
    let sent = send_lines(client, what, sent_as, |how| match how {
        Sent::Committed(done) => progress.at(|| format!("{done} of {}", words::count(lines.len() as u64, "line"))),
        Sent::Waiting(why) => {
            progress.at(|| why.clone());
            if why != waiting {
                tracing::info!(why, "waiting");
                waiting = why;
            }
        }
    });
    let sent = sent.await.map_err(lines_failure)?;
    drop(progress);
    let row = SentLines { stream, lines: lines.len(), sent };
    context.out.say(&row, || match (sent, lines.len() as u64) {
        (0, total) => format!("all {} were there already", words::count(total, "line")),
        (sent, total) if sent == total => format!("{}, each committed once", words::count(sent, "line")),
        (sent, total) => {
            format!("{} of {}; the others were there already", words::count(sent, "line"), words::count(total, "line"))
        }
    })
}

/// Sends a message until its fate is known. Attempts repeat its id, so they add up to one message.
async fn deliver(
    client: &Client,
    name: &str,
    id: &str,
    body: &[u8],
    deadline: Instant,
    sent_as: &mut SentAs,
) -> Result<Taken, Failure> {
    let (mut pause, mut attempts) = (PAUSE_MIN, Attempts::default());
    // Without the id, the same command sends another message.
    let named = |sent_as: &SentAs, why: Failure| match sent_as.sender() {
        Some(_) => why.while_at(format!("message {id} may have been taken; to be sure send it again with --id {id}")),
        None => why,
    };
    loop {
        let message = Outgoing::new(MessageId::Opaque(id.to_owned()), body);
        let passing = match timeout_at(deadline, client.send_as(name, vec![message], sent_as)).await {
            Err(_) => return Err(Failure::unreachable(format!("the node gave no answer in time; send id {id} again"))),
            Ok(Ok(answers)) => match answers.into_iter().next() {
                Some(MessageAnswer::Taken(taken)) => return Ok(taken),
                Some(MessageAnswer::Refused { status, error }) => {
                    let refused =
                        client::Error::Refused { status, code: error.code, message: error.message, retry_after: None };
                    passing(&mut attempts, refused).map_err(|why| named(sent_as, why))?
                }
                None => return Err(Failure::failed("the node did not answer for the message")),
            },
            Ok(Err(error)) => passing(&mut attempts, error).map_err(|why| named(sent_as, why))?,
        };
        if Instant::now() + pause >= deadline {
            return Err(Failure::from(passing).while_at(format!("gave up; message id {id} can be sent again")));
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits until a tick has closed a message.
async fn closed(client: &Client, name: &str, id: &str, deadline: Instant) -> Result<MessageStatus, Failure> {
    let (mut pause, mut attempts) = (PAUSE_MIN, Attempts::default());
    loop {
        let late = || {
            let why = format!("no reply in time; the message is committed: ask again with --id {id}");
            Failure::unreachable(why)
        };
        let rest = deadline.saturating_duration_since(Instant::now());
        let wait = Duration::from_secs(rest.as_secs().clamp(1, WAIT_SECONDS_MAX));
        match timeout_at(deadline, client.message(name, id, wait)).await {
            Err(_) => return Err(late()),
            Ok(Ok(status)) if status.state != MessageState::Open => return Ok(status),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                passing(&mut attempts, error)?;
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        if Instant::now() >= deadline {
            return Err(late());
        }
    }
}

/// An error after which the same call may succeed; others end the command.
fn passing(attempts: &mut Attempts, error: client::Error) -> Result<client::Error, Failure> {
    if attempts.go_on_after(&error) { Ok(error) } else { Err(error.into()) }
}

fn lines_failure(error: client::LinesError) -> Failure {
    match error {
        client::LinesError::Refused { line, source } => Failure::from(source).while_at(format!("line {line}")),
        client::LinesError::OutOfPatience { .. } => Failure::unreachable(error),
        client::LinesError::OtherStream { .. } => Failure::new(Code::Refused, error),
    }
}

/// The node to send to; that none runs now, or that there is no home yet, is no error yet.
pub(crate) fn client_of(context: &Context) -> Result<Client, Failure> {
    match &context.node {
        Some(address) => Ok(Client::new(address.clone())),
        None => Ok(Client::new(Address::Socket(Home::socket_of(&context.path)?))),
    }
}

/// Refuses to wait for an agent that no node of this home may ever run. A node that runs says so itself.
fn refuse_archive(context: &Context, name: &str) -> Result<(), Failure> {
    if context.node.is_some() {
        return Ok(());
    }
    // Whatever else is wrong with the home, or not there yet, is for the node that is waited for.
    let Ok(local) = context.home().and_then(|home| Ok(Local::open(&home)?)) else { return Ok(()) };
    match local.resolve(name) {
        Ok(agent) => match local.info(agent) {
            Ok(info) => Ok(info.check_custody()?),
            Err(_) => Ok(()),
        },
        Err(gone) if gone.elsewhere().is_some() => Err(gone),
        Err(_) => Ok(()),
    }
}

fn new_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::failed(format!("the system gives no random bytes for an id: {e}; use --id")))?;
    Ok(hex::encode(bytes))
}

fn body(text: &str) -> Result<Vec<u8>, Failure> {
    if text == "-" { read(Path::new("-"), BODY_BYTES_MAX) } else { Ok(text.as_bytes().to_vec()) }
}

/// All of a file, or of stdin for `-`, up to a bound.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: io::Error| Failure::failed(format!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        if io::IsTerminal::is_terminal(&io::stdin()) {
            note("reading from the terminal; end with Ctrl-D");
        }
        io::stdin().lock().take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > bytes_max {
        let most = words::bytes(bytes_max);
        return Err(Failure::refused(format!("{} is too large: at most {most} can be sent; split it", path.display())));
    }
    Ok(bytes)
}

/// The lines of a text, without their ends. What follows the last end is a line only if there is something.
fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> =
        bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect();
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}
