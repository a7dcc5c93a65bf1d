//! A host that answers from memory and notes what it was asked.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use adjutant_client::{Credential, Endpoint, Fingerprint};
use adjutant_domain::time::Timestamp;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::host::*;
use crate::host_backup::{
    BackupDone, BackupOptions, Backups, RestoreDone, RestoreOptions, RestorePlan,
};
use crate::host_db::*;
use crate::host_node::{NodeControl, NodeOptions, NodeState};

/// A host that answers from memory.
pub(super) struct FakeHost {
    /// The gateway that runs.
    pub(super) gateway: Option<Endpoint>,
    /// The gateway that can be started for the occasion.
    pub(super) ephemeral: Option<Endpoint>,
    /// What is pinned for any gateway.
    pub(super) pin: Option<Fingerprint>,
    pub(super) progress: Progress,
    pub(super) report: Report,
    pub(super) log: Mutex<Vec<String>>,
}

impl FakeHost {
    pub(super) fn new() -> Self {
        Self {
            gateway: None,
            ephemeral: None,
            pin: None,
            progress: Progress::SetUp,
            report: Report::default(),
            log: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn beside(gateway: Endpoint) -> Self {
        Self {
            gateway: Some(gateway),
            ..Self::new()
        }
    }

    /// What was asked for, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn note(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    fn state(&self) -> GatewayState {
        GatewayState {
            running: self.gateway.is_some(),
            state_dir: "/state".into(),
            ..GatewayState::default()
        }
    }

    fn changed(&self) -> ConfigChanged {
        ConfigChanged {
            path: "/state/config.toml".into(),
            keys: vec!["gateway.port".to_owned()],
            needs_restart: vec!["gateway.port".to_owned()],
        }
    }
}

#[async_trait]
impl NodeControl for FakeHost {
    async fn node_run(&self, options: NodeOptions) -> Result<(), Failure> {
        self.note(format!("node {options:?}"));
        Ok(())
    }

    async fn node_state(&self) -> Result<NodeState, Failure> {
        Ok(NodeState {
            running: true,
            phase: Some("pairing".to_owned()),
            note: Some("run `adjutant devices approve r1` at the gateway".to_owned()),
            name: Some("box".to_owned()),
            commands: vec!["system.which".to_owned()],
            folder: "/state/node".into(),
            ..NodeState::default()
        })
    }

    async fn node_install(&self, options: NodeOptions) -> Result<ServiceState, Failure> {
        self.note(format!("node install {options:?}"));
        self.gateway_install().await
    }

    async fn node_uninstall(&self, how: Removing) -> Result<ServiceState, Failure> {
        self.note(format!("node uninstall {how:?}"));
        self.gateway_uninstall(how).await
    }
}

#[async_trait]
impl Backups for FakeHost {
    async fn backup(&self, options: BackupOptions) -> Result<BackupDone, Failure> {
        self.note(format!("{options:?}"));
        Ok(BackupDone {
            file: options.file.unwrap_or_else(|| "/here/adjutant.tar".into()),
            files: 3,
            bytes: 1_234_567,
            database: None,
        })
    }

    fn in_the_way(&self) -> Result<Option<PathBuf>, Failure> {
        Ok(Some("/state".into()))
    }

    async fn restore_plan(&self, options: &RestoreOptions) -> Result<RestorePlan, Failure> {
        self.note(format!("plan {}", options.file.display()));
        Ok(RestorePlan {
            home: "/state".into(),
            files: 3,
            made_at: Timestamp::from_millis(1_700_000_000_000),
            made_by: "0.1.0".to_owned(),
            database: options.database.clone(),
            settings: options
                .database
                .iter()
                .map(|_| "store.database_url")
                .collect(),
            replaces: true,
        })
    }

    async fn restore(&self, options: RestoreOptions) -> Result<RestoreDone, Failure> {
        self.note(format!("restore {}", options.file.display()));
        Ok(RestoreDone {
            home: "/state".into(),
            files: 3,
            made_at: Timestamp::from_millis(1_700_000_000_000),
            made_by: "0.1.0".to_owned(),
            settings: options
                .database
                .iter()
                .map(|_| "store.database_url")
                .collect(),
            overruled_by: None,
            database: options.database,
            aside: Some("/state.before".into()),
        })
    }
}

#[async_trait]
impl Databases for FakeHost {
    async fn db_status(&self, which: Option<String>) -> Result<DbStatus, Failure> {
        let is_behind = which.as_deref() == Some("env:OLD");
        Ok(DbStatus {
            kind: DbKind::Postgresql,
            at: "db.example.com:5432/adjutant".to_owned(),
            schema: DbSchema {
                state: if is_behind {
                    DbSchemaState::Behind
                } else {
                    DbSchemaState::Current
                },
                version: 1,
                known: if is_behind { 2 } else { 1 },
                pending: is_behind
                    .then(|| "0002_more".to_owned())
                    .into_iter()
                    .collect(),
            },
            bytes: 1_234_567,
            tables: [("runs".to_owned(), 12), ("threads".to_owned(), 3)].into(),
            in_use_by: None,
            server: Some(DbServer {
                version: "15.8".to_owned(),
                role: "adjutant_daily".to_owned(),
                bypasses_row_security: false,
                owns_schema: false,
                roles_missing: vec![],
                tables: 26,
                tables_with_row_security: 26,
                tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384".to_owned()),
                connections: 2,
                round_trip_micros: 1_250,
            }),
        })
    }

