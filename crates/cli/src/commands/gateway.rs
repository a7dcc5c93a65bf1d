//! `adjutant gateway`, `adjutant logs`: the processes. The host does it; here is how it looks.

use crate::args::{GatewayCommand, GatewayRunArgs, LogsArgs, Removal};
use crate::confirm::{self, Go};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::{
    Follow, GatewayOptions, GatewayState, LogOptions, Removing, ServiceState, Wants,
};
use crate::render::{ago, facts};
use crate::terminal::Form;

pub(super) async fn gateway(cx: &Cx<'_>, command: GatewayCommand) -> Result<Exit, Failure> {
    match command {
        GatewayCommand::Run(args) => cx.host.gateway_run(options(args)).await?,
        GatewayCommand::Start(args) => {
            let state = cx.host.gateway_start(options(args)).await?;
            cx.terminal.show(&state, || {
                format!("the gateway is running\n{}", describe(cx, &state))
            })?;
        }
        GatewayCommand::Stop => {
            let was = cx.host.gateway_state().await?;
            let state = cx.host.gateway_stop().await?;
            cx.terminal.show(&state, || {
                if was.running {
                    "the gateway has stopped"
                } else {
                    "no gateway was running"
                }
                .to_owned()
            })?;
        }
        GatewayCommand::Restart(args) => {
            cx.host.gateway_stop().await?;
            let state = cx.host.gateway_start(options(args)).await?;
            cx.terminal.show(&state, || {
                format!("the gateway is running\n{}", describe(cx, &state))
            })?;
        }
        GatewayCommand::Status => {
            let state = cx.host.gateway_state().await?;
            cx.terminal.show(&state, || {
                let head = match (state.running, state.pid) {
                    (true, _) => "the gateway is running".to_owned(),
                    (false, Some(pid)) => format!(
                        "the gateway died: process {pid} is gone and left its files behind; \
                         `adjutant gateway start` goes on where it stopped"
                    ),
                    (false, None) => "no gateway is running".to_owned(),
                };
                format!("{head}\n{}", describe(cx, &state))
            })?;
            return Ok(if state.running {
                Exit::Done
            } else {
                Exit::Unreachable
            });
        }
        GatewayCommand::Fingerprint => {
            let Some(tls) = cx.host.gateway_state().await?.tls else {
                return Err(Failure::new(
                    Exit::NotFound,
                    "NOT_FOUND",
                    "there is no certificate: the gateway's port is not encrypted, or it was never started",
                )
                .with_hint("`adjutant config set gateway.tls.mode self_signed`, then start it"));
            };
            cx.terminal.show(&tls, || tls.fingerprint.clone())?;
        }
        GatewayCommand::Logs(args) => return logs(cx, &args).await,
        GatewayCommand::Install => {
            let service = cx.host.gateway_install().await?;
            cx.terminal
                .show(&service, || installed(cx, "installed", &service))?;
        }
        GatewayCommand::Uninstall { removal } => uninstall(cx, removal).await?,
    }
    Ok(Exit::Done)
}

async fn uninstall(cx: &Cx<'_>, removal: Removal) -> Result<(), Failure> {
    let planned = cx.host.gateway_uninstall(Removing::DryRun).await?;
    let what: Vec<String> = planned
        .files
        .iter()
        .map(|it| format!("`{}`", it.display()))
        .collect();
    if what.is_empty() {
        return cx
            .terminal
            .show(&planned, || "nothing is installed".to_owned());
    }
    if confirm::removal(cx, removal, "gateway", &what).await? == Go::NoFurther {
        return Ok(());
    }
    let service = cx.host.gateway_uninstall(Removing::Really).await?;
    cx.terminal
        .show(&service, || installed(cx, "removed", &service))
}

pub(super) async fn logs(cx: &Cx<'_>, args: &LogsArgs) -> Result<Exit, Failure> {
    let options = LogOptions {
        lines: args.lines,
        follow: if args.follow { Follow::Yes } else { Follow::No },
    };
    let mut unwritten = None;
    cx.host
        .gateway_logs(options, &mut |line| match log_line(cx, line) {
            Ok(()) => Wants::More,
            Err(failure) => {
                unwritten = Some(failure);
                Wants::NoMore
            }
        })
        .await?;
    unwritten.map_or(Ok(Exit::Done), Err)
}

/// With `--json` one document a line: what the log holds if it is written as JSON, else the line as text.
fn log_line(cx: &Cx<'_>, line: &str) -> Result<(), Failure> {
    match cx.terminal.form {
        Form::Human => cx.terminal.data(&crate::render::safe(line)),
        Form::Json => match serde_json::from_str::<serde_json::Value>(line) {
            Ok(record) if record.is_object() => cx.terminal.json_line(&record),
            _ => cx.terminal.json_line(&serde_json::json!({ "line": line })),
        },
    }
}

fn options(args: GatewayRunArgs) -> GatewayOptions {
    GatewayOptions {
        port: args.port,
        bind: args.bind,
        workers: args.workers,
        database_url: args.database.database_url,
    }
}

fn describe(cx: &Cx<'_>, state: &GatewayState) -> String {
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref()
            .map_or_else(String::new, |it| it.display().to_string())
    };
    facts(
        cx.terminal.paint(),
        &[
            (
                "address",
                state
                    .address
                    .map_or_else(String::new, |it| match state.tls {
                        Some(_) => format!("https://{it}"),
                        None => format!("http://{it}"),
                    }),
            ),
            (
                "certificate",
                state
                    .tls
                    .as_ref()
                    .map_or_else(String::new, |it| it.fingerprint.clone()),
            ),
            (
                "valid until",
                state
                    .tls
                    .as_ref()
                    .and_then(|it| it.valid_until)
                    .map_or_else(String::new, |it| it.rfc3339()),
            ),
            ("socket", path(&state.socket)),
            (
                "process",
                state.pid.map_or_else(String::new, |it| it.to_string()),
            ),
            ("version", state.version.clone().unwrap_or_default()),
            (
                "started",
                state
                    .started_at
                    .map_or_else(String::new, |it| ago(it, cx.now())),
            ),
            ("log", path(&state.log)),
            ("state", state.state_dir.display().to_string()),
            (
                "at login",
                if state.installed {
                    "started"
                } else {
                    "not started"
                }
                .to_owned(),
            ),
        ],
    )
}

pub(super) fn installed(cx: &Cx<'_>, what: &str, service: &ServiceState) -> String {
    let files: Vec<String> = service
        .files
        .iter()
        .map(|it| it.display().to_string())
        .collect();
    facts(
        cx.terminal.paint(),
        &[
            (what, files.join("\n")),
            ("manager", service.manager.clone()),
            ("note", service.note.clone().unwrap_or_default()),
        ],
    )
}
