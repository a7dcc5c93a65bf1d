//! The machine's own word on programs: a file its owner writes, in the shape clients of the protocol know.
//!
//! The gateway's approval is needed *and* this file must allow it. Without a file nothing runs unless the gateway says
//! that a person approved exactly this.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::capability::NodeFault;
use crate::credential::write_private;

/// Bytes of the file.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What the file says of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may run.
    Allow,
    /// It may run if a person approved it at the gateway.
    Ask,
    /// It does not run here.
    Deny(String),
}

/// The file.
pub(super) struct Policy {
    path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    defaults: Rules,
    agents: std::collections::BTreeMap<String, Rules>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Rules {
    security: Option<Security>,
    ask: Option<Ask>,
    allowlist: Vec<Entry>,
    denylist: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Security {
    Deny,
    Allowlist,
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ask {
    Off,
    OnMiss,
    Always,
}

#[derive(Debug, Clone, Deserialize)]
struct Entry {
    /// A glob over the program's real path, or its bare name.
    pattern: String,
    /// The exact arguments, where only these are meant. Interpreters need them.
    #[serde(default)]
    argv: Option<Vec<String>>,
}

/// Programs that run whatever their arguments say: allowing their path would allow everything.
const INTERPRETERS: [&str; 34] = [
    "ash", "awk", "bash", "busybox", "dash", "deno", "doas", "env", "expect", "find", "fish",
    "gawk", "git", "java", "ksh", "lua", "make", "node", "nohup", "parallel", "perl", "php",
    "python", "rsync", "ruby", "sed", "sh", "ssh", "sudo", "tar", "tclsh", "time", "xargs", "zsh",
];

impl Policy {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// What the file says. A file that cannot be read denies everything.
    pub(super) fn judge(&self, agent: Option<&str>, program: &Path, argv: &[String]) -> Verdict {
        let file: File = match self.text() {
            Ok(None) => File::default(),
            Ok(Some(text)) => match serde_json::from_str(&text) {
                Ok(file) => file,
                Err(error) => {
                    return Verdict::Deny(format!(
                        "{} cannot be read: {error}",
                        self.path.display()
                    ));
                }
            },
            Err(error) => {
                return Verdict::Deny(format!("{} cannot be read: {error}", self.path.display()));
            }
        };
        file.rules(agent).judge(program, argv)
    }

    fn text(&self) -> std::io::Result<Option<String>> {
        match std::fs::read(&self.path) {
            Ok(bytes) if FILE_BYTES_MAX < bytes.len() => {
                Err(std::io::Error::other("it is larger than 1 MiB"))
            }
            Ok(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|error| std::io::Error::other(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file as the gateway asks for it.
    pub(super) fn show(&self) -> Result<Value, NodeFault> {
        let text = self
            .text()
            .map_err(|error| NodeFault::new("UNAVAILABLE", error.to_string()))?;
        let exists = text.is_some();
        let text = text.unwrap_or_default();
        let file = match serde_json::from_str::<Value>(&text) {
            Ok(mut file) => {
                // A secret of the program that shares this shape; nobody else needs it.
                if let Some(socket) = file.get_mut("socket").and_then(Value::as_object_mut) {
                    socket.remove("token");
                }
                file
            }
            Err(_) => json!({ "version": 1, "defaults": {}, "agents": {} }),
        };
        Ok(json!({
            "path": self.path, "exists": exists, "hash": adjutant_vault::digest(text.as_bytes()), "file": file,
        }))
    }

    /// Replaces the file, if it still is what the caller saw.
    pub(super) fn replace(&self, file: &Value, base: Option<&str>) -> Result<Value, NodeFault> {
        if let Err(error) = File::deserialize(file) {
            return Err(NodeFault::params(format!("file: {error}")));
        }
        let text = self
            .text()
            .map_err(|error| NodeFault::new("UNAVAILABLE", error.to_string()))?;
        if let Some(text) = text
            && base != Some(adjutant_vault::digest(text.as_bytes()).as_str())
        {
            return Err(NodeFault::new(
                "CONFLICT",
                "the list of allowed programs has changed; read it again",
            ));
        }
        let bytes = serde_json::to_vec_pretty(file)
            .map_err(|error| NodeFault::params(error.to_string()))?;
        write_private(&self.path, &bytes)
            .map_err(|error| NodeFault::new("UNAVAILABLE", error.to_string()))?;
        self.show()
    }
}

impl File {
    /// The agent's rules over the defaults; deny lists add up.
    fn rules(&self, agent: Option<&str>) -> Rules {
        let of_agent = agent
            .and_then(|it| self.agents.get(it))
            .cloned()
            .unwrap_or_default();
        let everyone = self.agents.get("*").cloned().unwrap_or_default();
        let joined = |pick: fn(&Rules) -> &Vec<Entry>| {
            [&of_agent, &everyone, &self.defaults]
                .into_iter()
                .flat_map(|it| pick(it).clone())
                .collect()
        };
        Rules {
            security: of_agent
                .security
                .or(everyone.security)
                .or(self.defaults.security),
            ask: of_agent.ask.or(everyone.ask).or(self.defaults.ask),
            allowlist: joined(|it| &it.allowlist),
            denylist: joined(|it| &it.denylist),
        }
    }
}

impl Rules {
    fn judge(&self, program: &Path, argv: &[String]) -> Verdict {
        let security = self.security.unwrap_or(Security::Allowlist);
        let ask = self.ask.unwrap_or(Ask::OnMiss);
        if security == Security::Deny {
            return Verdict::Deny("this machine runs no programs for others".to_owned());
        }
        if self.denylist.iter().any(|it| it.names(program, argv)) {
            return Verdict::Deny(format!(
                "`{}` is on this machine's deny list",
                program.display()
            ));
        }
        let listed = self.allowlist.iter().any(|it| it.allows(program, argv));
        match (ask, security, listed) {
            (Ask::Always, _, _) | (Ask::OnMiss, Security::Allowlist, false) => Verdict::Ask,
            (_, Security::Full, _) | (_, Security::Allowlist, true) => Verdict::Allow,
            (Ask::Off, _, false) => Verdict::Deny(format!(
                "`{}` is not on this machine's list of allowed programs",
                program.display()
            )),
            (_, Security::Deny, _) => Verdict::Deny(String::new()),
        }
    }
}

impl Entry {
    /// Named by path or name, whatever the arguments: for denials.
    fn names(&self, program: &Path, argv: &[String]) -> bool {
        self.is_of(program) && self.argv.as_ref().is_none_or(|it| it == argv)
    }

    /// For permissions: an interpreter with its exact arguments only.
    fn allows(&self, program: &Path, argv: &[String]) -> bool {
        self.is_of(program)
            && match &self.argv {
                Some(exact) => exact == argv,
                None => !is_interpreter(program),
            }
    }

    fn is_of(&self, program: &Path) -> bool {
        if !self.pattern.contains('/') {
            return program.file_name().is_some_and(|it| *it == *self.pattern);
        }
        GlobBuilder::new(&self.pattern)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(program))
    }
}

fn is_interpreter(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // `python3.12` is `python`.
    let stem = name.trim_end_matches(|it: char| it.is_ascii_digit() || it == '.' || it == '-');
    INTERPRETERS.contains(&stem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn judged(file: Option<&str>, agent: Option<&str>, program: &str, args: &[&str]) -> Verdict {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exec-approvals.json");
        if let Some(file) = file {
            std::fs::write(&path, file).unwrap();
        }
        let argv: Vec<String> = std::iter::once(program)
            .chain(args.iter().copied())
            .map(str::to_owned)
            .collect();
        Policy::at(path).judge(agent, Path::new(program), &argv)
    }

    fn denied(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Deny(_))
    }

    // covers: S32
    #[test]
    fn without_a_file_everything_needs_a_person() {
        assert_eq!(judged(None, None, "/usr/bin/uname", &[]), Verdict::Ask);
        assert!(denied(&judged(Some("{"), None, "/usr/bin/uname", &[])));
        let odd = r#"{"defaults":{"security":"maybe"}}"#;
        assert!(denied(&judged(Some(odd), None, "/usr/bin/uname", &[])));
    }

    // covers: S32
    #[test]
    fn an_allowed_path_runs_and_an_interpreter_only_with_the_very_arguments() {
        let file = r#"{"version":1,"defaults":{"allowlist":[{"pattern":"/usr/bin/*"},
            {"pattern":"/usr/bin/python3","argv":["/usr/bin/python3","backup.py"]}]}}"#;
        let run = |program: &str, args: &[&str]| judged(Some(file), None, program, args);
        assert_eq!(run("/usr/bin/uname", &["-a"]), Verdict::Allow);
        assert_eq!(run("/usr/local/bin/uname", &[]), Verdict::Ask);
        assert_eq!(run("/usr/bin/deep/uname", &[]), Verdict::Ask);
        assert_eq!(run("/usr/bin/bash", &["-c", "uname"]), Verdict::Ask);
        assert_eq!(run("/usr/bin/python3.12", &["x.py"]), Verdict::Ask);
        assert_eq!(run("/usr/bin/python3", &["backup.py"]), Verdict::Allow);
        assert_eq!(
            run("/usr/bin/python3", &["backup.py", "--evil"]),
            Verdict::Ask
        );
    }

    #[test]
    fn the_deny_list_beats_everything_and_an_agent_has_its_own_rules() {
        let file = r#"{"defaults":{"security":"full","ask":"off","denylist":[{"pattern":"rm"}]},
            "agents":{"guest":{"security":"deny"},"careful":{"ask":"always"},"listed":{"security":"allowlist"}}}"#;
        let run = |agent: Option<&str>, program: &str| judged(Some(file), agent, program, &[]);
        assert_eq!(run(None, "/usr/bin/uname"), Verdict::Allow);
        assert!(denied(&run(None, "/usr/bin/rm")));
        assert!(denied(&run(Some("guest"), "/usr/bin/uname")));
        assert_eq!(run(Some("careful"), "/usr/bin/uname"), Verdict::Ask);
        assert!(
            denied(&run(Some("listed"), "/usr/bin/uname")),
            "nobody is asked, and it is not listed"
        );
    }

    #[test]
    fn the_file_is_replaced_only_by_one_who_has_seen_it() {
        let dir = tempfile::tempdir().unwrap();
        let policy = Policy::at(dir.path().join("exec-approvals.json"));
        assert_eq!(policy.show().unwrap()["exists"], false);
        let first = json!({ "version": 1, "defaults": { "security": "deny" } });
        let shown = policy.replace(&first, None).unwrap();
        assert_eq!(shown["file"], first);
        let hash = shown["hash"].as_str().unwrap().to_owned();
        let second = json!({ "version": 1 });
        assert_eq!(policy.replace(&second, None).unwrap_err().code, "CONFLICT");
        policy.replace(&second, Some(&hash)).unwrap();
        let odd = json!({ "defaults": { "ask": 7 } });
        assert_eq!(
            policy.replace(&odd, Some(&hash)).unwrap_err().code,
            "INVALID_PARAMS"
        );
    }
}
