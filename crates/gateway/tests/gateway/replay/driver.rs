//! Plays the client's side of a recorded conversation and compares what the gateway says with what was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::transcript::{Direction, Kind, Line};
use super::{counterpart, device, known, rules, transcript, worker};
use crate::world::{Client, TOKEN, World};

/// Members whose values a server makes up: ours stand in for the recorded ones in later requests.
const MADE_UP: [&str; 6] = [
    "sessionId",
    "requestId",
    "messageId",
    "deviceToken",
    "token",
    "nonce",
];

/// Run of the conversation that was there before.
const SEED: &str = "seed";

/// One socket of the client.
struct Socket {
    client: Client,
    nonce: String,
    /// Requests by id, for their answers.
    asked: BTreeMap<String, Value>,
    /// Answers that came before they were looked for.
    answers: Vec<Value>,
    events: Vec<Value>,
    /// The recorded gateway refused what ours accepts, or the other way round: nothing more is compared.
    apart: bool,
}

/// A conversation that is being played.
pub(crate) struct Replay {
    world: Arc<World>,
    name: String,
    sockets: BTreeMap<u64, Socket>,
    /// Recorded values that the server made up, and ours.
    ours: BTreeMap<String, String>,
    /// What does not fit.
    pub(crate) problems: Vec<String>,
}

