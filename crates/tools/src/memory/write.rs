//! `memory_write`: a fact to keep.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::id::MemoryId;
use adjutant_domain::label::Trust;
use adjutant_domain::memory::{Memory, MemoryKind, MemoryScope};
use adjutant_domain::time::{Span, Timestamp};
use adjutant_domain::tool::{ActionClass, Effect, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::store::MemoryStore;

use crate::memory::instruction::is_order;
use crate::tool::{Act, Halt, Traits, report};

/// Longest fact, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Agent,
    Owner,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    text: String,
    /// Replaces the fact with this key
    key: Option<String>,
    /// Who recalls it, default agent
    scope: Option<Scope>,
    /// Like 7d
    expires_in: Option<String>,
    /// Keep as a quote of somebody
    quote: Option<bool>,
}

pub(crate) struct Write {
    spec: ToolSpec,
    memories: Arc<dyn MemoryStore>,
}

impl Write {
    pub(crate) fn new(memories: Arc<dyn MemoryStore>) -> Self {
        let traits = Traits {
            name: "memory_write",
            about: "Remember a fact.",
            effect: Effect::Idempotent,
            level: TrustLevel::L3,
            class: ActionClass::Remember,
            operands: Vec::new(),
        };
        Self {
            spec: traits.with::<Args>(),
            memories,
        }
    }
}

#[async_trait]
impl Act for Write {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        check(&args)?;
        let Args {
            text,
            key,
            scope,
            expires_in,
            quote,
        } = args;
        let is_quote = quote.unwrap_or(false);
        if !is_quote && is_order(&text) {
            return Err(Halt::failed(
                "MEMORY_INSTRUCTION: this reads like an order to a model and not like a fact, so it was not stored; \
                 write it as a plain fact, or set `quote` to keep it as something somebody said",
            ));
        }
        let memory = Memory {
            // A repeated call stores the same row again.
            id: MemoryId::from_u128(permit.call_id().as_u128()),
            owner: cx.owner.clone(),
            scope: match scope.unwrap_or(Scope::Agent) {
                Scope::Agent => MemoryScope::Agent {
                    agent: cx.agent.name.clone(),
                },
                Scope::Owner => MemoryScope::Owner,
            },
            kind: MemoryKind::Fact,
            key,
            text: if is_quote {
                format!("Quote: \u{201c}{text}\u{201d}")
            } else {
                text
            },
            trust: if is_quote {
                Trust::Outside
            } else {
                Trust::Model.min(permit.lowest_trust())
            },
            source: Some(cx.run),
            created_at: cx.now,
            expires_at: expires_in.map(|it| expiry(&it, cx.now)).transpose()?,
        };
        let until = memory
            .expires_at
            .map(|at| format!(" until {at}"))
            .unwrap_or_default();
        let stored = self.memories.put_memory(memory).await?;
        Ok(report(format!("remembered as {}{until}", stored.id)))
    }
}

fn check(args: &Args) -> Result<(), Halt> {
    if args.text.trim().is_empty() {
        return Err(Halt::failed(
            "`text` is empty, so there is nothing to remember",
        ));
    }
    if TEXT_BYTES_MAX < args.text.len() {
        return Err(Halt::failed(format!(
            "`text` is {} bytes long, the most is {TEXT_BYTES_MAX}; keep the point, or write a file",
            args.text.len()
        )));
    }
    let key_fits = |key: &String| {
        !key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.contains(char::is_control)
    };
    if !args.key.iter().all(key_fits) {
        return Err(Halt::failed(format!(
            "`key` must be 1 to {KEY_BYTES_MAX} printable bytes"
        )));
    }
    Ok(())
}

fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, Halt> {
    let span: Span = text
        .parse()
        .map_err(|error| Halt::failed(format!("`expires_in`: {error}")))?;
    if span.duration().is_zero() {
        return Err(Halt::failed(
            "`expires_in` is zero, so the fact would be gone at once",
        ));
    }
    Ok(now.plus(span.duration()))
}
