//! `system.run`, `system.which` and the machine's list of allowed programs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::capability::{Capability, NodeFault, Offer, Order};
use crate::config;
use crate::process::{self, Spec, environment, which};

use super::exec_policy::{Policy, Verdict};

/// Names that may be looked up at once.
const BINS_MAX: usize = 50;
/// Bytes of standard input.
const STDIN_BYTES_MAX: usize = 1 << 20;
/// Arguments of a program, and bytes of all of them.
const ARGS_MAX: usize = 1_024;
const ARGS_BYTES_MAX: usize = 128 << 10;

/// Programs of this machine.
pub(super) struct System {
    config: config::Run,
    policy: Policy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunParams {
    /// Program and arguments.
    #[serde(alias = "argv")]
    command: Vec<String>,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
    #[serde(default)]
    stdin: Option<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
    #[serde(default)]
    raw_command: Option<String>,
    /// The gateway says that a person approved exactly this.
    #[serde(default)]
    approved: Option<bool>,
    #[serde(default)]
    approval_decision: Option<String>,
}

impl RunParams {
    fn is_approved(&self) -> bool {
        self.approved == Some(true)
            && matches!(
                self.approval_decision.as_deref(),
                None | Some("allow-once" | "allow-always")
            )
    }

    fn check(&self) -> Result<(), NodeFault> {
        let bytes: usize = self.command.iter().map(String::len).sum();
        if self.command.first().is_none_or(String::is_empty) {
            return Err(NodeFault::params("`command` must name a program"));
        }
        if ARGS_MAX < self.command.len() || ARGS_BYTES_MAX < bytes {
            return Err(NodeFault::params("`command` is too long"));
        }
        if self.command.iter().any(|it| it.contains('\0')) {
            return Err(NodeFault::params("`command` contains a zero byte"));
        }
        if STDIN_BYTES_MAX < self.stdin.as_ref().map_or(0, String::len) {
            return Err(NodeFault::params("`stdin` is larger than 1 MiB"));
        }
        Ok(())
    }
}

impl System {
    pub(super) fn new(config: &config::Run, folder: &Path) -> Self {
        Self {
            config: config.clone(),
            policy: Policy::at(folder.join("exec-approvals.json")),
        }
    }

    fn folder(&self, asked: Option<&str>) -> Result<PathBuf, NodeFault> {
        let no = |message: String| Err(NodeFault::new("CWD_NOT_ALLOWED", message));
        let asked = match asked {
            Some(asked) => PathBuf::from(asked),
            None => match self.config.folders.first() {
                Some(folder) => PathBuf::from(folder),
                None => std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from),
            },
        };
        if !asked.is_absolute() {
            return no(format!("`{}` is no absolute path", asked.display()));
        }
        // Links are followed before the comparison, so that none leads out.
        let real = match asked.canonicalize() {
            Ok(real) if real.is_dir() => real,
            Ok(_) => return no(format!("`{}` is no folder", asked.display())),
            Err(error) => return no(format!("`{}`: {error}", asked.display())),
        };
        let roots = self
            .config
            .folders
            .iter()
            .filter_map(|it| Path::new(it).canonicalize().ok());
        if self.config.folders.is_empty() || roots.into_iter().any(|root| real.starts_with(root)) {
            Ok(real)
        } else {
            no(format!(
                "programs are not started in `{}` here",
                asked.display()
            ))
        }
    }

    async fn run(&self, order: &Order) -> Result<Value, NodeFault> {
        let params: RunParams = order.read()?;
        params.check()?;
        let (name, args) = params
            .command
            .split_first()
            .ok_or_else(|| NodeFault::params("`command` must name a program"))?;
        let added: Vec<(String, String)> =
            params.env.clone().unwrap_or_default().into_iter().collect();
        adjutant_sandbox::check_variables(&added)
            .map_err(|message| NodeFault::new("ENV_NOT_ALLOWED", message))?;
        let folder = self.folder(params.cwd.as_deref())?;
        let (found, program) = which(name)
            .and_then(|path| Some((path.clone(), path.canonicalize().ok()?)))
            .ok_or_else(|| {
                NodeFault::new("NOT_FOUND", format!("there is no program `{name}` here"))
            })?;
        match self
            .policy
            .judge(params.agent_id.as_deref(), &program, &params.command)
        {
            Verdict::Allow => {}
            Verdict::Ask if params.is_approved() => {}
            Verdict::Ask => {
                return Err(NodeFault::new(
                    "SYSTEM_RUN_DENIED",
                    format!(
                        "approval required: nobody has approved `{}` for this machine",
                        program.display()
                    ),
                ));
            }
            Verdict::Deny(why) => {
                return Err(NodeFault::new("SYSTEM_RUN_DENIED", why));
            }
        }
        let timeout = params
            .timeout_ms
            .map_or(self.config.timeout.duration(), Duration::from_millis)
            .min(self.config.timeout_max.duration())
            // A little earlier than the asker gives up, so that the answer still arrives.
            .min(order.timeout.saturating_sub(order.timeout / 20));
        let ended = process::run(Spec {
            // By the name that was asked for: some programs are many.
            program: found,
            args: args.iter().map(OsString::from).collect(),
            folder,
            env: environment(added),
            stdin: params.stdin.map(String::into_bytes),
            timeout,
            output_bytes: self.config.output_bytes,
        })
        .await
        .map_err(|error| {
            NodeFault::new(
                "UNAVAILABLE",
                format!("`{name}` cannot be started: {error}"),
            )
        })?;
        Ok(json!({
            "exitCode": ended.exit_code,
            "signal": ended.signal,
            "timedOut": ended.timed_out,
            "success": ended.succeeded(),
            "stdout": ended.stdout.text(),
            "stderr": ended.stderr.text(),
            "truncated": ended.stdout.is_cut() || ended.stderr.is_cut(),
            "durationMs": u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
            "error": null,
        }))
    }

