//! Money and rates before a model call: what is taken, what is held, and what is said when neither can be had.

use std::time::Duration;

use futures::future::{join, lazy};

use adjutant_domain::id::ReservationId;
use adjutant_domain::money::Micros;
use adjutant_domain::run::{AskedBudget, Entry, FailKind, Outcome, RunState};
use adjutant_domain::time::Span;
use adjutant_policy::reservation;
use adjutant_ports::provider::{Asking, ModelAsk, Route};
use adjutant_ports::store::{Cap, CapScope, Rate, StoreError, Take};

use crate::config::Unpriced;
use crate::context::Prefix;
use crate::drive::{Cx, Halt};
use crate::model::messages_bytes;

/// The least output worth paying a prompt for, in tokens (TE-13).
const OUTPUT_TOKENS_MIN: u32 = 256;
/// How long a run rests while the money it needs is only held, not spent, by others.
const BUDGET_REST: Duration = Duration::from_millis(250);
/// Longest wait for a token bucket before the run fails with a clear reason (TE-20).
const BUCKET_WAIT_MAX: Duration = Duration::from_secs(30);

/// Whether the money for a call is held.
pub(crate) enum Reserved<'a> {
    Go {
        /// The request, written down and not yet sent.
        asking: Asking<'a>,
        budget: AskedBudget,
    },
    Rest(Duration),
    Refused(Outcome),
}

/// Takes from the rate buckets, then writes the intent with its reservation under every cap, in one commit. When the
/// reservation does not fit, the output is made shorter; when only other runs' reservations are in the way, this one
/// rests; else the run ends.
///
/// The request is written down while the intent is on its way to the disk.
pub(crate) async fn reserve<'a>(
    cx: &mut Cx,
    state: &mut RunState,
    route: &'a Route,
    prefix: &Prefix,
    ask: &mut ModelAsk,
) -> Result<Reserved<'a>, Halt> {
    let bytes = prefix.bytes + messages_bytes(&ask.messages);
    let output_max = ask.max_output_tokens;
    if let Some(refused) =
        take_tokens(cx, &route.name, bytes / 4 + u64::from(output_max) / 4).await?
    {
        return Ok(refused);
    }
    let caps = caps(cx, state);
    if route.price.is_none() && !caps.is_empty() && cx.config.unpriced == Unpriced::Block {
        let reason = format!(
            "`{}` has no known price, and a budget applies (`worker.unpriced = \"block\"`)",
            route.name
        );
        return Ok(Reserved::Refused(Outcome::Failed {
            kind: FailKind::Budget,
            reason,
        }));
    }
    loop {
        let output_tokens = ask.max_output_tokens;
        let amount = reservation(route.price.as_ref(), bytes, output_tokens);
        let budget = fresh_budget(cx, amount);
        let entry = Entry::ModelAsked {
            attempt: state.attempts + 1,
            route: route.name.clone(),
            budget: budget.clone(),
        };
        let writing = lazy(|_| route.provider.stream(ask));
        // In this order: what is polled first is under way when the other begins.
        let (appended, asking) = join(cx.append_under(state, entry, caps.clone()), writing).await;
        let refusal = match appended? {
            Ok(()) => return Ok(Reserved::Go { asking, budget }),
            Err(refusal) => refusal,
        };
        let StoreError::Budget { scope, limit, left } = refusal else {
            return Err(Halt::Store(refusal));
        };
        let prompt = reservation(route.price.as_ref(), bytes, 0);
        let per_token = route.price.map_or(0, |p| p.output).max(1);
        let fits = u128::from(left.less(prompt).0) * 1_000_000 / u128::from(per_token);
        let fits = u32::try_from(fits).unwrap_or(u32::MAX);
        if OUTPUT_TOKENS_MIN <= fits && fits < output_tokens {
            ask.max_output_tokens = fits;
            continue;
        }
        return refused(
            cx,
            &caps,
            &scope,
            limit,
            reservation(route.price.as_ref(), bytes, OUTPUT_TOKENS_MIN),
        )
        .await;
    }
}

/// A cap refused even the shortest output: rest while the money is only held by others, end when it is spent.
async fn refused(
    cx: &Cx,
    caps: &[Cap],
    scope: &str,
    limit: Micros,
    least: Micros,
) -> Result<Reserved<'static>, Halt> {
    if let Some(cap) = caps.iter().find(|c| c.scope.word() == scope) {
        let spend = cx.deps.store.spend(&cx.run.owner, &cap.scope).await?;
        let only_held = spend.used_micros + least <= cap.limit;
        if only_held && Micros::ZERO < spend.reserved_micros {
            return Ok(Reserved::Rest(BUDGET_REST));
        }
    }
    let reason = format!(
        "the {scope} budget of {limit} is spent; raise it with `adjutant budget set {scope} <dollars>` or wait for the \
         next window"
    );
    Ok(Reserved::Refused(Outcome::Failed {
        kind: FailKind::Budget,
        reason,
    }))
}

pub(crate) fn fresh_budget(cx: &Cx, reserve: Micros) -> AskedBudget {
    AskedBudget {
        reservation: ReservationId::mint(cx.now(), cx.entropy()),
        reserve,
        day: cx.deps.clock.local_day(),
    }
}

fn caps(cx: &Cx, state: &RunState) -> Vec<Cap> {
    let budget = &state.limits.budget;
    let mut caps = Vec::new();
    if let Some(limit) = budget.run_micros {
        caps.push(Cap {
            scope: CapScope::Run { run: cx.run.id },
            limit,
        });
    }
    if let Some(limit) = budget.session_micros {
        caps.push(Cap {
            scope: CapScope::Session {
                session: cx.run.session,
            },
            limit,
        });
    }
    if let Some(limit) = budget.day_micros {
        caps.push(Cap {
            scope: CapScope::Day {
                day: cx.deps.clock.local_day(),
            },
            limit,
        });
    }
    caps
}

async fn take_tokens(cx: &Cx, route: &str, amount: u64) -> Result<Option<Reserved<'static>>, Halt> {
    let owner = cx
        .config
        .owner_rate
        .map(|rate| (format!("owner:{}", cx.run.owner), rate, "your"));
    let model = cx
        .config
        .model_rates
        .get(route)
        .map(|rate| (format!("model:{route}"), *rate, "this model's"));
    for (bucket, rate, whose) in owner.into_iter().chain(model) {
        let shape = Rate {
            burst: rate.burst,
            per_minute: rate.tokens_per_minute,
        };
        // An amount the bucket can never hold would wait for ever.
        let wanted = amount.min(rate.burst.max(1));
        if let Take::Wait(span) = cx.deps.store.take(&bucket, wanted, shape).await? {
            if span <= BUCKET_WAIT_MAX {
                return Ok(Some(Reserved::Rest(span.max(Duration::from_millis(50)))));
            }
            let reason = format!(
                "{whose} rate limit of {} tokens a minute is used up; try again in {}",
                rate.tokens_per_minute,
                Span::from_secs(span.as_secs() + 1)
            );
            let outcome = Outcome::Failed {
                kind: FailKind::RateLimited,
                reason,
            };
            return Ok(Some(Reserved::Refused(outcome)));
        }
    }
    Ok(None)
}
