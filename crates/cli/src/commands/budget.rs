//! `adjutant budget`: what was spent, and the caps.

use adjutant_domain::money::{Cost, Micros};
use adjutant_protocol::methods::budget::{
    BudgetLevel, BudgetLimitsGet, BudgetLimitsSet, BudgetReport, BudgetScope, BudgetStatus,
    BudgetStatusParams, BudgetUsage, BudgetUsageParams, LimitsGetParams, LimitsSetParams,
    LimitsShown, UsageGroup,
};
use adjutant_protocol::methods::common::Spent;
use adjutant_protocol::methods::models::{ModelsList, ModelsListParams};
use serde_json::json;

use super::agent_id_of;
use crate::args::{BudgetCommand, Cap, GroupArg, PricesCommand};
use crate::connect::{Connection, fresh_key};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::follow::word_of;
use crate::render::{Paint, Table, money, tokens};

pub(super) async fn budget(cx: &Cx<'_>, command: BudgetCommand) -> Result<Exit, Failure> {
    match command {
        BudgetCommand::Status { agent, session } => {
            let agent_id = agent_id_of(agent.as_ref())?;
            let params = BudgetStatusParams {
                session_key: session,
                run_id: None,
                agent_id,
            };
            let report = Connection::for_data(cx)
                .await?
                .call::<BudgetStatus>(params)
                .await?;
            cx.terminal.show(&report, || windows(cx, &report))?;
        }
        BudgetCommand::Usage { from, to, by } => usage(cx, from, to, by).await?,
        BudgetCommand::Set {
            day,
            session,
            run,
            agent,
        } => {
            let caps: Vec<(BudgetScope, Cap)> = [
                (BudgetScope::Day, day),
                (BudgetScope::Session, session),
                (BudgetScope::Run, run),
            ]
            .into_iter()
            .filter_map(|(scope, cap)| Some((scope, cap?)))
            .collect();
            set(cx, &caps, agent.as_ref()).await?;
        }
        BudgetCommand::Prices(PricesCommand::List) => prices(cx).await?,
    }
    Ok(Exit::Done)
}

/// The windows of a report, one a line.
pub(crate) fn windows(cx: &Cx<'_>, report: &BudgetReport) -> String {
    let paint = cx.terminal.paint();
    let mut table = Table::new(&["WINDOW", "SPENT", "HELD", "CAP", "USED", "TOKENS", "WHICH"]);
    for it in &report.scopes {
        table.row([
            word_of(&it.scope),
            spent(&it.spent),
            it.spent.reserved_micros.to_string(),
            it.limit_micros
                .map_or_else(|| "none".to_owned(), |cap| cap.to_string()),
            it.percent
                .map_or_else(String::new, |percent| format!("{percent:.0} %")),
            tokens(&it.spent.usage),
            it.key.clone(),
        ]);
    }
    let mut text = table.render(paint, cx.terminal.table_width());
    let verdict = match report.overall {
        BudgetLevel::Ok => None,
        BudgetLevel::Warn => Some(paint.yellow("four fifths of a cap are used")),
        BudgetLevel::Spent => Some(paint.red("a cap is used up: no further model call fits")),
    };
    for line in verdict.into_iter().chain(unpriced(paint, report.unpriced)) {
        text.push('\n');
        text.push_str(&line);
    }
    text
}