    /// Says what would run, for the question to a person.
    fn prepare(order: &Order) -> Result<Value, NodeFault> {
        let params: RunParams = order.read()?;
        params.check()?;
        let text = params
            .command
            .iter()
            .map(|it| quoted(it))
            .collect::<Vec<_>>()
            .join(" ");
        if params.raw_command.as_ref().is_some_and(|raw| *raw != text) {
            return Err(NodeFault::params(
                "`rawCommand` does not say what `command` does",
            ));
        }
        Ok(json!({
            "cmdText": text,
            "plan": {
                "version": 2, "argv": params.command, "cwd": params.cwd, "rawCommand": text, "commandText": text,
                "agentId": params.agent_id, "sessionKey": params.session_key,
            },
        }))
    }
}

/// A word as a shell would need it.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=@%+,".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn find_bins(order: &Order) -> Result<Value, NodeFault> {
    #[derive(Deserialize)]
    struct Which {
        bins: Vec<String>,
    }
    let Which { bins } = order.read()?;
    if BINS_MAX < bins.len() {
        return Err(NodeFault::params(format!(
            "at most {BINS_MAX} names at once"
        )));
    }
    let found: serde_json::Map<String, Value> = bins
        .into_iter()
        .filter(|name| !name.contains('/'))
        .filter_map(|name| {
            let path = which(&name)?;
            Some((name, json!(path)))
        })
        .collect();
    Ok(json!({ "bins": found }))
}

