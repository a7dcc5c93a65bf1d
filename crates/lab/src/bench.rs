//! The benchmark: Adjutant beside the floor, with the same mock, client and machine, in one run. Only the ratios count.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::client::{Client, Turn, turn};
use crate::percentile::{median, percentile};
use crate::rounds;
use crate::subject::{Home, Subject, cpu, floor, free_port, mock, rss, written};

/// One row of the table.
struct Row {
    what: &'static str,
    unit: &'static str,
    ours: f64,
    floor: Option<f64>,
    /// What the ratio (or, without a floor, the figure) should not pass; for rates, should reach.
    goal: Option<Goal>,
}

enum Goal {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
}

struct Effort {
    turns: u32,
    rounds: u32,
    sessions: u32,
    connections: u32,
    history: &'static [u32],
}

const FULL: Effort = Effort {
    turns: 300,
    rounds: 30,
    sessions: 10_000,
    connections: 1_000,
    history: &[10, 100, 1_000, 10_000],
};
const QUICK: Effort = Effort {
    turns: 60,
    rounds: 8,
    sessions: 500,
    connections: 200,
    history: &[10, 100],
};

/// Measures and prints the table.
pub(crate) async fn run(binary: &Path, quick: bool, out: Option<&Path>) -> Result<()> {
    let effort = if quick { QUICK } else { FULL };
    let dir = tempfile::tempdir()?;
    let model = mock().await?;
    let extra = "[worker]\nruns_at_once = 64\nreflect = false\n\
                 [gateway.rate]\nrequests_per_minute = 1000000\nburst = 1000000\n\
                 [providers.prices.\"openai/mock\"]\ninput = 1000000\noutput = 1000000\n[budget]\nday = \"100000\"\n";
    let home = Home::new(&dir.path().join("home"), binary, model.port, extra).await?;
    let floor_dir = dir.path().join("floor");
    std::fs::create_dir(&floor_dir)?;
    let port = free_port()?;
    let (mut ours, _) = home.gateway(port).await?;
    let floor = floor(&floor_dir, model.port).await?;
    let mut rows = Vec::new();
    single(&effort, &ours, &floor, model.port, &mut rows).await?;
    tools(&effort, &ours, &floor, &mut rows).await?;
    status(&effort, &ours, &floor, &mut rows).await?;
    parallel(&effort, &ours, &floor, &mut rows).await?;
    history(&effort, &ours, &mut rows).await?;
    fill_sessions(&effort, port).await?;
    ours.kill().await?;
    starts(&home, port, &mut rows).await?;
    connections(&effort, &home, port, &mut rows).await?;
    let size = std::fs::metadata(binary)?.len();
    let goal = Some(Goal::AtMost(24.0));
    rows.push(Row {
        what: "binary",
        unit: "MB",
        ours: mb(size),
        floor: None,
        goal,
    });
    print(&rows);
    if let Some(path) = out {
        std::fs::write(path, as_json(&rows).to_string())?;
    }
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

struct Figures {
    before: f64,
    forward: f64,
    total: f64,
    p99: f64,
}

fn figures(turns: &[Turn]) -> Figures {
    let ms = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    let before: Vec<f64> = turns.iter().map(|t| ms(t.sent, t.at_model)).collect();
    let forward: Vec<f64> = turns
        .iter()
        .map(|t| ms(t.first_word, t.first_delta))
        .collect();
    let total: Vec<f64> = turns.iter().map(|t| ms(t.sent, t.ended)).collect();
    Figures {
        before: median(&before),
        forward: median(&forward),
        total: median(&total),
        p99: percentile(&total, 99).unwrap_or(f64::NAN),
    }
}

async fn series(port: u16, name: &str, n: u32, text: &str) -> Result<Vec<Turn>> {
    let mut client = Client::connect(port).await?;
    let session = format!("agent:main:{name}");
    client.listen_to(&session).await?;
    let mut turns = Vec::new();
    for i in 0..n {
        turns.push(turn(&mut client, &session, &format!("{name}-{i}"), text).await?);
    }
    Ok(turns)
}

async fn counts(model: u16) -> Result<Value> {
    let text = crate::subject::http_client()?
        .get(format!("http://127.0.0.1:{model}/counts"))
        .send()
        .await?
        .text()
        .await?;
    Ok(serde_json::from_str(&text)?)
}

/// One session: what a person feels.
async fn single(
    effort: &Effort,
    ours: &Subject,
    floor: &Subject,
    model: u16,
    rows: &mut Vec<Row>,
) -> Result<()> {
    series(ours.port, "warm", 20, "Say ok.").await?;
    series(floor.port, "warm", 20, "Say ok.").await?;
    let first = series(ours.port, "first", 1, "Say ok.").await?;
    drop(first);
    let request = counts(model).await?["lastBytes"]
        .as_f64()
        .unwrap_or(f64::NAN);
    // Alternate, so that both see the same weather.
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let (mut used_a, mut used_b) = (Duration::ZERO, Duration::ZERO);
    let before_bytes = (written(ours.pid())?, written(floor.pid())?);
    for part in 0..3 {
        let (cpu_a, cpu_b) = (cpu(ours.pid())?, cpu(floor.pid())?);
        b.extend(
            series(
                floor.port,
                &format!("one{part}"),
                effort.turns / 3,
                "Say ok.",
            )
            .await?,
        );
        a.extend(
            series(
                ours.port,
                &format!("one{part}"),
                effort.turns / 3,
                "Say ok.",
            )
            .await?,
        );
        used_a += cpu(ours.pid())?.saturating_sub(cpu_a);
        used_b += cpu(floor.pid())?.saturating_sub(cpu_b);
    }
    let n = f64::from(effort.turns / 3 * 3);
    let bytes = (
        (written(ours.pid())? - before_bytes.0) as f64 / 1024.0 / n,
        (written(floor.pid())? - before_bytes.1) as f64 / 1024.0 / n,
    );
    let (f, g) = (figures(&a), figures(&b));
    let mut push = |what, unit, ours, floor, goal| {
        rows.push(Row {
            what,
            unit,
            ours,
            floor: Some(floor),
            goal,
        })
    };
    push(
        "before the model, p50, 1 session",
        "ms",
        f.before,
        g.before,
        Some(Goal::RatioAtMost(2.5)),
    );
    push(
        "token forwarding, p50",
        "ms",
        f.forward,
        g.forward,
        Some(Goal::RatioAtMost(2.0)),
    );
    push(
        "turn, p50, 1 session",
        "ms",
        f.total,
        g.total,
        Some(Goal::RatioAtMost(2.5)),
    );
    push("turn, p99, 1 session", "ms", f.p99, g.p99, None);
    push(
        "CPU per turn, 1 session",
        "ms",
        millis(used_a) / n,
        millis(used_b) / n,
        None,
    );
    push(
        "written to disk per turn",
        "KB",
        bytes.0,
        bytes.1,
        Some(Goal::RatioAtMost(2.0)),
    );
    rows.push(Row {
        what: "request for a first `Say ok.` (prompt and schemas)",
        unit: "KB",
        ours: request / 1024.0,
        floor: None,
        goal: Some(Goal::AtMost(8.0)),
    });
    Ok(())
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

async fn tools(
    effort: &Effort,
    ours: &Subject,
    floor: &Subject,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let n = (effort.turns / 5).max(10);
    let text = "reads=5 Look five times.";
    let b = figures(&series(floor.port, "tools", n, text).await?);
    let a = figures(&series(ours.port, "tools", n, text).await?);
    let goal = Some(Goal::RatioAtMost(2.5));
    rows.push(Row {
        what: "turn with 5 tools, p50",
        unit: "ms",
        ours: a.total,
        floor: Some(b.total),
        goal,
    });
    Ok(())
}

async fn status(
    effort: &Effort,
    ours: &Subject,
    floor: &Subject,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let [a, b] = rounds::status([ours, floor], effort.turns * 5).await?;
    let goal = Some(Goal::RatioAtMost(2.0));
    rows.push(Row {
        what: "status RPC, p50",
        unit: "µs",
        ours: a,
        floor: Some(b),
        goal,
    });
    Ok(())
}

struct Load {
    per_second: f64,
    cpu_ms: f64,
    p50: f64,
    p99: f64,
}

async fn load(subject: &Subject, sessions: u32, rounds: u32, tag: &str) -> Result<Load> {
    let used = cpu(subject.pid())?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for s in 0..sessions {
        let (port, name) = (subject.port, format!("{tag}{sessions}-{s}"));
        tasks.push(tokio::spawn(async move {
            series(port, &name, rounds, "Say ok.").await
        }));
    }
    let mut turns = Vec::new();
    for task in tasks {
        turns.extend(task.await.context("a client panicked")??);
    }
    let took = begun.elapsed();
    let figures = figures(&turns);
    Ok(Load {
        per_second: turns.len() as f64 / took.as_secs_f64(),
        cpu_ms: millis(cpu(subject.pid())?.saturating_sub(used)) / turns.len() as f64,
        p50: figures.total,
        p99: figures.p99,
    })
}

async fn parallel(
    effort: &Effort,
    ours: &Subject,
    floor: &Subject,
    rows: &mut Vec<Row>,
) -> Result<()> {
    for (sessions, what) in [
        (1, "turns per second, 1 session"),
        (8, "turns per second, 8 sessions"),
    ] {
        let b = load(floor, sessions, effort.rounds * 2, "p").await?;
        let a = load(ours, sessions, effort.rounds * 2, "p").await?;
        rows.push(Row {
            what,
            unit: "/s",
            ours: a.per_second,
            floor: Some(b.per_second),
            goal: None,
        });
    }
    let b = load(floor, 64, effort.rounds, "p").await?;
    let a = load(ours, 64, effort.rounds, "p").await?;
    let mut push = |what, unit, ours, floor, goal| {
        rows.push(Row {
            what,
            unit,
            ours,
            floor: Some(floor),
            goal,
        })
    };
    push(
        "turns per second, 64 sessions",
        "/s",
        a.per_second,
        b.per_second,
        Some(Goal::RatioAtLeast(0.4)),
    );
    push(
        "CPU per turn, 64 sessions",
        "ms",
        a.cpu_ms,
        b.cpu_ms,
        Some(Goal::RatioAtMost(3.0)),
    );
    push("turn p50, 64 sessions", "ms", a.p50, b.p50, None);
    push(
        "turn p99/p50, 64 sessions",
        "",
        a.p99 / a.p50,
        b.p99 / b.p50,
        None,
    );
    Ok(())
}

/// Conversations of several lengths, compared with the shortest.
async fn history(effort: &Effort, ours: &Subject, rows: &mut Vec<Row>) -> Result<()> {
    let medians = rounds::history(ours, effort.history, effort.rounds).await?;
    let shortest = medians.first().copied();
    for (mark, median) in effort.history.iter().zip(medians) {
        let (what, goal) = match mark {
            10 => ("turn at message 10", None),
            100 => (
                "turn at message 100, against message 10",
                Some(Goal::RatioAtMost(1.25)),
            ),
            1_000 => (
                "turn at message 1,000, against message 10",
                Some(Goal::RatioAtMost(1.25)),
            ),
            _ => (
                "turn at message 10,000, against message 10",
                Some(Goal::RatioAtMost(1.25)),
            ),
        };
        rows.push(Row {
            what,
            unit: "ms",
            ours: median,
            floor: shortest,
            goal,
        });
    }
    Ok(())
}

async fn fill_sessions(effort: &Effort, port: u16) -> Result<()> {
    let mut client = Client::connect(port).await?;
    for n in 0..effort.sessions {
        client
            .call(
                "sessions.create",
                json!({ "key": format!("agent:main:stored-{n}") }),
            )
            .await?;
    }
    Ok(())
}

async fn starts(home: &Home, port: u16, rows: &mut Vec<Row>) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..7 {
        let (mut subject, took) = home.gateway(port).await?;
        times.push(millis(took));
        subject.kill().await?;
    }
    let cold = median(&times);
    let goal = Some(Goal::AtMost(35.0));
    rows.push(Row {
        what: "cold start to ready, stored sessions",
        unit: "ms",
        ours: cold,
        floor: None,
        goal,
    });
    let (subject, _) = home.gateway(port).await?;
    let first = figures(&series(port, "after-start", 1, "Say ok.").await?);
    rows.push(Row {
        what: "first turn after a start",
        unit: "ms",
        ours: first.total,
        floor: None,
        goal: None,
    });
    drop(subject);
    Ok(())
}

async fn connections(effort: &Effort, home: &Home, port: u16, rows: &mut Vec<Row>) -> Result<()> {
    let (subject, _) = home.gateway(port).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = rss(subject.pid())?;
    let goal = Some(Goal::AtMost(16.0));
    rows.push(Row {
        what: "idle RSS after 10 s",
        unit: "MB",
        ours: mb(idle),
        floor: None,
        goal,
    });
    let mut clients = Vec::new();
    for _ in 0..effort.connections {
        clients.push(Client::connect(port).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each =
        rss(subject.pid())?.saturating_sub(idle) as f64 / 1024.0 / f64::from(effort.connections);
    rows.push(Row {
        what: "memory per idle connection",
        unit: "KB",
        ours: each,
        floor: None,
        goal: Some(Goal::AtMost(9.0)),
    });
    Ok(())
}

fn verdict(row: &Row) -> (String, &'static str) {
    let ratio = row.floor.map(|floor| row.ours / floor);
    let shown = ratio.map_or_else(|| "–".to_owned(), |r| format!("{r:.2}×"));
    let met = match (&row.goal, ratio) {
        (Some(Goal::RatioAtMost(max)), Some(r)) => Some(r <= *max),
        (Some(Goal::RatioAtLeast(min)), Some(r)) => Some(*min <= r),
        (Some(Goal::AtMost(max)), _) => Some(row.ours <= *max),
        _ => None,
    };
    (
        shown,
        match met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        },
    )
}

fn goal_text(goal: Option<&Goal>) -> String {
    match goal {
        Some(Goal::RatioAtMost(r)) => format!("≤ {r}×"),
        Some(Goal::RatioAtLeast(r)) => format!("≥ {r}×"),
        Some(Goal::AtMost(n)) => format!("≤ {n}"),
        None => String::new(),
    }
}

fn print(rows: &[Row]) {
    println!(
        "| figure | unit | Adjutant | floor | ratio | goal | |\n|---|---|--:|--:|--:|--:|---|"
    );
    for row in rows {
        let (ratio, met) = verdict(row);
        let floor = row
            .floor
            .map_or_else(|| "–".to_owned(), |f| format!("{f:.3}"));
        let goal = goal_text(row.goal.as_ref());
        println!(
            "| {} | {} | {:.3} | {floor} | {ratio} | {goal} | {met} |",
            row.what, row.unit, row.ours
        );
    }
}

fn as_json(rows: &[Row]) -> Value {
    rows.iter()
        .map(|row| json!({ "what": row.what, "unit": row.unit, "ours": row.ours, "floor": row.floor, "verdict": verdict(row).1 }))
        .collect()
}
