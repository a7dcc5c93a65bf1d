//! `adjutant db`: which database, its schema, its rows elsewhere.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::args::DbCommand;
use crate::confirm::{self, Go};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host_db::{
    DbCopy, DbExport, DbKind, DbMigrated, DbSchemaState, DbServer, DbStatus, Existing, KeepCopy,
    Rehearse,
};
use crate::render::{Table, size, words};
use crate::terminal::{Form, Terminal};

pub(super) async fn db(cx: &Cx<'_>, command: DbCommand) -> Result<Exit, Failure> {
    match command {
        DbCommand::Status { which } => status(cx, which.database).await,
        DbCommand::Migrate {
            which,
            dry_run,
            without_copy,
        } => {
            let keeping = if without_copy {
                KeepCopy::No
            } else {
                KeepCopy::Yes
            };
            migrate(cx, which.database, dry_run, keeping).await
        }
        DbCommand::Export {
            which,
            jsonl: _,
            out,
            tables,
            force,
        } => {
            let options = DbExport {
                which: which.database,
                out,
                tables,
                existing: if force {
                    Existing::Replace
                } else {
                    Existing::Keep
                },
            };
            export(cx, options).await
        }
        DbCommand::Copy { to, from, dry_run } => copy(cx, DbCopy { from, to }, dry_run).await,
    }
}

async fn status(cx: &Cx<'_>, which: Option<String>) -> Result<Exit, Failure> {
    let found = cx.host.db_status(which).await?;
    let exit = match found.schema.state {
        DbSchemaState::Current => Exit::Done,
        DbSchemaState::None => Exit::NotFound,
        DbSchemaState::Behind => Exit::Partial,
        DbSchemaState::Newer | DbSchemaState::Foreign => Exit::Conflict,
    };
    cx.terminal
        .show(&found, || status_text(&found, &cx.terminal))?;
    match found.schema.state {
        DbSchemaState::Current => {}
        DbSchemaState::None => cx
            .terminal
            .note("`adjutant db migrate` makes the schema; so does the first start"),
        DbSchemaState::Behind => cx
            .terminal
            .note("`adjutant db migrate` applies them; so does the next start"),
        DbSchemaState::Newer => cx
            .terminal
            .note("use the newer program: this one does not touch it"),
        DbSchemaState::Foreign => cx
            .terminal
            .note("it was set up by another program, or a changed one: this one does not touch it"),
    }
    Ok(exit)
}

fn status_text(found: &DbStatus, terminal: &Terminal) -> String {
    let schema = &found.schema;
    let state = match schema.state {
        DbSchemaState::None => "none yet".to_owned(),
        DbSchemaState::Current => format!("version {}, as this program", schema.version),
        DbSchemaState::Behind => format!(
            "version {}, this program has {}; waiting: {}",
            schema.version,
            schema.known,
            schema.pending.join(", ")
        ),
        DbSchemaState::Newer => format!(
            "version {}, newer than this program's {}",
            schema.version, schema.known
        ),
        DbSchemaState::Foreign => format!("of another program, from migration {}", schema.version),
    };
    let mut facts = vec![
        ("database", format!("{} {}", found.kind.word(), found.at)),
        ("schema", state),
        ("size", size(found.bytes)),
    ];
    if let Some(who) = &found.in_use_by {
        facts.push(("in use", format!("by {who}")));
    }
    if let Some(server) = &found.server {
        facts.extend(server_facts(server));
    }
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = facts
        .into_iter()
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect();
    if !found.tables.is_empty() {
        let mut table = Table::new(&["TABLE", "ROWS"]);
        for (name, n) in &found.tables {
            table.row([name.clone(), n.to_string()]);
        }
        lines.push(String::new());
        lines.push(table.render(terminal.paint(), terminal.table_width()));
    }
    lines.join("\n")
}

fn server_facts(server: &DbServer) -> Vec<(&'static str, String)> {
    let role = match (server.bypasses_row_security, server.owns_schema) {
        (true, _) => format!("{}, which row security does not bind", server.role),
        (false, true) => format!("{}, which may migrate", server.role),
        (false, false) => format!("{}, which may not migrate", server.role),
    };
    let security = if server.tables == server.tables_with_row_security {
        format!("forced on all {} tables", server.tables)
    } else {
        format!(
            "forced on {} of {} tables only",
            server.tables_with_row_security, server.tables
        )
    };
    let mut facts = vec![
        ("server", format!("PostgreSQL {}", server.version)),
        ("login", role),
    ];
    if server.tables > 0 {
        facts.push(("row security", security));
    }
    if !server.roles_missing.is_empty() {
        facts.push(("roles missing", server.roles_missing.join(", ")));
    }
    facts.push((
        "connection",
        format!(
            "{}, {} there and back, {} besides",
            server.tls.as_deref().unwrap_or("not encrypted"),
            shown_time(server.round_trip_micros),
            words(server.connections, "other", "others"),
        ),
    ));
    facts
}

fn shown_time(micros: u64) -> String {
    if micros < 1_000 {
        format!("{micros} µs")
    } else {
        format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
    }
}

