//! Conversations, seats, agents.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use adjutant_domain::agent::Agent;
use adjutant_domain::event::EventKind;
use adjutant_domain::id::{AgentId, MessageId, OwnerId, SessionId, SessionKey, ThreadId};
use adjutant_domain::message::Message;
use adjutant_domain::session::{Session, Thread};
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::ToolSpec;
use adjutant_ports::store::{
    AgentStore, Hidden, History, HistoryAsk, Page, SessionPatch, SessionStore, StoreError, Stored,
    ThreadStore,
};

use super::{Inner, MemoryStore};

impl Inner {
    /// Adds a message; gives it a position when its run has begun.
    pub(crate) fn add_message(&mut self, mut message: Message, placed: bool) {
        let id = message.id;
        message.seq = None;
        let thread = message.thread;
        if let Some(row) = self.threads.get_mut(&thread) {
            row.messages += 1;
        }
        self.touch(thread, message.at);
        self.messages.insert(id, message);
        self.by_thread.entry(thread).or_default().push(id);
        if placed {
            self.place_message(id);
        }
    }

    /// Counts as a use of the thread and of every seat in it.
    pub(crate) fn touch(&mut self, thread: ThreadId, at: Timestamp) {
        if let Some(row) = self.threads.get_mut(&thread) {
            row.updated_at = row.updated_at.max(at);
        }
        for seat in self.sessions.values_mut().filter(|s| s.thread == thread) {
            seat.updated_at = seat.updated_at.max(at);
        }
    }

    /// Gives a message the next position of its thread.
    pub(crate) fn place_message(&mut self, id: MessageId) {
        let Some(thread) = self
            .messages
            .get(&id)
            .filter(|m| m.seq.is_none())
            .map(|m| m.thread)
        else {
            return;
        };
        let last = self
            .by_thread
            .get(&thread)
            .into_iter()
            .flatten()
            .filter_map(|m| self.messages.get(m).and_then(|m| m.seq))
            .max()
            .unwrap_or(0);
        if let Some(message) = self.messages.get_mut(&id) {
            message.seq = Some(last + 1);
        }
    }
}

#[async_trait]
impl ThreadStore for MemoryStore {
    async fn thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<Option<Thread>> {
        Ok(self
            .lock()
            .threads
            .get(&id)
            .filter(|t| t.owner == *owner)
            .cloned())
    }

