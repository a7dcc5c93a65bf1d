//! `adjutant models`: which ones there are and whether they answer.

use std::time::Duration;

use adjutant_domain::money::Micros;
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::models::{ModelsList, ModelsListParams, ModelsStatus};

use crate::args::ModelsCommand;
use crate::connect::Connection;
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::render::{Table, duration, facts};

pub(super) async fn models(cx: &Cx<'_>, command: &ModelsCommand) -> Result<Exit, Failure> {
    let gateway = Connection::for_data(cx).await?;
    match command {
        ModelsCommand::List => {
            let page = gateway
                .call::<ModelsList>(ModelsListParams::default())
                .await?;
            cx.terminal.show(&page, || {
                let mut table = Table::new(&["MODEL", "READY", "CONTEXT", "IN", "OUT", "NAME"]);
                for it in &page.models {
                    let price = |pick: fn(&adjutant_domain::money::Price) -> u64| {
                        it.price.as_ref().map_or_else(
                            || "unpriced".to_owned(),
                            |it| Micros(pick(it)).to_string(),
                        )
                    };
                    table.row([
                        format!("{}/{}", it.provider, it.id),
                        if it.available { "yes" } else { "no key" }.to_owned(),
                        it.context_window
                            .map_or_else(String::new, |n| n.to_string()),
                        price(|it| it.input),
                        price(|it| it.output),
                        it.name.clone(),
                    ]);
                }
                table.render(cx.terminal.paint(), cx.terminal.table_width())
            })?;
        }
        ModelsCommand::Status => {
            let report = gateway.call::<ModelsStatus>(NoParams {}).await?;
            cx.terminal.show(&report, || {
                let head = facts(
                    cx.terminal.paint(),
                    &[
                        ("default", report.default.clone()),
                        ("then", report.fallbacks.join(", ")),
                    ],
                );
                let mut table = Table::new(&["PROVIDER", "READY", "ADDRESS", "LAST FAULT"]);
                for it in &report.providers {
                    let ready = match (it.configured, it.resting_ms) {
                        (false, _) => "no key".to_owned(),
                        (true, 0) => "yes".to_owned(),
                        (true, ms) => format!("resting {}", duration(Duration::from_millis(ms))),
                    };
                    table.row([
                        it.name.clone(),
                        ready,
                        it.base_url.clone(),
                        it.last_fault.clone().unwrap_or_default(),
                    ]);
                }
                format!(
                    "{head}\n\n{}",
                    table.render(cx.terminal.paint(), cx.terminal.table_width())
                )
            })?;
        }
    }
    Ok(Exit::Done)
}
