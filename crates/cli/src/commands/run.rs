//! `adjutant run`: one task, from words to an exit code.

use std::io::Read as _;
use std::time::Duration;

use adjutant_domain::id::WorkerId;
use adjutant_protocol::methods::chat::ChatSend;
use adjutant_protocol::methods::runs::{RunsLog, RunsLogParams, RunsMove, RunsMoveParams};
use tokio::time::Instant;

use crate::args::{RunArgs, RunCommand};
use crate::connect::{Connection, fresh_word, session_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::{Answering, Cause, Ended, Following, say_wait, words_for};
use crate::render::duration;
use crate::terminal::Form;
use crate::view::{View, phase_word};

/// The largest task taken from stdin.
const STDIN_BYTES_MAX: u64 = 1024 * 1024;

pub(crate) async fn run(cx: &Cx<'_>, args: RunArgs) -> Result<Exit, Failure> {
    if let Some(RunCommand::Move { run, to, wait }) = args.command {
        return relocate(cx, run, to, wait).await;
    }
    let words = words(&args)?;
    let deadline = cx
        .global
        .timeout
        .map(|span| Instant::now() + span.duration());
    let gateway = Connection::for_runs(cx, &args.route).await?;
    let session = session_key(
        args.session.as_deref(),
        args.agent.as_deref(),
        &format!("run-{}", fresh_word()),
    )?;
    let mut params = words_for(&session, &words)?;
    params.model = gateway.session_model(cx, &args.route).await?;
    params.needs = args.needs.into_iter().collect();
    let mut notices = gateway.events().await?;
    let sent = gateway.call::<ChatSend>(params).await?;
    say_wait(cx, sent.waits_for.as_ref());
    let mut view = View::new(&cx.terminal);
    let session = gateway.whole_session_key(cx, session).await?;
    view.started(&sent.run_id, &session)?;
    let following = Following {
        cx,
        client: &gateway,
        notices: &mut notices,
        session: session.clone(),
        run: sent.run_id,
        answering: Answering::of(cx, args.approve),
        deadline,
    };
    let ended = following.until_over(&mut view).await?;
    conclude(cx, &mut view, &ended, &session)
}

/// Between two looks at a run that moves.
const LOOK: Duration = Duration::from_millis(300);

/// Lets another worker take the next step.
async fn relocate(cx: &Cx<'_>, run_id: String, to: String, wait: bool) -> Result<Exit, Failure> {
    let deadline = cx
        .global
        .timeout
        .map(|span| Instant::now() + span.duration());
    let gateway = Connection::to_running(cx).await?;
    let mut moved = gateway
        .call::<RunsMove>(RunsMoveParams {
            run_id,
            to,
            idempotency_key: None,
        })
        .await?;
    let run_id = moved.run.run_id.clone();
    while wait && !moved.there {
        tokio::time::sleep(LOOK).await;
        let params = RunsLogParams {
            run_id: run_id.clone(),
            from: Some(u64::MAX >> 1),
        };
        moved.run = gateway.call::<RunsLog>(params).await?.run;
        moved.there = moved.run.worker == Some(moved.to);
        if moved.run.state.is_final() && !moved.there {
            // It may have gone there and come to its end between two looks.
            let whole = RunsLogParams {
                run_id: run_id.clone(),
                from: None,
            };
            let log = gateway.call::<RunsLog>(whole).await?.entries;
            moved.there = log.iter().any(|it| is_claim_of(&it.entry, moved.to));
            if moved.there {
                break;
            }
            let message = format!("run {run_id} ended before its next step");
            return Err(Failure::new(Exit::Conflict, "CONFLICT", message));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) && !moved.there {
            let message = format!("run {run_id} is still in the step that was under way");
            return Err(Failure::new(Exit::Timeout, "TIMEOUT", message)
                .with_hint("it goes to the worker after that step all the same"));
        }
    }
    cx.terminal.show(&moved, || {
        if moved.there {
            format!("run {run_id} went to worker {}", moved.to)
        } else {
            format!("worker {} takes the next step of run {run_id}", moved.to)
        }
    })?;
    Ok(Exit::Done)
}

fn is_claim_of(entry: &serde_json::Value, worker: WorkerId) -> bool {
    entry["type"] == "claimed" && entry["worker"] == worker.to_string().as_str()
}

/// Shows the end and says what it means for a script.
pub(super) fn conclude(
    cx: &Cx<'_>,
    view: &mut View<'_>,
    ended: &Ended,
    session: &str,
) -> Result<Exit, Failure> {
    let exit = ended.exit();
    view.finished(&ended.waited, session, exit.number())?;
    if cx.terminal.form == Form::Human
        && let Some(failure) = explain(cx, ended)
    {
        cx.terminal.fail(&failure);
    }
    Ok(exit)
}

/// Why a run did not end well, for people.
fn explain(cx: &Cx<'_>, ended: &Ended) -> Option<Failure> {
    let exit = ended.exit();
    let run = &ended.waited.run_id;
    match (exit, ended.cause) {
        (Exit::Done, _) => None,
        // The line of the call says why.
        (_, Cause::Itself) if ended.told != Exit::Done => None,
        (_, Cause::Interrupted) => Some(Failure::interrupted()),
        (_, Cause::TimedOut) => {
            let limit = cx.global.timeout.map_or_else(String::new, |span| {
                format!(" within {}", duration(span.duration()))
            });
            Some(
                Failure::timeout(format!("the run was not done{limit} and was stopped"))
                    .with_hint("give it longer with `--timeout`"),
            )
        }
        (Exit::Denied, Cause::Itself) if ended.unasked != 0 => {
            let calls = crate::render::words(u64::from(ended.unasked), "call", "calls");
            Some(Failure::new(exit, "APPROVAL_NEEDED", format!("{calls} needed approval and nobody could be asked"))
                .with_hint("run it on a terminal, or decide beforehand with `--approve once` or `--approve deny`"))
        }
        _ => {
            let said = ended
                .waited
                .error
                .clone()
                .or_else(|| ended.waited.reason.clone());
            let message = match said {
                Some(said) => said,
                None => format!("the run ended {}", phase_word(ended.waited.state)),
            };
            Some(
                Failure::new(exit, "RUN_FAILED", message)
                    .with_hint(format!("see `adjutant status`; the run is `{run}`")),
            )
        }
    }
}

fn words(args: &RunArgs) -> Result<String, Failure> {
    let mut words = args.task.clone().unwrap_or_default();
    if args.stdin {
        let mut text = String::new();
        std::io::stdin()
            .take(STDIN_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| Failure::io("cannot read the task from stdin", &error))?;
        if STDIN_BYTES_MAX < u64::try_from(text.len()).unwrap_or(u64::MAX) {
            return Err(
                Failure::usage(format!("stdin is longer than {STDIN_BYTES_MAX} bytes")).with_hint(
                    "put it into a file of the workspace and name that file in the task",
                ),
            );
        }
        if !words.is_empty() {
            words.push_str("\n\n");
        }
        words.push_str(&text);
    }
    if words.trim().is_empty() {
        return Err(Failure::usage("the task is empty")
            .with_hint("write it like `adjutant run \"list the files\"`"));
    }
    Ok(words)
}
