//! `code_run`: a program text for an interpreter, behind the walls.

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::sandbox::Ending;

use crate::process::Runner;
use crate::tool::{Act, Halt, Traits};

/// Longest program, in bytes.
const CODE_BYTES_MAX: usize = 1 << 20;

/// Longest bash program, in bytes. Linux takes 128 KiB in one argument (`MAX_ARG_STRLEN`).
const BASH_BYTES_MAX: usize = 120 << 10;

/// Tries the interpreter inside the walls, where it has to be; says so when it is missing.
const LAUNCH: &str = r#"command -v "$0" >/dev/null 2>&1 || { echo "$0: no such interpreter" >&2; exit 127; }; exec "$0" "$@""#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Language {
    Python,
    Node,
    Bash,
    Ruby,
    Perl,
}

impl Language {
    fn interpreter(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::Node => "node",
            Self::Bash => "bash",
            Self::Ruby => "ruby",
            Self::Perl => "perl",
        }
    }

    fn bytes_max(self) -> usize {
        match self {
            Self::Bash => BASH_BYTES_MAX,
            Self::Python | Self::Node | Self::Ruby | Self::Perl => CODE_BYTES_MAX,
        }
    }

    /// Arguments for the interpreter and its standard input.
    fn place(self, code: String) -> (Vec<String>, Bytes) {
        match self {
            // Bash reads a program from standard input line by line, so a command in it could eat the rest of it.
            Self::Bash => (vec!["-c".to_owned(), code], Bytes::new()),
            Self::Python | Self::Node | Self::Ruby | Self::Perl => {
                (vec!["-".to_owned()], Bytes::from(code))
            }
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    language: Language,
    code: String,
    timeout_ms: Option<u64>,
}

pub(crate) struct Run {
    spec: ToolSpec,
    runner: Runner,
}

impl Run {
    pub(crate) fn new(runner: Runner) -> Self {
        let traits = Traits {
            name: "code_run",
            about: "Run a program in the workspace, sandboxed, without network.",
            effect: Effect::Once,
            level: TrustLevel::L4,
            class: ActionClass::ExecSandbox,
            operands: vec![Operand::Code {
                arg: "code".to_owned(),
            }],
        };
        Self {
            spec: traits.with::<Args>(),
            runner,
        }
    }
}

#[async_trait]
impl Act for Run {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let Args {
            language,
            code,
            timeout_ms,
        } = args;
        let bytes_max = language.bytes_max();
        if bytes_max < code.len() {
            return Err(Halt::failed(format!(
                "the program is {} bytes long, the most is {bytes_max}; write it to a file first",
                code.len()
            )));
        }
        let interpreter = language.interpreter();
        let (rest, stdin) = language.place(code);
        let argv = ["/bin/sh", "-c", LAUNCH, interpreter]
            .map(ToOwned::to_owned)
            .into_iter()
            .chain(rest)
            .collect();
        let outcome = self.runner.run(argv, stdin, timeout_ms, permit, cx).await?;
        let missing = format!("{interpreter}: no such interpreter\n");
        if outcome.ending == (Ending::Exited { code: 127 })
            && *outcome.stderr == *missing.as_bytes()
        {
            return Err(Halt::failed(format!(
                "`{interpreter}` is not installed where the sandbox can see it (/usr/bin, /usr/local/bin); \
                 nothing was run; use another language or ask the owner to install it"
            )));
        }
        Ok(self.runner.tell(&outcome))
    }
}
