//! A transaction: who it is for, what waits to be sent, and what is told when it is done.
//!
//! Statements whose answer nobody needs yet wait, and go out together with the next one whose answer is needed, or with the
//! commit. So an operation costs as many round trips as it has questions, not as many as it has statements.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::maybe_done;
use tokio_postgres::{Client, Row};

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{OwnerId, RunId, SessionKey};
use adjutant_domain::run::Run;
use adjutant_domain::time::Timestamp;
use adjutant_ports::clock::{Clock, Entropy};
use adjutant_ports::store::StoreError;

use crate::postgres::error::{Done, Fault};
use crate::postgres::row::{Columns, Value, params};
use crate::sql::json;
use crate::steady::Steady;

/// Longest wait for the answers to one batch of statements (R30).
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Whose transaction it is: the role it takes, and the identity that the policies see (S50).
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// One owner's rows.
    Owner(OwnerId),
    /// The queue across owners.
    Queue,
    /// Reads everything.
    Auditor,
}

impl Who {
    pub(crate) const ROLES: [&'static str; 3] =
        ["adjutant_app", "adjutant_worker", "adjutant_auditor"];

    fn role(&self) -> &'static str {
        match self {
            Self::Owner(_) => "adjutant_app",
            Self::Queue => "adjutant_worker",
            Self::Auditor => "adjutant_auditor",
        }
    }

    fn claims(&self) -> String {
        match self {
            Self::Owner(owner) => {
                serde_json::json!({ "sub": owner.as_str(), "role": self.role() }).to_string()
            }
            Self::Queue | Self::Auditor => String::new(),
        }
    }
}

/// Whether the answer must wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives power loss.
    Flushed,
    /// Survives the death of this process, and not that of the server.
    Relaxed,
}

/// Time: the database's, so that machines with different clocks agree. Tests bring one of their own.
pub(crate) struct Times {
    local: Arc<dyn Clock>,
    simulated: Option<Steady>,
}

impl Times {
    pub(crate) fn new(local: Arc<dyn Clock>, is_simulated: bool) -> Self {
        let simulated = is_simulated.then(|| Steady::new(Arc::clone(&local)));
        Self { local, simulated }
    }

    /// For leases and buckets: null, so that the statement reads the database's clock.
    pub(crate) fn waits(&self) -> Option<i64> {
        self.simulated
            .as_ref()
            .map(|steady| steady.now().as_millis())
    }

    /// For rows and people: null, so that the statement reads the database's clock.
    pub(crate) fn rows(&self) -> Option<i64> {
        self.simulated
            .as_ref()
            .map(|steady| steady.wall().as_millis())
    }

    /// How far a moment of this machine's clock is from now.
    fn ahead(&self, at: Timestamp) -> Duration {
        at.since(self.local.now())
    }
}

enum After {
    Nothing,
    /// The first column is the clock.
    Opened,
    /// `must_change` was in it, and this is what it means when nothing was.
    Must(StoreError),
    /// Says that there is work, if there is a row.
    Work,
}

struct Step {
    sql: &'static str,
    params: Vec<Value>,
    after: After,
}

/// What is told when it is committed.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) work: bool,
    pub(crate) signalled: Vec<RunId>,
    pub(crate) fed: bool,
}

struct Draft {
    owner: String,
    run: Option<String>,
    run_name: Option<String>,
    session: Option<String>,
    kind: String,
}

pub(crate) struct Tx<'c> {
    client: &'c Client,
    times: &'c Times,
    entropy: &'c dyn Entropy,
    waiting: Vec<Step>,
    events: Vec<Draft>,
    now: Option<Timestamp>,
    is_begun: bool,
    is_committed: bool,
    said: Said,
}

// Between two round trips of a transaction nothing is waited for, so whoever is silent for five seconds is frozen, or its
// line is half-open (R26): the server ends it, and its locks keep nobody else from work.
macro_rules! identity {
    () => {
        "select set_config('request.jwt.claims', $2, true), set_config('search_path', 'adjutant', true),
                set_config('lock_timeout', '10s', true)
                    || set_config('idle_in_transaction_session_timeout', '5s', true),
                set_config('synchronous_commit',
                           case when $3 and current_setting('synchronous_commit') = 'off' then 'on'
                                when $3 then current_setting('synchronous_commit')
                                else 'off' end, true),
                set_config('role', $1, true), (extract(epoch from clock_timestamp()) * 1000)::bigint"
    };
}

impl<'c> Tx<'c> {
    /// Sends nothing yet.
    pub(crate) fn new(
        client: &'c Client,
        times: &'c Times,
        entropy: &'c dyn Entropy,
        who: &Who,
        durability: Durability,
    ) -> Self {
        let mut tx = Self {
            client,
            times,
            entropy,
            waiting: Vec::new(),
            events: Vec::new(),
            now: None,
            is_begun: false,
            is_committed: false,
            said: Said::default(),
        };
        tx.later("begin", vec![]);
        tx.become_with(who, durability, After::Opened);
        tx
    }

