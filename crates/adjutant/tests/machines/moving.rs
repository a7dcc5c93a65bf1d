//! An installation that moves: real runs in a SQLite file, copied to a real PostgreSQL, driven on there, saved and restored
//! into another database, all with the program as a person uses it.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::cluster::{Database, cluster, connect, runtime};

/// The program over one state directory.
struct Installation<'a> {
    home: &'a Path,
    urls: Vec<(&'static str, String)>,
}

impl Installation<'_> {
    fn run(&self, line: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_adjutant"))
            .args(line)
            .env("ADJUTANT_HOME", self.home)
            .env("HOME", self.home)
            .env("NO_COLOR", "1")
            .envs(self.urls.iter().map(|(name, url)| (name, url.as_str())))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What it prints; it has to end well.
    fn says(&self, line: &[&str]) -> String {
        self.ends(0, line)
    }

    /// What it prints on both streams; it has to end with this code.
    fn ends(&self, code: i32, line: &[&str]) -> String {
        let out = self.run(line);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(out.status.code(), Some(code), "{line:?}: {said}");
        said
    }

    fn json(&self, line: &[&str]) -> Value {
        let out = self.run(&[line, &["--json"]].concat());
        let text = String::from_utf8_lossy(&out.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line:?}: {error}: {text}"))
    }

    fn rows(&self, which: &str) -> Value {
        self.json(&["db", "status", "--database", which])["tables"].clone()
    }
}

