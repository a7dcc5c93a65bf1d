//! `json_query`: a jq filter over JSON, JSON Lines or CSV.

use std::fmt::{self, Write as _};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::label::Origin;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;

use crate::cut;
use crate::data::filter::{self, Filter};
use crate::data::table;
use crate::files::is_binary;
use crate::thread::{Until, apart};
use crate::tool::{Act, Halt, Traits, found};

/// Largest document, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// jq filter; CSV rows and JSON lines come as an array
    filter: String,
    path: Option<String>,
    /// JSON text instead of path
    json: Option<String>,
}

pub(crate) struct Query {
    spec: ToolSpec,
    shown_max: usize,
}

impl Query {
    pub(crate) fn new(shown_max: usize) -> Self {
        let traits = Traits {
            name: "json_query",
            about: "Compute exactly over a JSON, JSON Lines or CSV file.",
            effect: Effect::Reads,
            level: TrustLevel::L2,
            class: ActionClass::Read,
            operands: vec![Operand::ReadPath {
                arg: "path".to_owned(),
            }],
        };
        Self {
            spec: traits.with::<Args>(),
            shown_max,
        }
    }
}

#[async_trait]
impl Act for Query {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let files = cx.files.clone();
        let shown_max = self.shown_max;
        apart(cx.deadline, move |until| {
            let filter = Filter::compile(&args.filter)
                .map_err(|reason| Halt::failed(format!("`filter` cannot be used: {reason}")))?;
            let (document, origin) = match (args.path, args.json) {
                (Some(path), None) => {
                    let content = files.read(&path, DOCUMENT_BYTES_MAX)?;
                    if content.is_truncated() {
                        return Err(Halt::failed(format!(
                            "`{path}` is {} bytes long, the most is {DOCUMENT_BYTES_MAX}; a program can read it",
                            content.total_bytes
                        )));
                    }
                    if is_binary(&content.bytes) {
                        return Err(Halt::failed(format!("`{path}` is not text")));
                    }
                    let text = String::from_utf8_lossy(&content.bytes);
                    let document = table::read(&text, table::Form::of(&path, &text));
                    let document = document.map_err(|reason| Halt::failed(format!("`{path}`: {reason}")))?;
                    (document, Origin::File { path })
                }
                (None, Some(json)) => {
                    let document = table::read(&json, table::Form::of("", &json));
                    (document.map_err(|reason| Halt::failed(format!("`json`: {reason}")))?, Origin::Model)
                }
                (Some(_), Some(_)) | (None, None) => {
                    return Err(Halt::failed("give either `path` or `json`"));
                }
            };
            let text = answer(&filter, document, until, shown_max)?;
            Ok(found(text, origin))
        })
        .await
    }
}

/// The results, one a line, as many as can be shown.
fn answer(
    filter: &Filter,
    document: filter::Value,
    until: &Until,
    shown_max: usize,
) -> Result<String, Halt> {
    let mut out = Bounded {
        text: String::new(),
        bytes_max: shown_max,
        n_more: 0,
    };
    let mut n_results: u64 = 0;
    let ended = filter.run(document, until, &mut |value| {
        n_results += 1;
        out.line(&value);
    });
    let mut text = out.text;
    if 0 < out.n_more {
        text.push_str(&format!(
            "[cut: {} of {n_results} results are not shown in full]\n",
            out.n_more
        ));
    }
    match ended {
        Ok(()) if n_results == 0 => Ok("[no result]".to_owned()),
        Ok(()) => Ok(text.trim_end().to_owned()),
        // What came before the error is data and is shown with it, under the label of the data.
        Err(reason) if 0 < n_results => Ok(format!("{text}[error: {reason}]")),
        Err(reason) => Err(Halt::failed(format!(
            "the filter failed: {}",
            cut::head(&reason, 500)
        ))),
    }
}

/// Text that stops growing at its bound.
struct Bounded {
    text: String,
    bytes_max: usize,
    n_more: u64,
}

impl Bounded {
    fn line(&mut self, value: &filter::Value) {
        // A value that does not fit ends the writing; what was written of it stays as its start.
        if self.bytes_max <= self.text.len() || write!(self, "{value}").is_err() {
            self.n_more += 1;
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.bytes_max.saturating_sub(self.text.len());
        let fits = cut::head(part, room);
        self.text.push_str(fits);
        if fits.len() < part.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