    fn become_with(&mut self, who: &Who, durability: Durability, after: After) {
        let is_flushed = durability == Durability::Flushed;
        self.waiting.push(Step {
            sql: identity!(),
            params: params![who.role().to_owned(), who.claims(), is_flushed],
            after,
        });
    }

    /// Everything that is read is of one moment. Before the first statement only.
    pub(crate) fn snapshot(&mut self) {
        if let Some(begin) = self.waiting.first_mut() {
            begin.sql = "begin transaction isolation level repeatable read read only";
        }
    }

    /// Goes on as somebody else: what follows is theirs.
    pub(crate) fn become_owner(&mut self, owner: &OwnerId) {
        let who = Who::Owner(owner.clone());
        self.become_with(&who, Durability::Flushed, After::Nothing);
    }

    /// A statement whose answer nobody needs.
    pub(crate) fn later(&mut self, sql: &'static str, params: Vec<Value>) {
        self.waiting.push(Step {
            sql,
            params,
            after: After::Nothing,
        });
    }

    /// A statement with `must_change` in it.
    pub(crate) fn must(&mut self, sql: &'static str, params: Vec<Value>, or: StoreError) {
        self.waiting.push(Step {
            sql,
            params,
            after: After::Must(or),
        });
    }

    /// A statement that gives a row when there is work.
    pub(crate) fn work_if(&mut self, sql: &'static str, params: Vec<Value>) {
        self.waiting.push(Step {
            sql,
            params,
            after: After::Work,
        });
    }

    /// Everything that waits, and then this: its rows.
    pub(crate) async fn rows(&mut self, sql: &'static str, params: Vec<Value>) -> Done<Vec<Row>> {
        self.later(sql, params);
        self.send(false).await
    }