fn gateway(of: &Installation<'_>, method: &str, params: &Value) -> Value {
    use std::io::Write as _;
    let mut socket = std::os::unix::net::UnixStream::connect(of.home.join("gateway.sock")).unwrap();
    let body = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
        .to_string();
    write!(
        socket,
        "POST /rpc HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let from = answer.find("\r\n\r\n{").unwrap() + 4;
    let answer: Value = serde_json::from_str(answer[from..].trim()).unwrap();
    answer
        .get("result")
        .unwrap_or_else(|| panic!("{answer}"))
        .clone()
}

fn say(of: &Installation<'_>, key: &str, text: &str) -> Value {
    let params = serde_json::json!({ "sessionKey": "agent:main:moved", "message": text, "idempotencyKey": key });
    gateway(of, "chat.send", &params)
}

fn ended(of: &Installation<'_>, run: &str) -> String {
    let params = serde_json::json!({ "runId": run, "timeoutMs": 60_000 });
    let answer = gateway(of, "agent.wait", &params);
    answer["state"].as_str().unwrap_or_default().to_owned()
}

/// The question that is open, once there is one.
fn question(of: &Installation<'_>) -> String {
    for _ in 0..200 {
        let listed = of.json(&["approvals", "list"]).to_string();
        if let Some(at) = listed.find("appr_") {
            return listed[at..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("nobody asks");
}

/// The archive with the hash of a record in its audit chain changed, which only a check of everything finds.
fn with_a_broken_chain(archive: &Path, into: &Path) {
    let mut from = tar::Archive::new(std::fs::File::open(archive).unwrap());
    let mut to = tar::Builder::new(std::fs::File::create(into).unwrap());
    for entry in from.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (mut header, name) = (entry.header().clone(), entry.path().unwrap().into_owned());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if name == Path::new("adjutant-rows.jsonl") {
            let text = String::from_utf8(bytes).unwrap();
            let lines = text.lines().map(|line| {
                if line.starts_with("{\"table\":\"audit\"") {
                    format!("{}\n", line.replacen("\"by\":\"", "\"by\":\"not ", 1))
                } else {
                    format!("{line}\n")
                }
            });
            bytes = lines.collect::<String>().into_bytes();
        }
        header.set_size(bytes.len() as u64);
        to.append_data(&mut header, &name, bytes.as_slice())
            .unwrap();
    }
    to.finish().unwrap();
}

/// Saved while it runs, and back into other databases.
fn saved_and_restored(it: &Installation<'_>, folder: &Path, moved: &Database, restored: &Database) {
    let home = it.home;
    let archive = folder.join("all.tar");
    let archive = archive.to_str().unwrap();
    it.says(&["backup", archive]);
    for how in ["--yes", "--dry-run"] {
        it.ends(5, &["restore", archive, how]);
    }
    it.says(&["gateway", "stop"]);
    for how in ["--yes", "--dry-run"] {
        let full = it.ends(5, &["restore", archive, how]);
        assert!(full.contains("is not empty"), "{full}");
    }
    let token = std::fs::read(home.join("token")).unwrap();
    std::fs::write(home.join("workspace/notes.md"), "lost").unwrap();

    // What is there for good although the restore did not come to its end is told.
    let broken = folder.join("broken.tar");
    with_a_broken_chain(Path::new(archive), &broken);
    let broken = broken.to_str().unwrap();
    let said = it.ends(1, &["restore", broken, "--database", "env:BROKEN", "--yes"]);
    assert!(
        said.contains("the rows are in ") && !said.contains("nothing was changed"),
        "{said}"
    );
    assert!(it.rows("env:BROKEN")["runs"].as_u64().unwrap() > 0);
    assert_eq!(
        std::fs::read(home.join("workspace/notes.md")).unwrap(),
        b"lost"
    );

    let into = ["restore", archive, "--database", "env:RESTORED"];
    let would = it.says(&[&into[..], &["--dry-run"]].concat());
    assert!(would.contains("would set `store.database_url`"), "{would}");
    it.ends(3, &["db", "status", "--database", "env:RESTORED"]);
    let back = it.says(&[&into[..], &["--yes"]].concat());
    assert!(
        back.contains("its rows are in ") && back.contains("`store.database_url`"),
        "{back}"
    );
    assert_eq!(std::fs::read(home.join("token")).unwrap(), token);
    let notes = std::fs::read_to_string(home.join("workspace/notes.md")).unwrap();
    assert_eq!(notes, "hello");
    it.says(&["verify"]);
    let status = it.json(&["db", "status"]);
    assert!(
        status["at"].as_str().unwrap().ends_with(&restored.name),
        "{status}"
    );
    it.says(&["gateway", "start"]);
    let again = say(it, "parked-key", "write \"hello\" to notes.md");
    assert_eq!(
        (&again["runId"], &again["status"]),
        (&"parked-key".into(), &"ok".into())
    );
    it.says(&["gateway", "stop"]);

    // Another way to say where the settings lead anyhow: they stay as they are.
    runtime().block_on(async {
        let admin = connect(&moved.url).await;
        admin
            .batch_execute("drop schema adjutant cascade")
            .await
            .unwrap();
    });
    let back = it.says(&["restore", archive, "--database", "env:SAME", "--yes"]);
    assert!(!back.contains("`store.database_url`"), "{back}");
    assert_eq!(
        it.says(&["config", "get", "store.database_url"]).trim(),
        "env:MOVED"
    );
}

// covers: R5, R10, R14, R23, R38, S48
#[test]
fn an_installation_moves_goes_on_and_comes_back_from_a_backup() {
    let Some(cluster) = cluster() else { return };
    // Nobody has made a schema there.
    let [moved, restored, broken] = [(); 3].map(|()| cluster.empty_database());
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let it = Installation {
        home: &home,
        urls: vec![
            ("MOVED", moved.url.clone()),
            ("SAME", moved.url.clone()),
            ("RESTORED", restored.url.clone()),
            ("BROKEN", broken.url.clone()),
        ],
    };
    it.ends(3, &["db", "status"]);
    it.ends(3, &["db", "migrate", "--yes"]);
    it.says(&["setup", "--non-interactive", "--provider", "offline"]);
    it.says(&["config", "set", "gateway.port", "0"]);
    it.says(&["run", "remember that the printer is upstairs"]);
    it.says(&["run", "list the files"]);

    // A run that waits for its owner, and one that waits for that run.
    it.says(&["gateway", "start"]);
    say(&it, "parked-key", "write \"hello\" to notes.md");
    let approval = question(&it);
    say(&it, "queued-key", "list the files");
    let held = it.ends(5, &["db", "copy", "--to", "env:MOVED", "--yes"]);
    assert!(held.contains("in use by process"), "{held}");
    let while_running = folder.path().join("running.jsonl");
    let out = while_running.to_str().unwrap();
    it.says(&["db", "export", "--jsonl", "--out", out]);
    it.ends(5, &["db", "export", "--out", out]);
    it.says(&["gateway", "stop"]);

    let exported = std::fs::read_to_string(&while_running).unwrap();
    assert!(exported.contains("printer is upstairs") && exported.contains("parked-key"));
    let said = it.ends(2, &["db", "copy", "--to", "postgresql://me:hunter2@db/x"]);
    assert!(!said.contains("hunter2"), "{said}");
    it.ends(2, &["db", "copy", "--to", "env:MOVED"]);
    let said = it.says(&["db", "copy", "--to", "env:MOVED", "--dry-run"]);
    assert!(said.starts_with("would copy "), "{said}");
    it.ends(3, &["db", "status", "--database", "env:MOVED"]);
    let before = it.rows("sqlite");
    let done = it.json(&["db", "copy", "--to", "env:MOVED", "--yes"]);
    assert_eq!(
        done["next"],
        "adjutant config set store.database_url env:MOVED"
    );
    let after = it.rows("env:MOVED");
    for table in [
        "threads",
        "messages",
        "sessions",
        "runs",
        "entries",
        "approvals",
        "memories",
        "events",
        "ledger",
        "spend",
        "answers",
        "audit",
        "agents",
    ] {
        assert_eq!(after[table], before[table], "{table}");
    }
    assert_eq!(before["runs"], 4);
    let twice = it.ends(5, &["db", "copy", "--to", "env:MOVED", "--yes"]);
    assert!(twice.contains("is not empty"), "{twice}");

    // It goes on there: the question is open, its answer counts, the next run follows, a key is the run it was.
    it.says(&["config", "set", "store.database_url", "env:MOVED"]);
    it.says(&["verify"]);
    it.says(&["gateway", "start"]);
    let again = say(&it, "parked-key", "write \"hello\" to notes.md");
    assert_eq!(again["runId"], "parked-key");
    assert_eq!(question(&it), approval);
    it.says(&["approvals", "allow", &approval]);
    assert_eq!(ended(&it, "parked-key"), "done");
    assert_eq!(ended(&it, "queued-key"), "done");
    let notes = std::fs::read_to_string(home.join("workspace/notes.md")).unwrap();
    assert_eq!(notes, "hello");
    let found = it.says(&["memory", "search", "printer"]);
    assert!(found.contains("upstairs"), "{found}");

    saved_and_restored(&it, folder.path(), &moved, &restored);

    // And home again, into a file.
    it.says(&["db", "copy", "--to", "sqlite", "--yes"]);
    it.says(&["config", "unset", "store.database_url", "--yes"]);
    it.says(&["verify"]);
    it.says(&["run", "list the files"]);
}