impl Replay {
    pub(crate) fn new(world: &Arc<World>, name: &str) -> Self {
        Self {
            world: Arc::clone(world),
            name: name.to_owned(),
            sockets: BTreeMap::new(),
            ours: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Plays everything.
    pub(crate) async fn play(&mut self) {
        let lines = transcript::read(&self.name);
        let worker = worker::employ(&self.world);
        let node = counterpart::node(&self.world, &self.name, &lines, &mut self.ours).await;
        counterpart::ask_before(&self.world, &lines).await;
        if self.name.contains("devices-approve") || self.name.contains("devices-list-pending") {
            self.leave_request(&lines).await;
        }
        for line in &lines {
            match (line.dir, line.kind) {
                (Direction::Client, Kind::Upgrade) => self.open(line).await,
                (Direction::Client, Kind::Text) => self.send(line).await,
                (Direction::Client, Kind::Close) => self.leave(line).await,
                (Direction::Server, Kind::Text) => self.hear(line).await,
                (Direction::Server, Kind::Close) => self.end(line).await,
                _ => {}
            }
        }
        worker.abort();
        if let Some(node) = node {
            node.abort();
        }
    }

    async fn open(&mut self, line: &Line) {
        let mut headers = Vec::new();
        if line.headers.get("origin").is_some() {
            headers.push(("origin", format!("http://{}", self.world.address)));
        }
        let client = self.world.ws("/", &headers).await.unwrap();
        let socket = Socket {
            client,
            nonce: String::new(),
            asked: BTreeMap::new(),
            answers: Vec::new(),
            events: Vec::new(),
            apart: false,
        };
        self.sockets.insert(line.conn, socket);
    }

    async fn send(&mut self, line: &Line) {
        if line.text("/method") == "connect" && self.was_known(line) {
            self.introduce(line).await;
        }
        let mut frame = line.frame.clone();
        replace(&mut frame["params"], &self.ours);
        let Some(socket) = self.sockets.get_mut(&line.conn) else {
            return;
        };
        if socket.apart {
            return;
        }
        if known::not_played(&self.name, line.conn) && !socket.asked.is_empty() {
            return;
        }
        if line.text("/method") == "connect" && socket.asked.is_empty() {
            // Our identifier stands where the recorded one was; the key follows from the recorded one.
            if line.frame["params"].get("device").is_some() {
                frame["params"]["device"] = line.frame["params"]["device"].clone();
            }
            device::prove(&mut frame["params"], &socket.nonce, self.world.now());
        }
        socket
            .asked
            .insert(line.text("/id").to_owned(), frame.clone());
        socket.client.say(frame).await;
    }

    /// Whether the recorded gateway knew this device before the conversation began, or admitted a node unseen, which
    /// ours never does.
    fn was_known(&self, line: &Line) -> bool {
        let node = line.text("/params/role") == "node" && !self.name.ends_with("refused");
        let remembered = token_name(line).is_some_and(|name| !self.ours.contains_key(&name));
        node || remembered
    }

    /// Pairs the device of a recorded `connect` beforehand, and keeps its token.
    async fn introduce(&mut self, line: &Line) {
        let answer = self.knock(line).await;
        let hello = if answer["ok"] == true {
            answer
        } else {
            let request = answer["error"]["details"]["requestId"].clone();
            let approve = json!({ "requestId": request });
            self.world.ok("device.pair.approve", approve).await;
            self.knock(line).await
        };
        if line.text("/params/role") == "node" && !self.is_approved_later() {
            counterpart::approve_surfaces(&self.world).await;
        }
        let recorded = line.text("/params/device/id");
        self.ours
            .insert(recorded.to_owned(), device::id_of(recorded));
        let token = hello["payload"]["auth"]["deviceToken"].as_str().unwrap();
        if let Some(name) = token_name(line) {
            self.ours.insert(name, token.to_owned());
        }
    }

    /// Connects once with the shared token, as the device of a recorded `connect`.
    async fn knock(&self, line: &Line) -> Value {
        let mut client = self.world.ws("/", &[]).await.unwrap();
        let challenge = client.next().await;
        let nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
        let mut frame = line.frame.clone();
        frame["params"]["auth"] = json!({ "token": TOKEN });
        if self.is_approved_later() {
            frame["params"]["commands"] = json!([]);
        }
        device::prove(&mut frame["params"], &nonce, self.world.now());
        client.say(frame).await;
        client.next().await
    }

    /// Whether somebody approves what a node offers while the conversation goes on.
    fn is_approved_later(&self) -> bool {
        self.name == "2026.9.6--node-run-first"
    }

    /// Leaves a request to be paired, as the conversation expects to find one.
    pub(crate) async fn leave_request(&mut self, lines: &[Line]) {
        let node = "2026.2.26--pairing-remote-node-refused";
        let connect = transcript::read(node).into_iter().find(Line::is_request);
        let refused = self.knock(&connect.unwrap()).await;
        let request = refused["error"]["details"]["requestId"].as_str().unwrap();
        for line in lines {
            if line.text("/method") == "device.pair.approve" {
                let recorded = line.text("/params/requestId").to_owned();
                self.ours.insert(recorded, request.to_owned());
            }
        }
    }

    async fn hear(&mut self, line: &Line) {
        match line.text("/type") {
            "res" => self.hear_answer(line).await,
            "event" => self.hear_event(line).await,
            other => panic!("{}: a frame of type {other}", self.name),
        }
    }

    async fn hear_answer(&mut self, line: &Line) {
        let id = line.text("/id");
        let Some(socket) = self.sockets.get_mut(&line.conn) else {
            return;
        };
        let Some(request) = socket.asked.get(id).cloned() else {
            return;
        };
        if socket.apart {
            return;
        }
        let method = request["method"].as_str().unwrap().to_owned();
        let answer = socket.answer(id).await;
        let found = compare(&method, &line.frame, &answer);
        if line.frame["ok"] != answer["ok"] && method == "connect" {
            socket.apart = true;
        }
        learn(&line.frame["payload"], &answer["payload"], &mut self.ours);
        learn(
            &line.frame["error"]["details"],
            &answer["error"]["details"],
            &mut self.ours,
        );
        for problem in found {
            self.problems.push(format!("{method}: {problem}"));
        }
    }

    async fn hear_event(&mut self, line: &Line) {
        let name = line.text("/event").to_owned();
        let approved_later = self.is_approved_later();
        let Some(socket) = self.sockets.get_mut(&line.conn) else {
            return;
        };
        if name == "connect.challenge" {
            let challenge = socket.client.next().await;
            socket.nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
            self.problems
                .extend(misfits(&challenge).into_iter().chain(misfits(&line.frame)));
            return;
        }
        if socket.apart {
            return;
        }
        let answers = |it: &Value| it["method"] == "exec.approval.resolve";
        if name == "exec.approval.resolved" && !socket.asked.values().any(answers) {
            counterpart::answer(&self.world, &line.frame["payload"]).await;
        }
        if name == "node.pair.resolved" && approved_later {
            counterpart::approve_surfaces(&self.world).await;
        }
        if name == "node.invoke.request" {
            counterpart::invoke(&self.world, &line.frame["payload"], &self.ours);
        }
        let mut recorded = line.frame.clone();
        replace(&mut recorded, &self.ours);
        if let Some(wanted) = kind_of(&recorded) {
            let heard = socket.until(&wanted).await;
            learn(&line.frame["payload"], &heard["payload"], &mut self.ours);
            if name == "node.invoke.request" {
                let id = |frame: &Value| frame["payload"]["id"].as_str().unwrap().to_owned();
                self.ours.insert(id(&line.frame), id(&heard));
            }
        }
    }

    /// The client hangs up.
    async fn leave(&mut self, line: &Line) {
        let Some(socket) = self.sockets.get_mut(&line.conn) else {
            return;
        };
        socket.client.hang_up(line.code.unwrap_or(1000)).await;
    }

    /// The server hangs up, or answers that the client did.
    async fn end(&mut self, line: &Line) {
        let Some(mut socket) = self.sockets.remove(&line.conn) else {
            return;
        };
        if socket.apart {
            return;
        }
        let (code, _, rest) = socket.client.closed().await;
        socket
            .events
            .extend(rest.into_iter().filter(|frame| frame["type"] == "event"));
        if let Some(recorded) = line.code
            && recorded != 1000
            && recorded != code
        {
            self.problems.push(format!(
                "closed with {code}, recorded {recorded} ({})",
                line.reason
            ));
        }
        self.problems.extend(order(&socket.events));
    }
}

/// The placeholder of a device token in a recorded `connect`.
fn token_name(line: &Line) -> Option<String> {
    ["/params/auth/token", "/params/auth/deviceToken"]
        .into_iter()
        .map(|pointer| line.text(pointer))
        .find(|text| text.starts_with("<DEVICE_TOKEN"))
        .map(str::to_owned)
}

impl Socket {
    /// The next answer to this request.
    async fn answer(&mut self, id: &str) -> Value {
        if let Some(at) = self.answers.iter().position(|answer| answer["id"] == id) {
            return self.answers.remove(at);
        }
        loop {
            let frame = self.client.next().await;
            match frame["type"].as_str() {
                Some("res") if frame["id"] == id => return frame,
                Some("res") => self.answers.push(frame),
                _ => self.events.push(frame),
            }
        }
    }

    /// An event of this kind, one that came already or the next one.
    async fn until(&mut self, wanted: &str) -> Value {
        let fits = |frame: &Value| kind_of(frame).as_deref() == Some(wanted);
        if let Some(heard) = self.events.iter().find(|frame| fits(frame)) {
            return heard.clone();
        }
        loop {
            let frame = self.client.next_or(wanted).await;
            if frame["type"] == "res" {
                self.answers.push(frame);
                continue;
            }
            let done = fits(&frame);
            self.events.push(frame.clone());
            if done {
                return frame;
            }
        }
    }
}

/// What a client waits for in an event; none for events it can do without.
fn kind_of(frame: &Value) -> Option<String> {
    let payload = &frame["payload"];
    let text = |name: &str| payload[name].as_str().unwrap_or_default();
    let name = frame["event"].as_str()?;
    match name {
        "agent" => {
            let phase = payload["data"]["phase"].as_str().unwrap_or_default();
            match (text("stream"), phase) {
                ("lifecycle", "start" | "end") | ("tool", "start" | "result") => Some(format!(
                    "agent {} {} {phase}",
                    text("runId"),
                    text("stream")
                )),
                ("assistant", _) => Some(format!("agent {} assistant", text("runId"))),
                _ => None,
            }
        }
        "chat" => match text("state") {
            state @ ("delta" | "final" | "aborted" | "error") => {
                Some(format!("chat {} {state}", text("runId")))
            }
            _ => None,
        },
        "sessions.changed" => match text("phase") {
            "start" => Some(format!("sessions.changed {} start", text("sessionKey"))),
            "end" | "error" => Some(format!("sessions.changed {} over", text("sessionKey"))),
            _ => None,
        },
        "session.message" => Some(format!(
            "session.message {} {}",
            text("sessionKey"),
            payload["message"]["role"].as_str().unwrap_or_default()
        )),
        "exec.approval.requested" | "exec.approval.resolved" => {
            Some(format!("{name} {}", text("id")))
        }
        "device.pair.resolved" | "node.pair.resolved" => Some(name.to_owned()),
        "node.invoke.request" => Some(format!("{name} {}", text("command"))),
        _ => None,
    }
}

/// What of an answer a client would not accept.
fn compare(method: &str, recorded: &Value, ours: &Value) -> Vec<String> {
    let here = method == "connect" || adjutant_protocol::find(method).is_some();
    match (recorded["ok"] == true, ours["ok"] == true) {
        (true, true) => shape(method, &recorded["payload"], &ours["payload"]),
        (true, false) => refusal_of_ours(method, here, ours),
        (false, true) => {
            let message = recorded["error"]["message"].as_str().unwrap_or_default();
            // A recorded gateway holds a node's commands back until they are approved; here they were approved before.
            let held_back = ["node pairing changed", "node capability surface"];
            if held_back.iter().any(|begins| message.starts_with(begins)) {
                return Vec::new();
            }
            let older = here && message.starts_with("unknown method");
            // Releases that make a person look at every wider scope, on the same machine, too.
            let stricter = method == "connect" && message.starts_with("pairing required");
            if older || stricter {
                Vec::new()
            } else {
                vec![format!("recorded `{message}`, ours worked")]
            }
        }
        (false, false) if !here && known::not_here(method).is_some() => Vec::new(),
        (false, false) => refusals(&recorded["error"], &ours["error"]),
    }
}

fn refusal_of_ours(method: &str, here: bool, ours: &Value) -> Vec<String> {
    let message = ours["error"]["message"].as_str().unwrap_or_default();
    let allowed = match (known::not_here(method), known::refused(method)) {
        (Some(_), _) if !here => message == format!("unknown method: {method}"),
        (_, Some(begins)) if here => message.starts_with(begins),
        _ => false,
    };
    if allowed {
        Vec::new()
    } else {
        vec![format!("refused: {}", ours["error"])]
    }
}

fn refusals(recorded: &Value, ours: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let text = |error: &Value| error["message"].as_str().unwrap_or_default().to_owned();
    if recorded["code"] != ours["code"] {
        problems.push(format!(
            "code {} instead of {}",
            ours["code"], recorded["code"]
        ));
    }
    if !known::same_refusal(&text(recorded), &text(ours)) {
        problems.push(format!("`{}` instead of `{}`", text(ours), text(recorded)));
    }
    for name in ["code", "authReason", "missingScope", "reason"] {
        let theirs = &recorded["details"][name];
        if !theirs.is_null() && ours["details"][name] != *theirs && text(ours) == text(recorded) {
            problems.push(format!(
                "details.{name} {} instead of {theirs}",
                ours["details"][name]
            ));
        }
    }
    problems
}

fn shape(method: &str, recorded: &Value, ours: &Value) -> Vec<String> {
    let rule = match method {
        "agent" if recorded["status"] == "accepted" => Some(rules::ACCEPTED),
        "agent" => Some(rules::ENDED),
        "chat.history" if recorded["kind"] == "delta" => None,
        "chat.history" | "chat.startup" => Some(rules::HISTORY),
        _ => rules::rule_of(rules::ANSWERS, method),
    };
    let mut problems = Vec::new();
    match rule {
        Some(rule) => {
            let theirs = rules::broken(rule, recorded);
            problems.extend(
                theirs
                    .into_iter()
                    .map(|why| format!("the recording breaks {why}")),
            );
            problems.extend(rules::broken(rule, ours));
        }
        None if method == "chat.history" => problems.extend(rules::broken(rules::HISTORY, ours)),
        None => problems.push("there is no rule for it".to_owned()),
    }
    if recorded["kind"] != "delta" {
        rules::type_clashes(recorded, ours, "", &mut problems);
    }
    if method == "agent" && recorded["status"] != ours["status"] {
        problems.push(format!(
            "status {} instead of {}",
            ours["status"], recorded["status"]
        ));
    }
    problems
}

fn misfits(event: &Value) -> Vec<String> {
    let name = event["event"].as_str().unwrap_or_default();
    match rules::rule_of(rules::EVENTS, name) {
        Some(rule) => rules::broken(rule, &event["payload"])
            .into_iter()
            .map(|why| format!("event {name}: {why}"))
            .collect(),
        None => vec![format!("event {name} has no rule")],
    }
}

/// The rules of events on one socket: shapes, numbers without holes, nothing after the end of a run.
fn order(events: &[Value]) -> Vec<String> {
    let mut problems: Vec<String> = events.iter().flat_map(misfits).collect();
    let numbers: Vec<u64> = events
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    if numbers.windows(2).any(|pair| pair[1] != pair[0] + 1) {
        problems.push(format!("numbers with holes: {numbers:?}"));
    }
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut over: BTreeSet<String> = BTreeSet::new();
    for event in events {
        let payload = &event["payload"];
        let run = payload["runId"].as_str().unwrap_or_default().to_owned();
        if run == SEED {
            // It was over before, but its last events may still be on their way when the client comes.
            continue;
        }
        match event["event"].as_str() {
            Some("agent") => {
                let seq = payload["seq"].as_u64().unwrap_or_default();
                let before = last.insert(run.clone(), seq).unwrap_or(0);
                if before == 0 && payload["data"]["phase"] != "start" {
                    problems.push(format!("run {run} does not begin with its start"));
                }
                if seq <= before {
                    problems.push(format!("run {run}: {seq} after {before}"));
                }
            }
            Some("chat") => {
                if over.contains(&run) {
                    problems.push(format!("run {run} goes on after its end"));
                }
                if payload["state"] != "delta" && payload["state"] != "status" {
                    over.insert(run);
                }
            }
            Some("presence" | "health")
                if event["stateVersion"]["presence"].is_null()
                    || event["stateVersion"]["health"].is_null() =>
            {
                problems.push(format!("{} without stateVersion", event["event"]));
            }
            _ => {}
        }
    }
    problems
}

/// Puts our values where recorded ones are.
fn replace(value: &mut Value, ours: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if text == "<SHARED_TOKEN>" {
                *text = TOKEN.to_owned();
            } else if let Some(mine) = ours.get(text) {
                text.clone_from(mine);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, ours)),
        Value::Object(members) => members.values_mut().for_each(|value| replace(value, ours)),
        _ => {}
    }
}

/// Notes what the server made up.
fn learn(recorded: &Value, ours: &Value, known: &mut BTreeMap<String, String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (name, theirs) in recorded {
                let Some(mine) = ours.get(name) else { continue };
                match (theirs, mine) {
                    (Value::String(theirs), Value::String(mine))
                        if MADE_UP.contains(&name.as_str()) && theirs != mine =>
                    {
                        known.insert(theirs.clone(), mine.clone());
                    }
                    _ => learn(theirs, mine, known),
                }
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            for (theirs, mine) in recorded.iter().zip(ours) {
                learn(theirs, mine, known);
            }
        }
        _ => {}
    }
}

/// A conversation that was there before the client came.
pub(crate) async fn seed(world: &World) {
    let params = json!({ "sessionKey": "main", "message": "ping", "idempotencyKey": SEED });
    world.ok("chat.send", params).await;
    world.work("PONG-7431 from the mock model.").await;
    let ended = world.ok("agent.wait", json!({ "runId": SEED })).await;
    assert_eq!(ended["status"], "ok");
}