    /// The first row, if any.
    pub(crate) async fn one(&mut self, sql: &'static str, params: Vec<Value>) -> Done<Option<Row>> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Several questions in one round trip: the rows of each.
    pub(crate) async fn several(
        &mut self,
        questions: Vec<(&'static str, Vec<Value>)>,
    ) -> Done<Vec<Vec<Row>>> {
        let n = questions.len();
        for (sql, params) in questions {
            self.later(sql, params);
        }
        let mut all = self.send_all(false).await?;
        Ok(all.split_off(all.len().saturating_sub(n)))
    }

    /// As [`Tx::several`], with the commit in the same round trip. Nothing may follow.
    pub(crate) async fn finish(
        &mut self,
        questions: Vec<(&'static str, Vec<Value>)>,
    ) -> Done<Vec<Vec<Row>>> {
        let n = questions.len();
        for (sql, params) in questions {
            self.later(sql, params);
        }
        let mut all = self.send_all(true).await?;
        Ok(all.split_off(all.len().saturating_sub(n)))
    }

    /// Everything that waits, this, and the commit, in one round trip: its rows.
    pub(crate) async fn last(
        mut self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> (Done<Vec<Row>>, Self) {
        self.later(sql, params);
        let rows = self.send(true).await;
        (rows, self)
    }

    /// The wall clock, for rows and people.
    pub(crate) async fn now(&mut self) -> Done<Timestamp> {
        if self.now.is_none() {
            self.send(false).await?;
        }
        self.now
            .ok_or_else(|| Fault::Unreadable("the database tells no time".to_owned()))
    }

    /// For leases and buckets: null, so that the statement reads the database's clock.
    pub(crate) fn waits(&self) -> Option<i64> {
        self.times.waits()
    }

    /// For rows: null, so that the statement reads the database's clock.
    pub(crate) fn row_time(&self) -> Option<i64> {
        self.times.rows()
    }

    /// Milliseconds from now until a moment of this machine's clock.
    pub(crate) fn ahead(&self, at: Timestamp) -> i64 {
        millis(self.times.ahead(at))
    }

    pub(crate) fn entropy(&self) -> u128 {
        self.entropy.next_u128()
    }

    /// Says that a worker should look for work.
    pub(crate) fn nudge(&mut self) {
        self.said.work = true;
    }

    /// Says that a signal for this run was stored.
    pub(crate) fn signalled(&mut self, run: RunId) {
        self.said.signalled.push(run);
    }

    /// Adds a fact to the feed.
    pub(crate) fn event(
        &mut self,
        owner: &OwnerId,
        about: Option<(RunId, &str)>,
        session: Option<&SessionKey>,
        kind: &EventKind,
    ) -> Done<()> {
        self.events.push(Draft {
            owner: owner.to_string(),
            run: about.map(|(run, _)| run.to_string()),
            run_name: about.map(|(_, name)| name.to_owned()),
            session: session.map(ToString::to_string),
            kind: json(kind)?,
        });
        Ok(())
    }

    /// Adds a fact about a run to the feed.
    pub(crate) fn run_event(&mut self, run: &Run, kind: &EventKind) -> Done<()> {
        self.event(
            &run.owner,
            Some((run.id, &run.name())),
            Some(&run.session_key),
            kind,
        )
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(crate) fn into_said(self) -> Said {
        self.said
    }

    /// The commit, with everything that waits in front of it.
    pub(crate) async fn commit(&mut self) -> Done<()> {
        if self.is_committed {
            return Ok(());
        }
        self.send(true).await.map(drop)
    }

    /// Undoes it; an error says that the connection is of no use any more.
    pub(crate) async fn rollback(&self) -> Done<()> {
        let undone = self.client.batch_execute("rollback");
        match tokio::time::timeout(ANSWER_MAX, undone).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(Fault::Late),
        }
    }

    /// Events go last: cursors rise in the order of commits, so the lock that makes them is held until the commit (8.4).
    fn feed(&mut self) {
        if self.events.is_empty() {
            return;
        }
        self.said.fed = true;
        let drafts = std::mem::take(&mut self.events);
        self.later("select pg_advisory_xact_lock(4164067475)", vec![]);
        let at = self.row_time();
        for draft in drafts {
            self.later(
                "insert into events (cursor, owner, at, run, run_name, session, kind)
                 values (nextval('events_cursor'), $1, coalesce($2, clock_ms()), $3, $4, $5, $6)",
                params![
                    draft.owner,
                    at,
                    draft.run,
                    draft.run_name,
                    draft.session,
                    draft.kind
                ],
            );
        }
    }

    async fn send(&mut self, commits: bool) -> Done<Vec<Row>> {
        let mut all = self.send_all(commits).await?;
        Ok(all.pop().unwrap_or_default())
    }

    /// Sends what waits. The rows of every statement, without those of the events and the commit.
    async fn send_all(&mut self, commits: bool) -> Done<Vec<Vec<Row>>> {
        let n_asked = self.waiting.len();
        if commits {
            self.feed();
            self.later("commit", vec![]);
        }
        let steps = std::mem::take(&mut self.waiting);
        if steps.is_empty() {
            return Ok(vec![]);
        }
        self.is_begun = true;
        let answers = match tokio::time::timeout(ANSWER_MAX, pipeline(self.client, &steps)).await {
            Ok(answers) => answers,
            Err(_elapsed) if commits => return Err(Fault::Unknown),
            Err(_elapsed) => return Err(Fault::Late),
        };
        let last = steps.len() - 1;
        let mut all = Vec::with_capacity(n_asked);
        for (i, (step, answer)) in steps.into_iter().zip(answers).enumerate() {
            let rows = match answer {
                Ok(rows) => rows,
                Err(error) => {
                    if let After::Must(or) = step.after
                        && error.code().is_some_and(|code| code.code() == "AD404")
                    {
                        return Err(or.into());
                    }
                    // An error of the server in front of the commit undoes everything; silence may mean either.
                    let is_known = i < last && error.as_db_error().is_some();
                    let fault = Fault::from(error);
                    return Err(if commits && !is_known && fault.is_cut() {
                        Fault::Unknown
                    } else {
                        fault
                    });
                }
            };
            match step.after {
                After::Nothing | After::Must(_) => {}
                After::Opened => {
                    let db = rows.first().map(|row| row.at(5)).transpose()?;
                    self.now = self.row_time().map(Timestamp::from_millis).or(db);
                }
                After::Work => self.said.work |= !rows.is_empty(),
            }
            if i < n_asked {
                all.push(rows);
            }
        }
        self.is_committed |= commits;
        Ok(all)
    }
}

pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Sends every statement before it waits for the first answer.
async fn pipeline(client: &Client, steps: &[Step]) -> Vec<Result<Vec<Row>, tokio_postgres::Error>> {
    let mut calls: Vec<_> = steps
        .iter()
        .map(|step| {
            Box::pin(maybe_done(async move {
                let typed: Vec<_> = step.params.iter().map(Value::typed).collect();
                client.query_typed(step.sql, &typed).await
            }))
        })
        .collect();
    poll_fn(|cx| {
        // A call sends when it is polled first, so the order here is the order there.
        let mut is_pending = false;
        for call in &mut calls {
            is_pending |= call.as_mut().poll(cx).is_pending();
        }
        if is_pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    calls
        .iter_mut()
        .filter_map(|call| call.as_mut().take_output())
        .collect()
}
