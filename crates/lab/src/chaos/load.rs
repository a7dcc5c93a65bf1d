//! Clients that keep the fleet busy: each sends a message with a key, repeats it until somebody says yes, waits for the
//! end, and sends the next. What was acknowledged is written down the moment it is heard.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::mock::now_ns;

/// Runs of a client in one session.
const RUNS_PER_SESSION: u32 = 8;
/// Rest after something did not answer.
const REST: Duration = Duration::from_millis(100);

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

/// What clients heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Key, and when its yes was heard.
    pub(crate) acknowledged: BTreeMap<String, u64>,
    /// Key, and when its end was heard.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Keys that were asked for, answered or not.
    pub(crate) asked: u64,
    /// Answers that said "not now", to be repeated.
    pub(crate) retryable: u64,
    /// Answers that said something that must not be said to a fault of ours.
    pub(crate) wrong: Vec<String>,
    /// Times that nothing answered.
    pub(crate) unanswered: u64,
    /// Keys whose repetition after a yes was told that it started something.
    pub(crate) two_runs: Vec<String>,
}

/// What clients do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) clients: u32,
    /// Calls of a run, each of which appends one line to the file of its run.
    pub(crate) tools: u32,
    /// Runs after which a client is done; none: when told to stop.
    pub(crate) runs_each: Option<u32>,
    /// In front of all keys.
    pub(crate) prefix: String,
    /// Reads instead of commands.
    pub(crate) only_reads: bool,
    /// Every key is sent a second time after its yes.
    pub(crate) twice: bool,
}

impl Plan {
    pub(crate) fn new(port: u16, clients: u32, tools: u32) -> Self {
        Self {
            port,
            clients,
            tools,
            runs_each: None,
            prefix: "c".to_owned(),
            only_reads: false,
            twice: false,
        }
    }
}

/// Clients at work.
pub(crate) struct Load {
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(plan: &Plan) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..plan.clients {
            let one = One {
                plan: plan.clone(),
                number,
                heard: Arc::clone(&heard),
                stop: Arc::clone(&stop),
            };
            tasks.spawn(one.work());
        }
        Self { heard, stop, tasks }
    }

    /// What was heard so far.
    pub(crate) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many runs were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.heard().acknowledged.len()
    }

    /// How many ends were heard.
    pub(crate) fn ended(&self) -> usize {
        self.heard().ended.len()
    }

    /// Waits until clients that have a bound are done.
    pub(crate) async fn finished(&mut self, patience: Duration) -> Result<()> {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        match tokio::time::timeout(patience, all).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("the clients were not done after {patience:?}"),
        }
    }

    /// No new messages. Returns what was heard.
    pub(crate) async fn stop(mut self) -> Heard {
        self.stop.store(true, Ordering::SeqCst);
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        // Whoever still waits for an end is cut off: the verdict looks at every run itself.
        drop(tokio::time::timeout(Duration::from_secs(3), rest).await);
        self.tasks.shutdown().await;
        std::mem::take(&mut *self.heard())
    }
}

struct One {
    plan: Plan,
    number: u32,
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
}

impl One {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    async fn work(self) {
        let mut client = None;
        let mut n = 0;
        while !self.is_over() && self.plan.runs_each.is_none_or(|most| n < most) {
            let key = format!("{}{}-{n}", self.plan.prefix, self.number);
            self.heard().asked += 1;
            let params = self.message(&key, n);
            if self.accepted(&mut client, &key, &params).await.is_none() {
                return;
            }
            if self.plan.twice
                && let Some(again) = self.accepted(&mut client, &key, &params).await
                && again["status"] == "started"
            {
                self.heard().two_runs.push(format!("{key}: {again}"));
            }
            self.end(&mut client, &key).await;
            n += 1;
        }
    }

    fn message(&self, key: &str, n: u32) -> Value {
        let Plan { tools, prefix, .. } = &self.plan;
        let text = if self.plan.only_reads {
            format!("reads={tools}")
        } else {
            format!("tools={tools} command=echo {key}-{{n}} >> {key}.txt")
        };
        let session = format!(
            "agent:main:{prefix}{}-s{}",
            self.number,
            n / RUNS_PER_SESSION
        );
        json!({ "sessionKey": session, "message": text, "idempotencyKey": key })
    }

    /// Repeats the message until somebody says yes. None: told to stop before.
    async fn accepted(
        &self,
        client: &mut Option<Client>,
        key: &str,
        params: &Value,
    ) -> Option<Value> {
        while !self.is_over() {
            match self.ask(client, "chat.send", params.clone()).await {
                Some(Ok(answer)) => {
                    let mut heard = self.heard();
                    heard.acknowledged.entry(key.to_owned()).or_insert(now_ms());
                    return Some(answer);
                }
                Some(Err(said)) if is_retryable(&said) => self.heard().retryable += 1,
                Some(Err(said)) => self.heard().wrong.push(format!("{key}: {said}")),
                None => self.heard().unanswered += 1,
            }
            tokio::time::sleep(REST).await;
        }
        None
    }

    /// Waits for the end of a run.
    async fn end(&self, client: &mut Option<Client>, key: &str) {
        while !self.is_over() {
            let params = json!({ "runId": key, "timeoutMs": 10_000 });
            match self.ask(client, "agent.wait", params).await {
                Some(Ok(end)) if is_final(&end) => {
                    self.heard().ended.entry(key.to_owned()).or_insert(now_ms());
                    return;
                }
                // Not yet, not any more, or nobody to tell.
                _ => tokio::time::sleep(REST).await,
            }
        }
    }

    /// One call. None: nothing answered, and the connection is gone.
    async fn ask(
        &self,
        client: &mut Option<Client>,
        method: &str,
        params: Value,
    ) -> Option<Result<Value, String>> {
        if client.is_none() {
            *client = Client::connect(self.plan.port).await.ok();
        }
        let open = client.as_mut()?;
        let answer = tokio::time::timeout(Duration::from_secs(20), open.call(method, params)).await;
        match answer {
            Ok(Ok(value)) => Some(Ok(value)),
            Ok(Err(error)) => {
                let said = format!("{error:#}");
                // An answer says which method it refuses; everything else is a broken connection.
                if said.starts_with(method) {
                    Some(Err(said))
                } else {
                    *client = None;
                    None
                }
            }
            Err(_) => {
                *client = None;
                None
            }
        }
    }
}

/// Whether an `agent.wait` told an end.
pub(crate) fn is_final(end: &Value) -> bool {
    matches!(end["state"].as_str(), Some("done" | "failed" | "cancelled"))
}

/// Whether an error says that the same call may work later.
pub(crate) fn is_retryable(said: &str) -> bool {
    said.contains("\"retryable\":true") || said.contains("UNAVAILABLE")
}
