//! `usage.*`.

use adjutant_ports::store::{GroupBy, Spend};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::usage::{
    UsageCost, UsageCostParams, UsageCosts, UsageDay, UsageFigures, UsageReport, UsageStatus,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;

/// Days that can be asked for.
const DAYS_MAX: u32 = 366;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// Millionths of a dollar in a dollar.
const MICROS: f64 = 1_000_000.0;

impl Handle<UsageStatus> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<UsageReport, Fault> {
        Ok(UsageReport {
            updated_at: self.now(),
            providers: Vec::new(),
        })
    }
}

impl Handle<UsageCost> for Core {
    async fn handle(&self, _caller: &Caller, params: UsageCostParams) -> Result<UsageCosts, Fault> {
        let days = params.days.unwrap_or(30).clamp(1, DAYS_MAX);
        let now = self.now();
        let back = i64::from(days - 1) * DAY_MS;
        let first = adjutant_domain::time::Timestamp::from_millis(now.as_millis() - back);
        // One day more on either side: local days are not those of the clock.
        let from = first.rfc3339().get(..10).unwrap_or_default().to_owned();
        let to = self.deps.clock.local_day().max(day_of(now));
        let costs = self
            .deps
            .store
            .costs(self.owner(), GroupBy::Day, &from, &to)
            .await?;
        let mut totals = UsageFigures::default();
        let mut daily = Vec::with_capacity(costs.len());
        for (date, spend) in costs {
            let figures = figures(&spend);
            add(&mut totals, &figures);
            daily.push(UsageDay { date, figures });
        }
        Ok(UsageCosts {
            updated_at: now,
            days,
            daily,
            totals,
        })
    }
}

fn day_of(at: adjutant_domain::time::Timestamp) -> String {
    at.rfc3339().get(..10).unwrap_or_default().to_owned()
}

fn figures(spend: &Spend) -> UsageFigures {
    let usage = &spend.usage;
    let known = u32::try_from(spend.used_micros.0 / 1_000_000).unwrap_or(u32::MAX);
    let rest = u32::try_from(spend.used_micros.0 % 1_000_000).unwrap_or(0);
    UsageFigures {
        input: usage.input,
        output: usage.output,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        total_tokens: usage
            .input
            .saturating_add(usage.output)
            .saturating_add(usage.cache_read)
            .saturating_add(usage.cache_write),
        total_cost: f64::from(known) + f64::from(rest) / MICROS,
        missing_cost_entries: spend.unpriced,
    }
}

fn add(total: &mut UsageFigures, more: &UsageFigures) {
    total.input = total.input.saturating_add(more.input);
    total.output = total.output.saturating_add(more.output);
    total.cache_read = total.cache_read.saturating_add(more.cache_read);
    total.cache_write = total.cache_write.saturating_add(more.cache_write);
    total.total_tokens = total.total_tokens.saturating_add(more.total_tokens);
    total.total_cost += more.total_cost;
    total.missing_cost_entries = total
        .missing_cost_entries
        .saturating_add(more.missing_cost_entries);
}
