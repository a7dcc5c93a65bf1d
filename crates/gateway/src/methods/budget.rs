//! `budget.*`.

use adjutant_domain::agent::{Agent, AgentBudget};
use adjutant_domain::id::AgentId;
use adjutant_domain::money::Micros;
use adjutant_ports::store::{CapScope, GroupBy, Spend};
use adjutant_protocol::methods::budget::{
    BudgetLevel, BudgetLimitsGet, BudgetLimitsSet, BudgetReport, BudgetScope, BudgetStatus,
    BudgetStatusParams, BudgetUsage, BudgetUsageParams, BudgetUsed, BudgetWindow, LimitsGetParams,
    LimitsSetParams, LimitsShown, UsageGroup, UsageRow,
};
use adjutant_protocol::methods::common::Spent;
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::wire;

impl Handle<BudgetStatus> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: BudgetStatusParams,
    ) -> Result<BudgetReport, Fault> {
        let key = params
            .session_key
            .as_deref()
            .map(|text| self.key("budget.status", text))
            .transpose()?;
        let run = match &params.run_id {
            None => None,
            Some(name) => Some(self.run_info(name).await?.run),
        };
        let agent = params
            .agent_id
            .or_else(|| run.as_ref().map(|run| run.agent.clone()))
            .or_else(|| key.as_ref().map(adjutant_domain::id::SessionKey::agent))
            .unwrap_or_else(|| self.deps.default_agent.clone());
        let limits = (self.deps.limits)(&*self.agent(&agent).await?).budget;
        let mut scopes = Vec::new();
        if let Some(run) = run {
            let name = run.name();
            scopes.push(
                self.window(CapScope::Run { run: run.id }, name, limits.run_micros)
                    .await?,
            );
        }
        if let Some(key) = key {
            let session = self.session(&key).await?;
            let scope = CapScope::Session {
                session: session.id,
            };
            scopes.push(
                self.window(scope, key.as_str().to_owned(), limits.session_micros)
                    .await?,
            );
        }
        let day = self.deps.clock.local_day();
        let today = self
            .window(CapScope::Day { day: day.clone() }, day, limits.day_micros)
            .await?;
        let (calls, unpriced, tokens) =
            (today.spent.calls, today.spent.unpriced, today.spent.usage);
        scopes.push(today);
        let overall = scopes
            .iter()
            .map(|window| window.level)
            .max()
            .unwrap_or(BudgetLevel::Ok);
        Ok(BudgetReport {
            overall,
            scopes,
            calls,
            unpriced,
            tokens,
        })
    }
}

impl Handle<BudgetUsage> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: BudgetUsageParams,
    ) -> Result<BudgetUsed, Fault> {
        let today = self.deps.clock.local_day();
        let from = params.from.unwrap_or_else(|| today.clone());
        let to = params.to.unwrap_or(today);
        for day in [&from, &to] {
            if !is_day(day) {
                return Err(Fault::params(
                    "budget.usage",
                    "days are written as YYYY-MM-DD",
                ));
            }
        }
        if to < from {
            return Err(Fault::params("budget.usage", "`to` is before `from`"));
        }
        let by = match params.group_by {
            UsageGroup::Day => GroupBy::Day,
            UsageGroup::Model => GroupBy::Model,
            UsageGroup::Session => GroupBy::Session,
            UsageGroup::Agent => GroupBy::Agent,
            UsageGroup::Run => GroupBy::Run,
        };
        let costs = self.deps.store.costs(self.owner(), by, &from, &to).await?;
        let mut total = Spent::default();
        for (_, spend) in &costs {
            add(&mut total, spend);
        }
        let rows = costs
            .into_iter()
            .map(|(group, spend)| UsageRow {
                group,
                spent: wire::spent(&spend),
            })
            .collect();
        Ok(BudgetUsed {
            from,
            to,
            group_by: params.group_by,
            rows,
            total,
        })
    }
}

impl Handle<BudgetLimitsGet> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: LimitsGetParams,
    ) -> Result<LimitsShown, Fault> {
        let agent = self.capped(params.agent_id).await?;
        Ok(self.shown(&agent))
    }
}

impl Handle<BudgetLimitsSet> for Core {
    async fn handle(&self, caller: &Caller, params: LimitsSetParams) -> Result<LimitsShown, Fault> {
        let old = self.capped(params.agent_id).await?;
        let mut budget: AgentBudget = old.budget;
        let (cap, word) = match params.scope {
            BudgetScope::Run => (&mut budget.run_micros, "run"),
            BudgetScope::Session => (&mut budget.session_micros, "session"),
            BudgetScope::Day => (&mut budget.day_micros, "day"),
        };
        let before = std::mem::replace(cap, params.limit_micros);
        let detail =
            serde_json::json!({ "scope": word, "from": before, "to": params.limit_micros });
        self.audit(caller, "budget.limit", old.name.as_str(), detail)
            .await?;
        let stored = self
            .deps
            .store
            .put_agent(
                Agent {
                    budget,
                    ..old.clone()
                },
                Some(old.revision),
            )
            .await?;
        self.changed("budget", old.name.as_str()).await?;
        Ok(self.shown(&stored))
    }
}

impl Core {
    async fn capped(&self, agent: Option<AgentId>) -> Result<Agent, Fault> {
        let name = agent.unwrap_or_else(|| self.deps.default_agent.clone());
        Ok((*self.agent(&name).await?).clone())
    }

    fn shown(&self, agent: &Agent) -> LimitsShown {
        LimitsShown {
            agent_id: agent.name.clone(),
            own: agent.budget.into(),
            in_force: (self.deps.limits)(agent).budget.into(),
        }
    }

    async fn window(
        &self,
        scope: CapScope,
        key: String,
        limit: Option<Micros>,
    ) -> Result<BudgetWindow, Fault> {
        let spend = self.deps.store.spend(self.owner(), &scope).await?;
        let taken = spend.used_micros + spend.reserved_micros;
        let level = match limit {
            Some(limit) if limit <= taken => BudgetLevel::Spent,
            // Four fifths, without a fraction.
            Some(limit) if u128::from(limit.0) * 4 <= u128::from(taken.0) * 5 => BudgetLevel::Warn,
            Some(_) | None => BudgetLevel::Ok,
        };
        Ok(BudgetWindow {
            scope: match scope {
                CapScope::Run { .. } => BudgetScope::Run,
                CapScope::Session { .. } => BudgetScope::Session,
                CapScope::Day { .. } => BudgetScope::Day,
            },
            key,
            level,
            limit_micros: limit,
            percent: limit
                .filter(|limit| *limit > Micros::ZERO)
                .map(|limit| share(taken, limit)),
            spent: wire::spent(&spend),
        })
    }
}

/// For people only: money itself is never a fraction.
fn share(taken: Micros, limit: Micros) -> f64 {
    let thousandths = u128::from(taken.0) * 10_000 / u128::from(limit.0);
    f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 10_000.0
}

fn add(total: &mut Spent, spend: &Spend) {
    total.used_micros += spend.used_micros;
    total.reserved_micros += spend.reserved_micros;
    total.calls += spend.calls;
    total.unpriced += spend.unpriced;
    total.usage = total.usage.plus(&spend.usage);
}

fn is_day(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, b)| {
            if matches!(at, 4 | 7) {
                b == b'-'
            } else {
                b.is_ascii_digit()
            }
        })
}
