//! `adjutant worker`: who does the work.

use std::time::Duration;

use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::workers::{
    WorkerRow, WorkerState, WorkersDrain, WorkersDrainParams, WorkersList, WorkersPage,
};
use tokio::time::Instant;

use crate::args::WorkerCommand;
use crate::connect::Connection;
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::WorkerOptions;
use crate::render::{Table, ago};

/// Between two looks at a worker that drains.
const LOOK: Duration = Duration::from_millis(300);

pub(super) async fn worker(cx: &Cx<'_>, command: WorkerCommand) -> Result<Exit, Failure> {
    match command {
        WorkerCommand::Run {
            parallel,
            offers,
            database,
        } => {
            let options = WorkerOptions {
                parallel,
                offers,
                database_url: database.database_url,
            };
            cx.host.worker_run(options).await?;
        }
        WorkerCommand::List => {
            let page = Connection::to_running(cx)
                .await?
                .call::<WorkersList>(NoParams {})
                .await?;
            cx.terminal.show(&page, || listed(cx, &page))?;
        }
        WorkerCommand::Drain { worker, wait } => drain(cx, worker, wait).await?,
    }
    Ok(Exit::Done)
}

fn listed(cx: &Cx<'_>, page: &WorkersPage) -> String {
    let mut table = Table::new(&[
        "WORKER", "HOST", "PID", "STATE", "BUSY", "OFFERS", "SEEN", "STARTED",
    ]);
    for it in &page.workers {
        table.row([
            it.id.to_string(),
            it.host.clone(),
            it.pid.to_string(),
            word(it.state).to_owned(),
            format!("{}/{}", it.runs.len(), it.slots),
            it.offers.to_string(),
            ago(it.seen_at, cx.now()),
            ago(it.started_at, cx.now()),
        ]);
    }
    let workers = if page.workers.is_empty() {
        "no worker is heard of; start one with `adjutant worker run`".to_owned()
    } else {
        table.render(cx.terminal.paint(), cx.terminal.table_width())
    };
    format!(
        "{workers}\n{} running, {} queued, {} waiting",
        page.running, page.queued, page.parked
    )
}

fn word(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Working => "working",
        WorkerState::Draining => "draining",
        WorkerState::Silent => "silent",
    }
}

async fn drain(cx: &Cx<'_>, worker: String, wait: bool) -> Result<(), Failure> {
    let gateway = Connection::to_running(cx).await?;
    let asked = gateway
        .call::<WorkersDrain>(WorkersDrainParams {
            worker,
            idempotency_key: None,
        })
        .await?;
    if wait {
        until_gone(cx, &gateway, &asked).await?;
    }
    cx.terminal.show(&asked, || match (wait, asked.runs.len()) {
        (true, _) => format!("worker {} on {} is gone", asked.id, asked.host),
        (false, 0) => format!("worker {} on {} takes no more runs", asked.id, asked.host),
        (false, n) => format!(
            "worker {} on {} takes no more runs and hands over the {n} that it has",
            asked.id, asked.host
        ),
    })
}

async fn until_gone(cx: &Cx<'_>, gateway: &Connection, asked: &WorkerRow) -> Result<(), Failure> {
    let deadline = cx
        .global
        .timeout
        .map(|span| Instant::now() + span.duration());
    loop {
        let page = gateway.call::<WorkersList>(NoParams {}).await?;
        let is_there = |it: &WorkerRow| it.id == asked.id && it.state != WorkerState::Silent;
        let Some(still) = page.workers.iter().find(|it| is_there(it)) else {
            return Ok(());
        };
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let message = format!(
                "worker {} still has {} runs in a step that takes its time",
                asked.id,
                still.runs.len()
            );
            return Err(Failure::new(Exit::Timeout, "TIMEOUT", message)
                .with_hint("it goes on draining; `adjutant worker list` shows what it has"));
        }
        tokio::time::sleep(LOOK).await;
    }
}