async fn usage(
    cx: &Cx<'_>,
    from: Option<String>,
    to: Option<String>,
    by: GroupArg,
) -> Result<(), Failure> {
    let (group_by, head) = match by {
        GroupArg::Day => (UsageGroup::Day, "DAY"),
        GroupArg::Model => (UsageGroup::Model, "MODEL"),
        GroupArg::Session => (UsageGroup::Session, "SESSION"),
        GroupArg::Agent => (UsageGroup::Agent, "AGENT"),
        GroupArg::Run => (UsageGroup::Run, "RUN"),
    };
    let params = BudgetUsageParams { from, to, group_by };
    let used = Connection::for_data(cx)
        .await?
        .call::<BudgetUsage>(params)
        .await?;
    cx.terminal.show(&used, || {
        let mut table = Table::new(&[head, "SPENT", "CALLS", "TOKENS"]);
        for it in &used.rows {
            table.row([
                it.group.clone(),
                spent(&it.spent),
                it.spent.calls.to_string(),
                tokens(&it.spent.usage),
            ]);
        }
        let total = &used.total;
        table.row([
            "total".to_owned(),
            spent(total),
            total.calls.to_string(),
            tokens(&total.usage),
        ]);
        let mut text = table.render(cx.terminal.paint(), cx.terminal.table_width());
        if let Some(line) = unpriced(cx.terminal.paint(), total.unpriced) {
            text.push('\n');
            text.push_str(&line);
        }
        text
    })
}

async fn set(
    cx: &Cx<'_>,
    caps: &[(BudgetScope, Cap)],
    agent: Option<&String>,
) -> Result<(), Failure> {
    if caps.is_empty() {
        return Err(Failure::usage("no cap is named")
            .with_hint("name one with `--day`, `--session` or `--run`"));
    }
    let agent_id = agent_id_of(agent)?;
    let gateway = Connection::for_data(cx).await?;
    for (scope, cap) in caps {
        let limit_micros = match cap {
            Cap::At(amount) => Some(*amount),
            Cap::Off => None,
        };
        let params = LimitsSetParams {
            scope: *scope,
            limit_micros,
            agent_id: agent_id.clone(),
            idempotency_key: Some(fresh_key()?),
        };
        gateway.call::<BudgetLimitsSet>(params).await?;
    }
    let shown = gateway
        .call::<BudgetLimitsGet>(LimitsGetParams { agent_id })
        .await?;
    cx.terminal.show(&shown, || limits(&shown))
}

fn limits(shown: &LimitsShown) -> String {
    let cap =
        |amount: Option<Micros>| amount.map_or_else(|| "no cap".to_owned(), |it| it.to_string());
    let it = &shown.in_force;
    format!(
        "{}: {} per run, {} per session, {} per day",
        shown.agent_id,
        cap(it.run_micros),
        cap(it.session_micros),
        cap(it.day_micros)
    )
}

async fn prices(cx: &Cx<'_>) -> Result<(), Failure> {
    let page = Connection::for_data(cx)
        .await?
        .call::<ModelsList>(ModelsListParams::default())
        .await?;
    let document = json!({
        "unit": "micro-dollars per million tokens",
        "prices": page.models.iter().map(|it| json!({
            "provider": it.provider, "model": it.id, "price": it.price,
        })).collect::<Vec<_>>(),
    });
    cx.terminal.show(&document, || {
        let dollars = |micros: u64| Micros(micros).to_string();
        let mut table = Table::new(&["MODEL", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE"]);
        for it in &page.models {
            let name = format!("{}/{}", it.provider, it.id);
            match &it.price {
                Some(price) => table.row([
                    name,
                    dollars(price.input),
                    dollars(price.output),
                    dollars(price.cache_read),
                    dollars(price.cache_write),
                ]),
                None => table.row([
                    name,
                    "unpriced".to_owned(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]),
            }
        }
        format!(
            "{}\ndollars per million tokens",
            table.render(cx.terminal.paint(), cx.terminal.table_width())
        )
    })
}

fn spent(it: &Spent) -> String {
    if it.calls != 0 && it.calls == it.unpriced {
        return money(Cost::Unpriced);
    }
    let more = if it.unpriced == 0 { "" } else { " + unpriced" };
    format!(
        "{}{more}",
        money(Cost::Priced {
            micros: it.used_micros
        })
    )
}

fn unpriced(paint: Paint, calls: u64) -> Option<String> {
    let calls = match calls {
        0 => return None,
        n => crate::render::words(n, "call has", "calls have"),
    };
    Some(paint.yellow(&format!(
        "{calls} no known price; add one to the price list to count it"
    )))
}