    async fn db_pending(&self, which: Option<String>) -> Result<DbPending, Failure> {
        let is_new = which.as_deref() == Some("sqlite");
        Ok(DbPending {
            at: "/state/adjutant.db".to_owned(),
            kind: DbKind::Sqlite,
            version: 5,
            pending: (!is_new)
                .then(|| "0006_more".to_owned())
                .into_iter()
                .collect(),
        })
    }

    async fn db_migrate(
        &self,
        which: Option<String>,
        keeping: KeepCopy,
    ) -> Result<DbMigrated, Failure> {
        self.note(format!("migrate {which:?} {keeping:?}"));
        Ok(DbMigrated {
            at: "/state/adjutant.db".to_owned(),
            applied: vec!["0006_more".to_owned()],
            copy: Some("/state/adjutant.db.before-0006_more".into()),
        })
    }

    async fn db_export(&self, options: DbExport, seen: Seen<'_>) -> Result<DbExported, Failure> {
        self.note(format!("{options:?}"));
        seen("threads", 3);
        Ok(DbExported {
            out: options.out,
            rows: [("threads".to_owned(), 3)].into(),
            bytes: 1_234,
        })
    }

    async fn db_copy_plan(
        &self,
        options: &DbCopy,
        rehearse: Rehearse,
        seen: Seen<'_>,
    ) -> Result<DbCopyPlan, Failure> {
        self.note(format!("plan {rehearse:?} {options:?}"));
        seen("threads", 3);
        Ok(DbCopyPlan {
            from: "/state/adjutant.db".to_owned(),
            to: "db.example.com:5432/adjutant".to_owned(),
            rows: [("threads".to_owned(), 3), ("grants".to_owned(), 0)].into(),
        })
    }

    async fn db_copy(&self, options: &DbCopy, seen: Seen<'_>) -> Result<DbCopied, Failure> {
        self.note(format!("copy {options:?}"));
        seen("threads", 3);
        Ok(DbCopied {
            from: "/state/adjutant.db".to_owned(),
            to: "db.example.com:5432/adjutant".to_owned(),
            rows: [("threads".to_owned(), 3), ("grants".to_owned(), 0)].into(),
            checked: [("threads".to_owned(), 3)].into(),
            next: "adjutant config set store.database_url env:DB".to_owned(),
        })
    }
}

#[async_trait]
impl Host for FakeHost {
    fn apply(&self, _: &HostSettings) -> Result<(), Failure> {
        Ok(())
    }

    fn build(&self) -> BuildInfo {
        BuildInfo {
            version: "1.2.3".to_owned(),
            commit: Some("abc".to_owned()),
            profile: "release".to_owned(),
            platform: "x86_64-linux".to_owned(),
            sqlite: "3.51.3".to_owned(),
        }
    }

    fn state_dir(&self) -> Result<PathBuf, Failure> {
        Ok("/state".into())
    }

    fn progress(&self) -> Result<Progress, Failure> {
        Ok(self.progress)
    }

    async fn local_gateway(&self) -> Result<Option<Reachable>, Failure> {
        let endpoint = self.gateway.clone();
        Ok(endpoint.map(|endpoint| Reachable {
            endpoint,
            credential: Credential::token("local"),
        }))
    }

    fn pin_of(&self, _: &Endpoint) -> Result<Option<Fingerprint>, Failure> {
        Ok(self.pin.clone())
    }

    async fn ephemeral_gateway(&self, options: EphemeralOptions) -> Result<Ephemeral, Failure> {
        self.note(format!(
            "ephemeral {:?} {:?}",
            options.workers, options.route.provider
        ));
        match self.ephemeral.clone() {
            Some(endpoint) => Ok(Ephemeral {
                gateway: Reachable {
                    endpoint,
                    credential: Credential::None,
                },
                guard: Box::new(()),
            }),
            None => Err(Failure::new(
                Exit::Conflict,
                "LOCKED",
                "the state directory is locked",
            )),
        }
    }

    async fn gateway_run(&self, options: GatewayOptions) -> Result<(), Failure> {
        self.note(format!("run {options:?}"));
        Ok(())
    }

    async fn gateway_start(&self, _: GatewayOptions) -> Result<GatewayState, Failure> {
        self.note("start");
        Ok(self.state())
    }

    async fn gateway_stop(&self) -> Result<GatewayState, Failure> {
        self.note("stop");
        Ok(GatewayState {
            running: false,
            ..self.state()
        })
    }

    async fn gateway_state(&self) -> Result<GatewayState, Failure> {
        Ok(self.state())
    }

