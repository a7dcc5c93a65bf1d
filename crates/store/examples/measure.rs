//! Prints how fast the journal is here: durable appends by one writer and by sixty-four, whole turns, and what they write.
//!
//! `cargo run --release -p adjutant-store --example measure [directory]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;

use adjutant_domain::id::{
    AgentId, MessageId, OwnerId, ReservationId, RunId, SessionKey, WorkerId,
};
use adjutant_domain::label::{Label, Origin};
use adjutant_domain::message::{Message, Role};
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{AskedBudget, Entry, Limits, Outcome, Run, StopReason, Work};
use adjutant_domain::session::Session;
use adjutant_domain::time::Timestamp;
use adjutant_ports::Entropy;
use adjutant_ports::store::{
    Append, Claim, Hidden, Intake, Offer, RunStore, SessionStore, StoreError, ThreadStore,
    text_parts,
};
use adjutant_sim::{SimClock, SimEntropy};
use adjutant_store::{Config, LocalBus, Sqlite};

const SPAN: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(3_600);

struct Bench {
    store: Arc<Sqlite>,
    entropy: SimEntropy,
}

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or_default())
}

impl Bench {
    fn bits(&self) -> u128 {
        self.entropy.next_u128()
    }

    async fn session(&self, n: usize) -> Result<Session, StoreError> {
        let key = SessionKey::parse(format!("agent:main:{n}")).expect("a plain word and a number");
        self.store
            .open_session(&OwnerId::local(), &key, None, None)
            .await
    }

    async fn accept(&self, session: &Session) -> Result<(), StoreError> {
        let run = Run {
            id: RunId::mint(now(), self.bits()),
            owner: session.owner.clone(),
            agent: AgentId::main(),
            session: session.id,
            session_key: session.key.clone(),
            thread: session.thread,
            client_key: None,
            priority: 0,
            needs: Needs::default(),
        };
        let message = Message {
            id: MessageId::mint(now(), self.bits()),
            thread: session.thread,
            seq: None,
            role: Role::User,
            parts: text_parts("Say ok, and nothing else, please."),
            run: None,
            label: Label::of(Origin::Owner),
            at: now(),
        };
        let intake = Intake {
            run,
            message: Some(message),
            limits: Limits::default(),
            work: Work::Chat,
            method: "chat.send",
            digest: String::new(),
        };
        self.store.accept(intake).await.map(drop)
    }

    async fn claim(&self) -> Result<Option<Claim>, StoreError> {
        let offer = Offer::one(WorkerId::mint(now(), self.bits()));
        Ok(self.store.claim(&offer, LEASE).await?.pop())
    }

    async fn append(&self, claim: &Claim, entries: Vec<Entry>) -> Result<(), StoreError> {
        let append = Append {
            run: &claim.run,
            fence: claim.fence,
            entries,
            caps: vec![],
            grants: vec![],
        };
        self.store.append(append).await.map(drop)
    }

    /// Accept, claim, read the tail, ask, reply and finish: what one message costs the store.
    async fn turn(&self, session: &Session) -> Result<(), StoreError> {
        self.accept(session).await?;
        let Some(claim) = self.claim().await? else {
            return Ok(());
        };
        let owner = &claim.run.owner;
        self.store
            .messages(owner, claim.run.thread, 50, None, Hidden::Skip)
            .await?;
        let budget = AskedBudget {
            reservation: ReservationId::mint(now(), self.bits()),
            reserve: Micros(100),
            day: "2026-01-01".to_owned(),
        };
        let route = "offline/echo".to_owned();
        let asked = Entry::ModelAsked {
            attempt: 1,
            route: route.clone(),
            budget: budget.clone(),
        };
        self.append(&claim, vec![asked]).await?;
        let message = MessageId::mint(now(), self.bits());
        let usage = Usage {
            input: 100,
            output: 10,
            ..Usage::default()
        };
        let cost = Cost::Priced { micros: Micros(7) };
        let replied = Entry::ModelReplied {
            message,
            parts: text_parts(
                "ok, as you wish, and nothing else was said in reply to this message",
            ),
            stop: StopReason::End,
            route,
            usage,
            cost,
            budget,
        };
        let outcome = Outcome::Done {
            message: Some(message),
        };
        self.append(
            &claim,
            vec![
                replied,
                Entry::Finished {
                    outcome,
                    usage,
                    cost,
                },
            ],
        )
        .await
    }
}

fn written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// User and system time of this process, in steps of ten milliseconds.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Runs `work` on `n` threads for a while and prints what came of it.
fn measure(name: &str, n: usize, work: impl Fn(usize) -> Result<(), StoreError> + Sync) {
    let (bytes, used, begun) = (written(), cpu(), Instant::now());
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n)
            .map(|i| {
                let work = &work;
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while begun.elapsed() < SPAN {
                        let start = Instant::now();
                        if let Err(error) = work(i) {
                            eprintln!("{error}");
                            break;
                        }
                        times.push(start.elapsed());
                    }
                    times
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    let span = begun.elapsed();
    times.sort();
    let n_done = times.len().max(1);
    let per = |total: Duration| total.as_secs_f64() * 1e6 / n_done as f64;
    println!(
        "{name}: {:.0}/s, p50 {:?}, p99 {:?}, cpu {:.0} us, {:.1} KiB written each",
        n_done as f64 / span.as_secs_f64(),
        times.get(n_done / 2).copied().unwrap_or_default(),
        times.get(n_done * 99 / 100).copied().unwrap_or_default(),
        per(cpu().saturating_sub(used)),
        written().saturating_sub(bytes) as f64 / 1024.0 / n_done as f64,
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(dir)?;
    let store = Sqlite::open(
        dir.path(),
        SimClock::new(),
        Arc::new(LocalBus::new()),
        Arc::new(SimEntropy::new(1)),
        Config::default(),
    )?;
    let bench = Bench {
        store,
        entropy: SimEntropy::new(2),
    };
    let (mut sessions, mut claims) = (Vec::new(), Vec::new());
    for n in 0..64 {
        let session = block_on(bench.session(n))?;
        block_on(bench.accept(&session))?;
        claims.extend(block_on(bench.claim())?);
        sessions.push(block_on(bench.session(1_000 + n))?);
    }
    let append = |i: usize| {
        let entry = Entry::CancelAsked {
            by: "owner".to_owned(),
        };
        block_on(bench.append(&claims[i], vec![entry]))
    };
    measure("append, 1 writer", 1, append);
    measure("append, 64 writers", 64, append);
    measure("turn, 1 session", 1, |i| block_on(bench.turn(&sessions[i])));
    measure("turn, 64 sessions", 64, |i| {
        block_on(bench.turn(&sessions[i]))
    });
    Ok(())
}