#[async_trait]
impl Capability for System {
    fn family(&self) -> &'static str {
        "system"
    }

    fn offers(&self) -> Vec<Offer> {
        let mut offers = vec![
            Offer::once("system.run"),
            Offer::reads("system.run.prepare"),
            Offer::reads("system.which"),
            Offer::reads("system.execApprovals.get"),
        ];
        if self.config.policy_from_gateway {
            offers.push(Offer::once("system.execApprovals.set"));
        }
        offers
    }

    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Set {
            file: Value,
            #[serde(default)]
            base_hash: Option<String>,
        }
        match order.command.as_str() {
            "system.run" => self.run(order).await,
            "system.run.prepare" => Self::prepare(order),
            "system.which" => find_bins(order),
            "system.execApprovals.get" => self.policy.show(),
            "system.execApprovals.set" => {
                let Set { file, base_hash } = order.read()?;
                self.policy.replace(&file, base_hash.as_deref())
            }
            other => Err(NodeFault::new(
                "UNSUPPORTED",
                format!("`{other}` is not known here"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    struct World {
        dir: tempfile::TempDir,
        system: System,
    }

    fn world(folders: &[&Path]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let config = config::Run {
            folders: folders
                .iter()
                .map(|it| it.to_str().unwrap().to_owned())
                .collect(),
            ..config::Run::default()
        };
        let system = System::new(&config, dir.path());
        World { dir, system }
    }

    async fn ask(system: &System, command: &str, params: Value) -> Result<Value, NodeFault> {
        system
            .invoke(&Order {
                command: command.to_owned(),
                params,
                timeout: Duration::from_secs(20),
                answer_bytes_max: 1 << 20,
            })
            .await
    }

    // covers: S31
    #[tokio::test]
    async fn a_program_runs_only_with_an_approval_or_a_line_in_the_file() {
        let world = world(&[]);
        let echo = json!({ "command": ["echo", "hi"] });
        let refused = ask(&world.system, "system.run", echo.clone())
            .await
            .unwrap_err();
        assert_eq!(refused.code, "SYSTEM_RUN_DENIED");
        let not_once =
            json!({ "command": ["echo", "hi"], "approved": true, "approvalDecision": "deny" });
        assert!(ask(&world.system, "system.run", not_once).await.is_err());
        let approved = json!({ "command": ["echo", "hi"], "approved": true, "approvalDecision": "allow-once" });
        let ran = ask(&world.system, "system.run", approved.clone())
            .await
            .unwrap();
        assert_eq!(
            (&ran["stdout"], &ran["exitCode"], &ran["success"]),
            (&json!("hi\n"), &json!(0), &json!(true))
        );
        let file = world.dir.path().join("exec-approvals.json");
        std::fs::write(
            &file,
            r#"{"defaults":{"allowlist":[{"pattern":"**/echo"}]}}"#,
        )
        .unwrap();
        assert!(ask(&world.system, "system.run", echo).await.is_ok());
        // The owner of the machine has the last word.
        std::fs::write(&file, r#"{"defaults":{"security":"deny"}}"#).unwrap();
        assert!(ask(&world.system, "system.run", approved).await.is_err());
    }

    // covers: S33
    #[tokio::test]
    async fn variables_that_steer_other_programs_are_refused_and_others_are_not_inherited() {
        let world = world(&[]);
        let env = |env: Value| json!({ "argv": ["env"], "approved": true, "env": env });
        let refused = ask(
            &world.system,
            "system.run",
            env(json!({ "LD_PRELOAD": "/x.so" })),
        )
        .await;
        assert_eq!(refused.unwrap_err().code, "ENV_NOT_ALLOWED");
        let ran = ask(&world.system, "system.run", env(json!({ "MINE": "1" })))
            .await
            .unwrap();
        let said = ran["stdout"].as_str().unwrap();
        assert!(said.lines().any(|it| it == "MINE=1"));
        assert!(!said.contains("CARGO"), "{said}");
    }

    // covers: S39
    #[tokio::test]
    async fn a_folder_outside_the_configured_ones_is_refused_also_through_a_link() {
        let allowed = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), allowed.path().join("link")).unwrap();
        let world = world(&[allowed.path()]);
        let at = |cwd: &Path| json!({ "command": ["pwd"], "approved": true, "cwd": cwd });
        assert!(
            ask(&world.system, "system.run", at(allowed.path()))
                .await
                .is_ok()
        );
        for cwd in [
            outside.path(),
            &allowed.path().join("link"),
            Path::new("relative"),
        ] {
            let refused = ask(&world.system, "system.run", at(cwd)).await.unwrap_err();
            assert_eq!(refused.code, "CWD_NOT_ALLOWED", "{}", cwd.display());
        }
    }

    #[tokio::test]
    async fn bins_are_found_as_the_recorded_clients_expect() {
        let world = world(&[]);
        let found = ask(
            &world.system,
            "system.which",
            json!({ "bins": ["sh", "nope-xyz", "/bin/sh"] }),
        )
        .await
        .unwrap();
        let bins = found["bins"].as_object().unwrap();
        assert!(bins["sh"].as_str().unwrap().ends_with("/sh"));
        assert_eq!(bins.len(), 1);
        let many: Vec<String> = (0..51).map(|it| it.to_string()).collect();
        assert!(
            ask(&world.system, "system.which", json!({ "bins": many }))
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_plan_says_what_the_recorded_release_says() {
        let world = world(&[]);
        let plan = json!({ "command": ["echo", "hi-asked"], "agentId": "main" });
        let plan = ask(&world.system, "system.run.prepare", plan)
            .await
            .unwrap();
        assert_eq!(plan["cmdText"], "echo hi-asked");
        assert_eq!(plan["plan"]["argv"], json!(["echo", "hi-asked"]));
        assert_eq!(plan["plan"]["rawCommand"], "echo hi-asked");
        let lie = json!({ "command": ["rm", "x"], "rawCommand": "ls" });
        assert!(ask(&world.system, "system.run.prepare", lie).await.is_err());
    }

    #[tokio::test]
    async fn the_gateway_cannot_rewrite_the_list_unless_the_owner_said_so() {
        let world = world(&[]);
        assert!(
            !world
                .system
                .offers()
                .iter()
                .any(|it| it.name == "system.execApprovals.set")
        );
        let open = config::Run {
            policy_from_gateway: true,
            ..config::Run::default()
        };
        let open = System::new(&open, world.dir.path());
        assert!(
            open.offers()
                .iter()
                .any(|it| it.name == "system.execApprovals.set")
        );
    }
}
