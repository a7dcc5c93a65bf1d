//! The gateway, the store behind it, and what only they know.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use adjutant_cli::{Failure, Report, Severity};
use adjutant_client::{Client, ClientError};
use adjutant_protocol::methods::agents::{AgentIdParams, AgentsGet, AgentsList};
use adjutant_protocol::methods::approvals::{ApprovalsList, ApprovalsListParams};
use adjutant_protocol::methods::common::{KeyOnly, NoParams};
use adjutant_protocol::methods::system::{Status, StatusParams, VerifyRun};

use super::{Findings, Subject, VerifyStore, WAIT_MAX, size};
use crate::daemon::{Life, life, state};
use crate::scrap::with_suffix;

/// A write-ahead log larger than this was not moved into the database for long.
const WAL_BYTES_MAX: u64 = 64 << 20;
/// A question that is open longer than this was overlooked.
const QUESTION_AGE_MAX: Duration = Duration::from_secs(3600);
/// What every SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

pub(super) async fn look(subject: &Subject, verify: VerifyStore<'_>, found: &mut Findings) {
    store_file(&subject.place.home.join(adjutant_store::FILE_NAME), found);
    port(subject, found);
    match life(&subject.place.home) {
        Life::Up { .. } => {
            drop(verify);
            gateway(subject, found).await;
        }
        Life::Down | Life::Stale { .. } => {
            found.skipped(
                "gateway.answers",
                "no gateway runs; `adjutant gateway start` starts one",
            );
            for id in ["gateway.version", "agents.valid", "approvals.age"] {
                found.skipped(id, "only a running gateway knows");
            }
            if subject.place.home.join(adjutant_store::FILE_NAME).exists() {
                offline_store(verify, found).await;
            } else {
                found.skipped(
                    "store.verify",
                    "there is no store yet; the first start makes it",
                );
            }
        }
    }
}

fn store_file(path: &Path, found: &mut Findings) {
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    found.ok("store.size", size(metadata.len()));
    match header(path) {
        Ok(header) if metadata.len() == 0 || header.starts_with(MAGIC) => {
            found.ok("store.format", "it is a SQLite file");
            // Bytes 18 and 19: 2 means write-ahead log. Source: SQLite file format, section 1.3.
            let wal = metadata.len() == 0 || header.get(18..20) == Some(&[2, 2]);
            let bad = "it is not in write-ahead mode; another program changed it";
            found.expect(
                "store.journal",
                wal,
                "write-ahead log",
                bad,
                "the next start of the gateway sets it again",
            );
        }
        Ok(_) => found.error(
            "store.format",
            format!("{} is no SQLite file", path.display()),
            "restore a backup",
        ),
        Err(error) => found.error(
            "store.format",
            format!("{}: {error}", path.display()),
            "check the disk and the permissions",
        ),
    }
    let wal = with_suffix(path, "-wal");
    let bytes = std::fs::metadata(wal).map_or(0, |it| it.len());
    found.expect(
        "store.wal",
        bytes <= WAL_BYTES_MAX,
        format!("write-ahead log of {}", size(bytes)),
        format!(
            "the write-ahead log has {}: it is not moved into the database",
            size(bytes)
        ),
        "adjutant gateway restart",
    );
}