    async fn threads(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Thread>> {
        let inner = self.lock();
        let mut all: Vec<Thread> = inner
            .threads
            .values()
            .filter(|t| t.owner == *owner)
            .cloned()
            .collect();
        all.sort_by_key(|t| std::cmp::Reverse((t.updated_at, t.id)));
        Ok(all
            .into_iter()
            .skip(page.offset as usize)
            .take(page.limit as usize)
            .collect())
    }

    async fn messages(
        &self,
        owner: &OwnerId,
        thread: ThreadId,
        limit: u32,
        before: Option<u64>,
        hidden: Hidden,
    ) -> Stored<Vec<Message>> {
        let inner = self.lock();
        if inner.threads.get(&thread).is_none_or(|t| t.owner != *owner) {
            return Ok(Vec::new());
        }
        let through = if hidden == Hidden::Skip {
            inner.hidden.get(&thread).copied().unwrap_or(0)
        } else {
            0
        };
        let mut all: Vec<Message> = inner
            .by_thread
            .get(&thread)
            .into_iter()
            .flatten()
            .filter_map(|id| inner.messages.get(id))
            .filter(|m| m.seq.is_none_or(|seq| through < seq))
            .filter(|m| before.is_none_or(|end| m.seq.is_some_and(|seq| seq < end)))
            .cloned()
            .collect();
        all.sort_by_key(|m| (m.seq.unwrap_or(u64::MAX), m.at, m.id));
        let skip = all.len().saturating_sub(limit as usize);
        Ok(all.split_off(skip))
    }

    async fn history(&self, owner: &OwnerId, wanted: &HistoryAsk) -> Stored<History> {
        let mut messages = self
            .messages(owner, wanted.thread, u32::MAX, None, Hidden::Skip)
            .await?;
        let mut waiting = messages.split_off(messages.partition_point(|m| m.seq.is_some()));
        waiting.retain(|m| m.run == Some(wanted.run));
        messages.retain(|m| m.seq.is_some_and(|seq| wanted.from <= seq));
        messages.drain(..messages.len().saturating_sub(wanted.limit as usize));
        messages.extend(waiting);
        let inner = self.lock();
        let is_theirs = |t: &Thread| t.owner == *owner;
        let hidden = inner.hidden.get(&wanted.thread);
        let hidden =
            hidden.filter(|_through| inner.threads.get(&wanted.thread).is_some_and(is_theirs));
        Ok(History {
            hidden_through: hidden.copied().unwrap_or_default(),
            messages,
        })
    }

    async fn message(&self, owner: &OwnerId, id: MessageId) -> Stored<Option<Message>> {
        let inner = self.lock();
        let message = inner.messages.get(&id).cloned();
        Ok(message.filter(|m| {
            inner
                .threads
                .get(&m.thread)
                .is_some_and(|t| t.owner == *owner)
        }))
    }

    async fn search_messages(
        &self,
        owner: &OwnerId,
        query: &str,
        limit: u32,
    ) -> Stored<Vec<Message>> {
        let inner = self.lock();
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        let found = inner.messages.values().rev().filter(|m| {
            inner
                .threads
                .get(&m.thread)
                .is_some_and(|t| t.owner == *owner)
                && !words.is_empty()
                && words.iter().all(|w| m.text().to_lowercase().contains(w))
        });
        Ok(found.take(limit as usize).cloned().collect())
    }

    async fn rename_thread(&self, owner: &OwnerId, id: ThreadId, title: &str) -> Stored<()> {
        let mut inner = self.lock();
        let thread = inner
            .threads
            .get_mut(&id)
            .filter(|t| t.owner == *owner)
            .ok_or(StoreError::NotFound { what: "thread" })?;
        thread.title = Some(title.to_owned());
        Ok(())
    }

    async fn forget_thread(&self, owner: &OwnerId, id: ThreadId) -> Stored<bool> {
        let mut inner = self.lock();
        if inner.threads.get(&id).is_none_or(|t| t.owner != *owner) {
            return Ok(false);
        }
        if inner
            .runs
            .values()
            .any(|r| r.run.thread == id && !r.is_over())
        {
            return Err(StoreError::Conflict {
                reason: "a run of this thread is active".to_owned(),
            });
        }
        inner.threads.remove(&id);
        inner.messages.retain(|_, m| m.thread != id);
        inner.by_thread.remove(&id);
        inner.runs.retain(|_, r| r.run.thread != id);
        inner.sessions.retain(|_, s| s.thread != id);
        Ok(true)
    }
}

impl MemoryStore {
    fn new_thread(&self, inner: &mut Inner, owner: &OwnerId, agent: &AgentId) -> ThreadId {
        let now = self.now();
        let id = ThreadId::mint(now, self.entropy());
        let thread = Thread {
            id,
            owner: owner.clone(),
            agent: agent.clone(),
            title: None,
            created_at: now,
            updated_at: now,
            messages: 0,
        };
        inner.threads.insert(id, thread);
        id
    }