async fn migrate(
    cx: &Cx<'_>,
    which: Option<String>,
    dry_run: bool,
    keeping: KeepCopy,
) -> Result<Exit, Failure> {
    let found = cx.host.db_pending(which.clone()).await?;
    if found.pending.is_empty() {
        if dry_run && cx.terminal.form == Form::Json {
            confirm::change(cx, dry_run, &[], &found).await?;
            return Ok(Exit::Done);
        }
        let nothing = DbMigrated {
            at: found.at,
            applied: Vec::new(),
            copy: None,
        };
        cx.terminal.show(&nothing, || {
            format!("{} has the newest schema: nothing to do", nothing.at)
        })?;
        return Ok(Exit::Done);
    }
    let what = format!(
        "apply {} to {}: {}",
        words(found.pending.len() as u64, "migration", "migrations"),
        found.at,
        found.pending.join(", ")
    );
    let mut will = vec![what];
    match (found.kind, keeping) {
        (DbKind::Sqlite, KeepCopy::Yes) => {
            will.push("keep a copy of the file as it is, beside it".to_owned())
        }
        (DbKind::Sqlite, KeepCopy::No) => {}
        // A first schema: there is nothing to keep.
        (DbKind::Postgresql, _) if found.version == 0 => {}
        (DbKind::Postgresql, _) => will.push(
            "keep no copy: make one before with `adjutant backup`, by the program of before"
                .to_owned(),
        ),
    }
    if confirm::change(cx, dry_run, &will, &found).await? == Go::NoFurther {
        return Ok(Exit::Done);
    }
    let done = cx.host.db_migrate(which, keeping).await?;
    cx.terminal.show(&done, || {
        let mut lines = vec![format!(
            "applied {} to {}: {}",
            words(done.applied.len() as u64, "migration", "migrations"),
            done.at,
            done.applied.join(", ")
        )];
        if let Some(copy) = &done.copy {
            lines.push(format!("the file as it was before: {}", copy.display()));
        }
        lines.join("\n")
    })?;
    Ok(Exit::Done)
}

async fn export(cx: &Cx<'_>, options: DbExport) -> Result<Exit, Failure> {
    let to_file = options.out.is_some();
    let line = StatusLine::new(&cx.terminal, "exporting");
    let done = cx
        .host
        .db_export(options, &|table, rows| line.show(table, rows))
        .await;
    line.end();
    let done = done?;
    let total: u64 = done.rows.values().sum();
    let text = || {
        format!(
            "wrote {} of {} ({}){}",
            words(total, "row", "rows"),
            words(filled(&done.rows), "table", "tables"),
            size(done.bytes),
            done.out
                .as_ref()
                .map(|out| format!(" to {}", out.display()))
                .unwrap_or_default(),
        )
    };
    if to_file {
        cx.terminal.show(&done, text)?;
    } else if cx.terminal.form == Form::Human {
        cx.terminal.note(&text());
    }
    Ok(Exit::Done)
}

async fn copy(cx: &Cx<'_>, options: DbCopy, dry_run: bool) -> Result<Exit, Failure> {
    let rehearse = match dry_run {
        true => Rehearse::Yes,
        false => Rehearse::No,
    };
    let line = StatusLine::new(&cx.terminal, "trying out");
    let plan = cx
        .host
        .db_copy_plan(&options, rehearse, &|table, rows| line.show(table, rows))
        .await;
    line.end();
    let plan = plan?;
    let total: u64 = plan.rows.values().sum();
    let what = format!(
        "copy {} of {} from {} to {}",
        words(total, "row", "rows"),
        words(filled(&plan.rows), "table", "tables"),
        plan.from,
        plan.to
    );
    if confirm::change(cx, dry_run, &[what], &plan).await? == Go::NoFurther {
        return Ok(Exit::Done);
    }
    let line = StatusLine::new(&cx.terminal, "copying");
    let done = cx
        .host
        .db_copy(&options, &|table, rows| line.show(table, rows))
        .await;
    line.end();
    let done = done?;
    let total: u64 = done.rows.values().sum();
    cx.terminal.show(&done, || {
        let checked: Vec<String> = done
            .checked
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(what, n)| format!("{n} {what}"))
            .collect();
        format!(
            "copied {} of {} from {} to {}\nchecked: {}\nThe source is as it was. To go on with the copy:\n  {}",
            words(total, "row", "rows"),
            words(filled(&done.rows), "table", "tables"),
            done.from,
            done.to,
            if checked.is_empty() { "nothing is in it".to_owned() } else { checked.join(", ") },
            done.next,
        )
    })?;
    Ok(Exit::Done)
}

/// Tables with rows in them.
fn filled(rows: &BTreeMap<String, u64>) -> u64 {
    rows.values().filter(|n| **n > 0).count() as u64
}

/// How far it is, on one line of a terminal that is drawn again.
struct StatusLine<'t> {
    terminal: &'t Terminal,
    what: &'static str,
    last: Mutex<Option<Instant>>,
}

/// Between two drawings.
const DRAW_EVERY: Duration = Duration::from_millis(100);

impl<'t> StatusLine<'t> {
    fn new(terminal: &'t Terminal, what: &'static str) -> Self {
        Self {
            terminal,
            what,
            last: Mutex::default(),
        }
    }

    fn show(&self, table: &str, rows: u64) {
        if !self.terminal.shows_status() {
            return;
        }
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_none_or(|at| DRAW_EVERY <= at.elapsed()) {
            *last = Some(Instant::now());
            let rows = words(rows, "row", "rows");
            self.terminal
                .status(&format!("{} {table} … {rows}", self.what));
        }
    }

    fn end(&self) {
        let was_shown = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .is_some();
        if was_shown {
            self.terminal.status("");
        }
    }
}
