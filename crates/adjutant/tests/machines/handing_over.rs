//! A run goes from one worker to another: because somebody says so, because its worker stops, because its worker is dead.

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::{Machine, Site, said, until};

/// A command that shows how far it is in the agent's folder.
fn task(name: &str, seconds: u32) -> String {
    format!("run `echo begun >> {name}.txt; sleep {seconds}; echo done >> {name}.txt`")
}

/// What a command has written.
fn written(gateway: &Machine<'_>, name: &str) -> Vec<String> {
    let path = gateway.home().join("workspace").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Starts a task and waits until its command runs. Gives the run as the list shows it, and the command that follows it.
fn begin(gateway: &Machine<'_>, name: &str, seconds: u32) -> (Value, Child) {
    let key = format!("agent:main:{name}");
    let client = gateway.begin(&[
        "run",
        "--json",
        "--approve",
        "once",
        "--session",
        &key,
        &task(name, seconds),
    ]);
    until("the command does not begin", || {
        (!written(gateway, name).is_empty()).then_some(())
    });
    let run = until("the run is not listed", || {
        let status = gateway.json(&["status"]);
        let runs = status["activeRuns"].as_array().cloned().unwrap_or_default();
        runs.into_iter().find(|it| it["sessionKey"] == key.as_str())
    });
    (run, client)
}

/// The last line that a followed task prints.
fn result(client: Child) -> Value {
    let out = client.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", said(&out)))
}

// covers: R2, R15, R35
#[test]
fn a_run_moves_while_a_client_follows_it_and_nothing_is_done_twice() {
    let Some(site) = Site::new() else { return };
    let gateway = site.machine("gateway");
    let _serving = gateway.gateway();
    let (a, b) = (site.machine("a"), site.machine("b"));
    let (first, second) = (a.worker(&[]), b.worker(&[]));
    let (one, two) = (gateway.worker_of(&first), gateway.worker_of(&second));
    assert_eq!(one["state"], "working");

    let (run, client) = begin(&gateway, "moved", 3);
    let (from, to) = if run["worker"] == one["id"] {
        (&one, &two)
    } else {
        (&two, &one)
    };
    assert_eq!(run["worker"], from["id"]);
    let name = run["runId"].as_str().unwrap();
    let moved = gateway.json(&[
        "run",
        "move",
        name,
        "--to",
        to["id"].as_str().unwrap(),
        "--wait",
    ]);
    assert_eq!(
        (&moved["there"], &moved["to"]),
        (&Value::Bool(true), &to["id"])
    );
    let told = result(client);
    assert_eq!(told["state"], "done", "{told}");
    assert_eq!(written(&gateway, "moved"), ["begun", "done"]);

    // Bad wishes.
    let nowhere = gateway.run(&["run", "move", name, "--to", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(3), "{}", said(&nowhere));
    let over = gateway.run(&["run", "move", name, "--to", to["id"].as_str().unwrap()]);
    assert_eq!(over.status.code(), Some(5), "{}", said(&over));

    // The one that has it is told to drain: the command under way ends there, the answer is written by the other.
    let (run, client) = begin(&gateway, "drained", 3);
    let (drained, process, left) = if run["worker"] == one["id"] {
        (&one, first, &two)
    } else {
        (&two, second, &one)
    };
    let id = drained["id"].as_str().unwrap();
    gateway.json(&["worker", "drain", id, "--wait"]);
    assert!(process.ended().success());
    assert_eq!(result(client)["state"], "done");
    assert_eq!(written(&gateway, "drained"), ["begun", "done"]);
    let page = gateway.json(&["worker", "list"]);
    let workers = page["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 1, "{page}");
    assert_eq!(workers[0]["id"], left["id"]);
}

// covers: R2, R4, R36
#[test]
fn a_worker_that_is_killed_is_followed_by_another_at_once_and_says_what_it_does_not_know() {
    let Some(site) = Site::new() else { return };
    let gateway = site.machine("gateway");
    let _serving = gateway.gateway();
    let (a, b) = (site.machine("a"), site.machine("b"));
    let first = a.worker(&[]);
    gateway.worker_of(&first);
    let (_, client) = begin(&gateway, "killed", 30);
    let second = b.worker(&[]);
    let heir = gateway.worker_of(&second);
    let begun = Instant::now();
    first.kill();
    let told = result(client);
    // The lease is thirty seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(told["state"], "done", "{told}");
    assert_eq!(
        written(&gateway, "killed"),
        ["begun"],
        "once, and not to the end"
    );
    let page = gateway.json(&["worker", "list"]);
    assert_eq!(page["workers"].as_array().unwrap().len(), 1, "{page}");
    assert_eq!(page["workers"][0]["id"], heir["id"]);
}

// covers: R13, R35
#[test]
fn two_gateways_tell_the_same_and_a_worker_that_is_told_to_stop_gives_up_what_it_has() {
    let Some(site) = Site::new() else { return };
    let (here, there) = (site.machine("here"), site.machine("there"));
    let _one = here.gateway();
    let _two = there.gateway();
    let (a, b) = (site.machine("a"), site.machine("b"));
    let first = a.worker(&[]);
    here.worker_of(&first);
    let (_, client) = begin(&here, "stopped", 3);
    let second = b.worker(&[]);
    here.worker_of(&second);
    let term = std::process::Command::new("kill")
        .args(["-TERM", &first.id().to_string()])
        .status();
    assert!(term.unwrap().success());
    assert!(first.ended().success());
    assert_eq!(result(client)["state"], "done");
    assert_eq!(written(&here, "stopped"), ["begun", "done"]);
    let threads = |at: &Machine<'_>| {
        let page = at.json(&["thread", "list"]);
        let thread = page["threads"][0]["id"].as_str().unwrap().to_owned();
        at.json(&["thread", "show", &thread])
    };
    assert_eq!(threads(&here), threads(&there));

    // What this start was told and the settings do not say: a backup by them would hold nothing of this.
    let archive = here.home().join("../all.tar");
    let refused = here.run(&["backup", archive.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    assert!(
        said(&refused).contains("the settings name the SQLite file"),
        "{}",
        said(&refused)
    );
    let set = here.run(&["config", "set", "store.database_url", "env:SITE_DATABASE"]);
    assert!(set.status.success(), "{}", said(&set));
    let made = here.run(&["backup", archive.to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
}
