//! `system.notify`: a notification on this machine's screen.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::capability::{Capability, NodeFault, Offer, Order};
use crate::process::{self, Spec, environment, which};

const TITLE_CHARS_MAX: usize = 100;
const BODY_CHARS_MAX: usize = 1_000;
/// A notification service that does not answer is as good as none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The program that shows notifications.
pub(super) struct Notifier {
    program: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    NotifySend,
    Osascript,
}

impl Notifier {
    /// None where nobody could see it.
    pub(super) fn find() -> Option<Self> {
        if cfg!(target_os = "macos") {
            let program = which("osascript")?;
            return Some(Self {
                program,
                kind: Kind::Osascript,
            });
        }
        let program = which("notify-send")?;
        let bus = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|it| !it.is_empty());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .is_some_and(|it| PathBuf::from(it).join("bus").exists());
        (bus || runtime).then_some(Self {
            program,
            kind: Kind::NotifySend,
        })
    }

    #[cfg(test)]
    fn with(program: PathBuf) -> Self {
        Self {
            program,
            kind: Kind::NotifySend,
        }
    }

    /// Shows it. Title and body are arguments, never part of a script.
    pub(super) async fn show(
        &self,
        title: &str,
        body: &str,
        priority: &str,
    ) -> Result<(), NodeFault> {
        let args: Vec<&str> = match self.kind {
            Kind::NotifySend => {
                let urgency = match priority {
                    "passive" => "low",
                    "timeSensitive" => "critical",
                    _ => "normal",
                };
                vec![
                    "--app-name=Adjutant",
                    "--urgency",
                    urgency,
                    "--",
                    title,
                    body,
                ]
            }
            Kind::Osascript => vec![
                "-e",
                "on run argv",
                "-e",
                "display notification (item 2 of argv) with title (item 1 of argv)",
                "-e",
                "end run",
                title,
                body,
            ],
        };
        let session = [
            "DBUS_SESSION_BUS_ADDRESS",
            "XDG_RUNTIME_DIR",
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "XAUTHORITY",
        ];
        let session = session
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        let ended = process::run(Spec {
            program: self.program.clone(),
            args: args.into_iter().map(Into::into).collect(),
            folder: "/".into(),
            env: environment(session),
            stdin: None,
            timeout: TIMEOUT,
            output_bytes: 4 << 10,
        })
        .await
        .map_err(|error| NodeFault::new("UNAVAILABLE", error.to_string()))?;
        if ended.succeeded() {
            Ok(())
        } else {
            Err(NodeFault::new("NOTIFICATIONS_DENIED", ended.complaint()))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    priority: Option<String>,
}

#[async_trait]
impl Capability for Notifier {
    fn family(&self) -> &'static str {
        "system"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::once("system.notify")]
    }

    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault> {
        let params: Params = order.read()?;
        if params.title.is_empty() || TITLE_CHARS_MAX < params.title.chars().count() {
            return Err(NodeFault::params(format!(
                "`title` must have 1 to {TITLE_CHARS_MAX} characters"
            )));
        }
        if BODY_CHARS_MAX < params.body.chars().count() {
            return Err(NodeFault::params(format!(
                "`body` must have at most {BODY_CHARS_MAX} characters"
            )));
        }
        let priority = params.priority.as_deref().unwrap_or("active");
        if !["passive", "active", "timeSensitive"].contains(&priority) {
            return Err(NodeFault::params(
                "`priority` is passive, active or timeSensitive",
            ));
        }
        self.show(&params.title, &params.body, priority).await?;
        Ok(json!({ "delivered": true }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn title_and_body_arrive_as_arguments_whatever_they_contain() {
        let dir = tempfile::tempdir().unwrap();
        let (program, seen) = (dir.path().join("notify-send"), dir.path().join("seen"));
        let script = format!("#!/bin/sh\nprintf '%s|' \"$@\" > {}\n", seen.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let notifier = Notifier::with(program);
        let order = |params: Value| Order {
            command: "system.notify".to_owned(),
            params,
            timeout: Duration::from_secs(10),
            answer_bytes_max: 1 << 20,
        };
        let done = notifier
            .invoke(&order(
                json!({ "title": "--help", "body": "$(id) \"x\"", "priority": "timeSensitive" }),
            ))
            .await
            .unwrap();
        assert_eq!(done, json!({ "delivered": true }));
        let seen = std::fs::read_to_string(seen).unwrap();
        assert_eq!(
            seen,
            "--app-name=Adjutant|--urgency|critical|--|--help|$(id) \"x\"|"
        );
        let long = "x".repeat(101);
        assert!(
            notifier
                .invoke(&order(json!({ "title": long })))
                .await
                .is_err()
        );
        assert!(
            notifier
                .invoke(&order(json!({ "title": "a", "priority": "loud" })))
                .await
                .is_err()
        );
    }
}
