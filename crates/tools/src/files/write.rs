//! `file_write`: a whole file.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::files::{WriteEffect, WriteMode};

use crate::thread::apart;
use crate::tool::{Act, Halt, Traits, report};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: String,
    content: String,
}

pub(crate) struct Write {
    spec: ToolSpec,
}

impl Write {
    pub(crate) fn new() -> Self {
        let traits = Traits {
            name: "file_write",
            about: "Create or replace a file.",
            effect: Effect::Idempotent,
            level: TrustLevel::L3,
            class: ActionClass::Write,
            operands: vec![Operand::WritePath {
                arg: "path".to_owned(),
            }],
        };
        Self {
            spec: traits.with::<Args>(),
        }
    }
}

#[async_trait]
impl Act for Write {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let files = cx.files.clone();
        apart(cx.deadline, move |_until| {
            let written = files.write(
                &args.path,
                args.content.as_bytes(),
                WriteMode::CreateOrReplace,
            )?;
            let did = match written.effect {
                WriteEffect::Created => "created",
                WriteEffect::Replaced => "replaced",
            };
            Ok(report(format!(
                "{did} `{}` ({} bytes)",
                args.path, written.bytes
            )))
        })
        .await
    }
}
