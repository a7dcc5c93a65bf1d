//! The database: what it is, its schema, its rows elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which database.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WhichDatabase {
    /// Another database than the settings': `sqlite`, `env:NAME` or `file:/path` where its URL is, or a URL without a
    /// password.
    #[arg(long, value_name = "WHERE")]
    pub(crate) database: Option<String>,
}

/// The database.
#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Show which database is used, whether this program knows its schema, and how much is in it.
    ///
    /// It looks and changes nothing, also while a gateway runs.
    #[command(after_help = "EXAMPLES:
  adjutant db status
  adjutant db status --json | jq .schema
  adjutant db status --database env:ADJUTANT_DB

EXIT CODES:
  0 ready · 1 it cannot be used · 3 none yet · 5 schema of a newer or another program
  8 migrations wait")]
    Status {
        #[command(flatten)]
        which: WhichDatabase,
    },
    /// Bring the schema up to this program: the same that every start does, now and by itself.
    ///
    /// A SQLite file is copied first. PostgreSQL is migrated by the login of the URL, which has to own the schema: name an
    /// administrator's with `--database` where the daily one may not.
    #[command(after_help = "EXAMPLES:
  adjutant db migrate --dry-run
  adjutant db migrate --yes
  adjutant db migrate --database env:ADJUTANT_DB_ADMIN --yes")]
    Migrate {
        #[command(flatten)]
        which: WhichDatabase,
        /// Show which migrations wait, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Keep no copy of the SQLite file.
        #[arg(long)]
        without_copy: bool,
    },
    /// Write the rows as JSON lines, as of one moment, also while a gateway runs.
    ///
    /// The first line says what they are, then comes a line per row, `{"table": …, "row": {…}}`, and a last one that counts
    /// them. Salts and digests of tokens are not in it.
    #[command(after_help = "EXAMPLES:
  adjutant db export --jsonl --out everything.jsonl
  adjutant db export --table messages --table threads > words.jsonl
  adjutant db export --table audit | jq -c 'select(.table == \"audit\") | .row'")]
    Export {
        #[command(flatten)]
        which: WhichDatabase,
        /// JSON lines: what is written anyhow.
        #[arg(long)]
        jsonl: bool,
        /// File to write; stdout without it.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Only this table; may be given several times.
        #[arg(long = "table", value_name = "TABLE")]
        tables: Vec<String>,
        /// Replace the file if it is there.
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// Copy everything into another, empty database, and check it there.
    ///
    /// Stop the gateway before. It is all or nothing: an interrupted copy leaves the target empty, and the source is only
    /// read. Afterwards it says which setting makes the copy count.
    #[command(after_help = "EXAMPLES:
  adjutant db copy --to env:ADJUTANT_DB --dry-run
  adjutant db copy --to 'postgresql:///adjutant?host=/run/postgresql' --yes
  adjutant db copy --from env:ADJUTANT_DB --to sqlite")]
    Copy {
        /// Where to: `sqlite`, `env:NAME` or `file:/path` where the URL is, or a URL without a password.
        #[arg(long, value_name = "WHERE")]
        to: String,
        /// Where from; the settings' database without it.
        #[arg(long, value_name = "WHERE")]
        from: Option<String>,
        /// Do everything but keep it: show what would be copied, refuse what would be refused, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}