    async fn gateway_logs(
        &self,
        options: LogOptions,
        line: &mut (dyn for<'l> FnMut(&'l str) -> Wants + Send),
    ) -> Result<(), Failure> {
        for n in 0..options.lines {
            if line(&format!("line {n}")) == Wants::NoMore {
                self.note(format!("log ended after {n}"));
                break;
            }
        }
        Ok(())
    }

    async fn gateway_install(&self) -> Result<ServiceState, Failure> {
        Ok(ServiceState {
            manager: "systemd".to_owned(),
            files: vec!["/unit".into()],
            installed: true,
            note: None,
        })
    }

    async fn gateway_uninstall(&self, how: Removing) -> Result<ServiceState, Failure> {
        self.note(format!("uninstall {how:?}"));
        Ok(ServiceState {
            manager: "systemd".to_owned(),
            files: vec!["/unit".into()],
            installed: how == Removing::DryRun,
            note: None,
        })
    }

    async fn worker_run(&self, _: WorkerOptions) -> Result<(), Failure> {
        Ok(())
    }

    async fn discover_providers(&self) -> Result<Vec<ProviderFound>, Failure> {
        let found = |name: &str, ready, evidence: &str, model: &str| ProviderFound {
            name: name.to_owned(),
            ready,
            evidence: evidence.to_owned(),
            default_model: Some(model.to_owned()),
        };
        Ok(vec![
            found(
                "anthropic",
                false,
                "ANTHROPIC_API_KEY is not set",
                "claude-sonnet-4-5",
            ),
            found("openai", true, "OPENAI_API_KEY is set", "gpt-5-mini"),
            found("offline", true, "built in", "rules"),
        ])
    }

    async fn setup(&self, answers: SetupAnswers) -> Result<SetupDone, Failure> {
        self.note(format!(
            "setup {:?} {:?}",
            answers.route, answers.trust_level
        ));
        Ok(SetupDone {
            state_dir: "/state".into(),
            config: "/state/config.toml".into(),
            provider: answers.route.provider.unwrap_or_default(),
            model: answers.route.model,
            agent: "main".to_owned(),
            workspace: "/state/workspace".into(),
            trust_level: answers.trust_level.unwrap_or(3),
            notes: Vec::new(),
        })
    }

    async fn demo(&self, _: DemoOptions, stage: &mut dyn Stage) -> Result<DemoDone, Failure> {
        stage.chapter("Write");
        stage.say("It wants to *write*.");
        let proven = if stage.ask("file_write a.md").await {
            "allowed"
        } else {
            "denied"
        };
        Ok(DemoDone {
            proven: vec![proven.to_owned()],
            folder: None,
        })
    }

    fn config_get(&self, key: Option<&str>) -> Result<Value, Failure> {
        match key {
            None => Ok(json!({ "gateway": { "port": 18789 } })),
            Some("gateway.port") => Ok(json!(18789)),
            Some(other) => {
                Err(Failure::not_found("setting", other).with_hint("did you mean `gateway.port`?"))
            }
        }
    }

    fn config_change(&self, key: &str, value: Option<Value>) -> Result<ConfigChanged, Failure> {
        self.note(format!("config {key} {value:?}"));
        Ok(self.changed())
    }

    fn config_explain(&self, key: &str) -> Result<ConfigExplained, Failure> {
        Ok(ConfigExplained {
            key: key.to_owned(),
            value: json!(18790),
            layer: "user file".to_owned(),
            place: Some("/state/config.toml:3".to_owned()),
            default: json!(18789),
            kind: "integer".to_owned(),
            docs: "Port to listen on.".to_owned(),
            needs_restart: true,
        })
    }

    fn config_schema(&self) -> Value {
        json!({ "type": "object" })
    }

    fn config_path(&self) -> Result<PathBuf, Failure> {
        Ok("/state/config.toml".into())
    }

    fn config_validate(&self, file: Option<&Path>) -> Result<ConfigValid, Failure> {
        match file {
            None => Ok(ConfigValid {
                path: "/state/config.toml".into(),
                keys: 1,
                warnings: Vec::new(),
            }),
            Some(_) => Err(Failure::new(
                Exit::Config,
                "UNKNOWN_KEY",
                "unknown key `gateway.prot` in bad.toml:3",
            )
            .with_hint("did you mean `gateway.port`?")),
        }
    }

    fn config_replace(&self, _: &str, _: &str) -> Result<ConfigChanged, Failure> {
        Ok(self.changed())
    }

    async fn verify_store(&self) -> Result<Report, Failure> {
        Ok(self.report.clone())
    }

    async fn sandbox_verify(&self, _: Option<SandboxDriver>) -> Result<Report, Failure> {
        Ok(self.report.clone())
    }

    async fn doctor_checks(&self, _: Fixing) -> Result<Report, Failure> {
        Ok(self.report.clone())
    }

    fn analyse_command(&self, script: &str) -> Result<Value, Failure> {
        Ok(
            json!({ "class": "needs-approval", "rule": "unknown program", "parse": { "script": script } }),
        )
    }
}