fn header(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(100)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn port(subject: &Subject, found: &mut Findings) {
    let running = state(&subject.place);
    let address = subject.address;
    if running.running
        && running
            .address
            .is_some_and(|it| it.port() == address.port() || address.port() == 0)
    {
        return found.ok(
            "port.free",
            format!("{} is the gateway's", running.address.unwrap_or(address)),
        );
    }
    match TcpListener::bind(address) {
        Ok(_free) => found.ok("port.free", format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => found.error(
            "port.free",
            format!("another program listens on {address}"),
            format!(
                "look with `ss -ltnp 'sport = :{}'`, or set `gateway.port`",
                address.port()
            ),
        ),
        Err(error) => found.error(
            "port.free",
            format!("{address}: {error}"),
            "set `gateway.bind` to an address of this machine",
        ),
    }
}

async fn gateway(subject: &Subject, found: &mut Findings) {
    let door = subject.place.door();
    let connecting = Client::connect_with(door.endpoint, door.credential, Duration::ZERO);
    let client = match tokio::time::timeout(WAIT_MAX, connecting).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return silent(found, &error.to_string()),
        Err(_too_late) => return silent(found, "it does not answer in time"),
    };
    match client
        .call_within::<Status>(WAIT_MAX, StatusParams::default())
        .await
    {
        Err(error) => return silent(found, &error.to_string()),
        Ok(status) => {
            let up = Duration::from_millis(status.uptime_ms).as_secs();
            found.ok(
                "gateway.answers",
                format!("up for {up} s, {} connections", status.connections),
            );
            let same = status.runtime_version == subject.version;
            let bad = format!(
                "the gateway is {}, this program is {}",
                status.runtime_version, subject.version
            );
            found.expect(
                "gateway.version",
                same,
                status.runtime_version,
                bad,
                "adjutant gateway restart",
            );
            let lost = status.runs.queued > 0 && status.runs.running == 0;
            let said = format!(
                "{} queued, {} running, {} waiting",
                status.runs.queued, status.runs.running, status.runs.parked
            );
            found.expect(
                "runs.moving",
                !lost,
                said.clone(),
                format!("{said}: nobody works on the queue"),
                "adjutant worker run",
            );
        }
    }
    approvals(subject, &client, found).await;
    agents(&client, found).await;
    let verified = client
        .call_within::<VerifyRun>(WAIT_MAX, KeyOnly::default())
        .await;
    match verified {
        Ok(report) if report.ok => {
            let n: u64 = report.checked.iter().map(|it| it.count).sum();
            found.ok(
                "store.verify",
                format!("{n} rows and entries are consistent"),
            );
        }
        Ok(report) => {
            let first = report.findings.first().cloned().unwrap_or_default();
            found.error(
                "store.verify",
                format!("{} findings, the first: {first}", report.findings.len()),
                "adjutant verify",
            );
        }
        Err(ClientError::TimedOut { .. }) => {
            found.skipped(
                "store.verify",
                "the store is too large for a quick look; run `adjutant verify`",
            );
        }
        Err(error) => found.error("store.verify", error.to_string(), "adjutant verify"),
    }
}

fn silent(found: &mut Findings, why: &str) {
    found.error(
        "gateway.answers",
        format!("a process holds the state directory, but: {why}"),
        "adjutant gateway restart",
    );
    for id in [
        "gateway.version",
        "agents.valid",
        "approvals.age",
        "store.verify",
    ] {
        found.skipped(id, "the gateway does not answer");
    }
}

async fn approvals(subject: &Subject, client: &Client, found: &mut Findings) {
    match client
        .call_within::<ApprovalsList>(WAIT_MAX, ApprovalsListParams::default())
        .await
    {
        Err(error) => found.error(
            "approvals.age",
            error.to_string(),
            "adjutant approvals list",
        ),
        Ok(page) => {
            let now = subject.clock.now();
            let old = page
                .approvals
                .iter()
                .filter(|it| QUESTION_AGE_MAX < now.since(it.created_at))
                .count();
            let said = format!("{} open questions", page.approvals.len());
            found.expect(
                "approvals.age",
                old == 0,
                said,
                format!("{old} questions wait for more than an hour"),
                "adjutant approvals list",
            );
        }
    }
}

async fn agents(client: &Client, found: &mut Findings) {
    let page = match client
        .call_within::<AgentsList>(WAIT_MAX, NoParams {})
        .await
    {
        Ok(page) => page,
        Err(error) => return found.error("agents.valid", error.to_string(), "adjutant agent list"),
    };
    let tools = client
        .call_value_within(WAIT_MAX, "tools.list", json!({}))
        .await
        .unwrap_or_default();
    let known: Vec<String> = tools
        .pointer("/tools")
        .and_then(serde_json::Value::as_array)
        .map(|all| {
            all.iter()
                .filter_map(|it| it.get("name")?.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    let mut wrong = Vec::new();
    for row in &page.agents {
        let Ok(shown) = client
            .call_within::<AgentsGet>(
                WAIT_MAX,
                AgentIdParams {
                    agent_id: row.id.clone(),
                },
            )
            .await
        else {
            wrong.push(format!("`{}` cannot be read", row.id));
            continue;
        };
        let agent = shown.agent;
        if let Some(folder) = agent
            .workspace
            .as_deref()
            .filter(|it| !Path::new(it).is_dir())
        {
            wrong.push(format!(
                "the workspace of `{}` is not there: {folder}",
                row.id
            ));
        }
        for folder in agent
            .allowed_dirs
            .iter()
            .filter(|it| !Path::new(it).is_dir())
        {
            wrong.push(format!("a folder of `{}` is not there: {folder}", row.id));
        }
        let names = agent
            .tools
            .iter()
            .flatten()
            .filter(|name| !known.is_empty() && !known.contains(name));
        wrong.extend(
            names.map(|name| format!("`{}` names a tool that does not exist: {name}", row.id)),
        );
    }
    found.expect(
        "agents.valid",
        wrong.is_empty() && !page.agents.is_empty(),
        format!(
            "{} agents with folders and tools that exist",
            page.agents.len()
        ),
        if page.agents.is_empty() {
            "there is no agent".to_owned()
        } else {
            wrong.join("; ")
        },
        "adjutant agent list, then adjutant agent edit NAME",
    );
}

async fn offline_store(verify: VerifyStore<'_>, found: &mut Findings) {
    match tokio::time::timeout(WAIT_MAX, verify).await {
        Err(_too_late) => found.skipped(
            "store.verify",
            "the store is too large for a quick look; run `adjutant verify`",
        ),
        Ok(Err(failure)) => unopened(&failure, found),
        Ok(Ok(report)) => {
            found.ok(
                "store.opens",
                "it opens, and its schema is the one of this program",
            );
            let bad: Vec<_> = report
                .checks
                .iter()
                .filter(|it| it.severity == Severity::Error)
                .collect();
            match bad.first() {
                None => found.ok("store.verify", summary(&report)),
                Some(first) => found.error(
                    "store.verify",
                    format!("{} findings, the first: {}", bad.len(), first.message),
                    "adjutant verify",
                ),
            }
        }
    }
}

fn summary(report: &Report) -> String {
    format!(
        "{} checks of logs, projections and chains hold",
        report.checks.len()
    )
}

fn unopened(failure: &Failure, found: &mut Findings) {
    let fix = failure
        .hint
        .clone()
        .unwrap_or_else(|| "restore a backup".to_owned());
    found.error("store.opens", failure.message.clone(), fix);
    found.skipped("store.verify", "it does not open");
}