    fn busy(inner: &Inner, id: SessionId) -> Stored<()> {
        if inner
            .runs
            .values()
            .any(|r| r.run.session == id && !r.is_over())
        {
            return Err(StoreError::Conflict {
                reason: "a run of this session is active".to_owned(),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn open_session(
        &self,
        owner: &OwnerId,
        key: &SessionKey,
        thread: Option<ThreadId>,
        expires_in: Option<Duration>,
    ) -> Stored<Session> {
        let now = self.now();
        let mut inner = self.lock();
        let at = (owner.clone(), key.clone());
        if let Some(session) = inner.sessions.get(&at) {
            return Ok(session.clone());
        }
        let thread = match thread {
            Some(id) if inner.threads.get(&id).is_some_and(|t| t.owner == *owner) => id,
            Some(_) => return Err(StoreError::NotFound { what: "thread" }),
            None => self.new_thread(&mut inner, owner, &key.agent()),
        };
        let session = Session {
            id: SessionId::mint(now, self.entropy()),
            owner: owner.clone(),
            key: key.clone(),
            agent: key.agent(),
            thread,
            label: None,
            model: None,
            expires_at: expires_in.map(|span| now.plus(span)),
            created_at: now,
            updated_at: now,
        };
        inner.sessions.insert(at, session.clone());
        inner.touch(thread, now);
        let event = Self::feed(
            &mut inner,
            owner,
            now,
            None,
            Some(key),
            EventKind::SessionCreated { thread },
        );
        drop(inner);
        self.tell(vec![event]);
        Ok(session)
    }

    async fn session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Option<Session>> {
        Ok(self
            .lock()
            .sessions
            .get(&(owner.clone(), key.clone()))
            .cloned())
    }

    async fn session_by_id(&self, owner: &OwnerId, id: SessionId) -> Stored<Option<Session>> {
        Ok(Self::session_of(&self.lock(), owner, id))
    }

    async fn sessions(&self, owner: &OwnerId, page: Page) -> Stored<Vec<Session>> {
        let inner = self.lock();
        let mut all: Vec<Session> = inner
            .sessions
            .values()
            .filter(|s| s.owner == *owner)
            .cloned()
            .collect();
        all.sort_by_key(|s| std::cmp::Reverse((s.updated_at, s.id)));
        Ok(all
            .into_iter()
            .skip(page.offset as usize)
            .take(page.limit as usize)
            .collect())
    }

    async fn count_sessions(&self, owner: &OwnerId) -> Stored<u64> {
        Ok(self
            .lock()
            .sessions
            .values()
            .filter(|s| s.owner == *owner)
            .count() as u64)
    }

    async fn reset_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<Session> {
        let now = self.now();
        let mut inner = self.lock();
        let at = (owner.clone(), key.clone());
        let mut session = inner
            .sessions
            .get(&at)
            .cloned()
            .ok_or(StoreError::NotFound { what: "session" })?;
        Self::busy(&inner, session.id)?;
        session.thread = self.new_thread(&mut inner, owner, &session.agent);
        session.id = SessionId::mint(now, self.entropy());
        session.updated_at = now;
        inner.sessions.insert(at, session.clone());
        let kind = EventKind::SessionChanged {
            thread: session.thread,
        };
        let event = Self::feed(&mut inner, owner, now, None, Some(key), kind);
        drop(inner);
        self.tell(vec![event]);
        Ok(session)
    }

    async fn patch_session(
        &self,
        owner: &OwnerId,
        key: &SessionKey,
        patch: SessionPatch,
    ) -> Stored<Session> {
        let now = self.now();
        let mut inner = self.lock();
        let session = inner
            .sessions
            .get_mut(&(owner.clone(), key.clone()))
            .ok_or(StoreError::NotFound { what: "session" })?;
        if let Some(label) = patch.label {
            session.label = label;
        }
        if let Some(model) = patch.model {
            session.model = model;
        }
        if let Some(expires_at) = patch.expires_at {
            session.expires_at = expires_at;
        }
        session.updated_at = now;
        let session = session.clone();
        inner.touch(session.thread, now);
        Ok(session)
    }

    async fn delete_session(&self, owner: &OwnerId, key: &SessionKey) -> Stored<bool> {
        let mut inner = self.lock();
        let at = (owner.clone(), key.clone());
        let Some(id) = inner.sessions.get(&at).map(|s| s.id) else {
            return Ok(false);
        };
        Self::busy(&inner, id)?;
        inner.sessions.remove(&at);
        Ok(true)
    }
}

#[async_trait]
impl AgentStore for MemoryStore {
    async fn agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<Option<Arc<Agent>>> {
        Ok(self
            .lock()
            .agents
            .get(&(owner.clone(), name.clone()))
            .cloned())
    }

    async fn agents(&self, owner: &OwnerId) -> Stored<Vec<Arc<Agent>>> {
        Ok(self
            .lock()
            .agents
            .values()
            .filter(|a| a.owner == *owner)
            .cloned()
            .collect())
    }

    async fn put_agent(&self, mut agent: Agent, expected: Option<u64>) -> Stored<Agent> {
        let now = self.now();
        let mut inner = self.lock();
        let at = (agent.owner.clone(), agent.name.clone());
        let found = inner.agents.get(&at).map(|a| a.revision);
        if found != expected {
            let reason = match found {
                Some(_) if expected.is_none() => format!("agent `{}` exists already", agent.name),
                Some(_) => format!("agent `{}` was changed by somebody else", agent.name),
                None => format!("agent `{}` does not exist any more", agent.name),
            };
            return Err(StoreError::Conflict { reason });
        }
        agent.revision = found.map_or(1, |r| r + 1);
        agent.updated_at = now;
        inner.agents.insert(at, Arc::new(agent.clone()));
        Ok(agent)
    }

    async fn delete_agent(&self, owner: &OwnerId, name: &AgentId) -> Stored<bool> {
        Ok(self
            .lock()
            .agents
            .remove(&(owner.clone(), name.clone()))
            .is_some())
    }

    async fn announce_tools(&self, tools: &[ToolSpec]) -> Stored<()> {
        self.lock().tools = tools.to_vec();
        Ok(())
    }

    async fn tools(&self) -> Stored<Vec<ToolSpec>> {
        Ok(self.lock().tools.clone())
    }
}
