//! What is copied, in which order, and where the two databases differ.
//!
//! Columns are not listed here: they are read from the catalogue of the database and mapped by name. What is written down is
//! only what differs, so that a new column is copied by itself, and a new table or a column that one side does not have is
//! refused by name instead of lost (`tests/postgres/copying.rs` compares both catalogues with this table).

use crate::sqlite::run::log_places;

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Its name in exports and for programs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
        }
    }

    /// The version of its schema that this program has.
    pub(super) fn known(self) -> u32 {
        match self {
            Self::Sqlite => crate::migrate::known(),
            Self::Postgres => crate::postgres::migrate::known(),
        }
    }

    /// Whether the rows of that table are copied: not what is made anew or says who is alive.
    pub(super) fn copies(self, table: &str) -> bool {
        let left: &[&str] = match self {
            Self::Sqlite => &["migrations", "searched", "feed", "workers"],
            Self::Postgres => &["migrations", "audit_end", "workers"],
        };
        !left.contains(&table)
    }
}

/// Whether a table's rows belong to an owner, and what may leave the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An owner's rows.
    Owned,
    /// An owner's rows by which devices are let in: salts and digests of tokens and codes.
    Secret,
    /// Of the installation, not of an owner.
    Installation,
}

/// A table as it is copied. Names of columns are those of PostgreSQL, which has one for everything.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name in both databases and in exported lines.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Order of its rows in SQLite: the order of birth where that counts.
    sqlite_order: &'static str,
    /// Order of its rows in PostgreSQL.
    postgres_order: &'static str,
    /// Columns that only SQLite has, and that are made anew there.
    only_sqlite: &'static [&'static str],
    /// Columns that only PostgreSQL has and that are made anew there.
    only_postgres: &'static [&'static str],
    /// Columns that SQLite does not store as such, and how they are had there: name, expression over `it`.
    sqlite_derived: &'static [(&'static str, &'static str)],
    /// What SQLite reads from; empty: the table, as `it`.
    sqlite_from: &'static str,
    /// Columns whose value is brought to one form by both: name, expression over `it`.
    normalized: &'static [(&'static str, &'static str)],
    /// Integers of SQLite that are booleans.
    pub(super) booleans: &'static [&'static str],
    /// Whether SQLite has it at all.
    in_sqlite: bool,
}

const fn table(name: &'static str, kind: Kind, order: &'static str) -> Table {
    Table {
        name,
        kind,
        sqlite_order: order,
        postgres_order: order,
        only_sqlite: &[],
        only_postgres: &[],
        sqlite_derived: &[],
        sqlite_from: "",
        normalized: &[],
        booleans: &[],
        in_sqlite: true,
    }
}

/// All of them, parents before children.
pub(super) const TABLES: &[Table] = &[
    Table {
        // Kept by triggers.
        only_sqlite: &["hour"],
        ..table("threads", Kind::Owned, "id")
    },
    Table {
        only_sqlite: &["n"],
        only_postgres: &["n", "words"],
        ..table("messages", Kind::Owned, "n")
    },
    table("sessions", Kind::Owned, "id"),
    Table {
        only_sqlite: &["n"],
        sqlite_derived: &[(
            "head",
            concat!(
                "(select coalesce(max(e.place) - it.n * ",
                log_places!(),
                ", 0) from entries e where e.place > it.n * ",
                log_places!(),
                " and e.place < (it.n + 1) * ",
                log_places!(),
                ")"
            ),
        )],
        // A lease ends with its process, so only the moment of a rest is worth keeping.
        normalized: &[(
            "due_at",
            "case when it.status = 'parked' then it.due_at end",
        )],
        ..table("runs", Kind::Owned, "id")
    },
    table("run_aliases", Kind::Owned, "owner, name"),
    Table {
        only_sqlite: &["place"],
        sqlite_derived: &[
            ("run", "r.id"),
            ("seq", concat!("it.place % ", log_places!())),
            ("owner", "r.owner"),
        ],
        // Left, so that an entry without a run is found instead of skipped.
        sqlite_from: concat!(
            "entries it left join runs r on r.n = it.place / ",
            log_places!()
        ),
        sqlite_order: "place",
        ..table("entries", Kind::Owned, "run, seq")
    },
    Table {
        only_sqlite: &["n"],
        only_postgres: &["n"],
        sqlite_derived: &[("owner", "r.owner")],
        sqlite_from: "signals it left join runs r on r.id = it.run",
        ..table("signals", Kind::Owned, "n")
    },
    table("agents", Kind::Owned, "owner, name"),
    table("approvals", Kind::Owned, "id"),
    table("grants", Kind::Owned, "id"),
    Table {
        only_sqlite: &["place"],
        booleans: &["settled", "estimated"],
        sqlite_order: "place",
        ..table("ledger", Kind::Owned, "run, reservation")
    },
    Table {
        only_sqlite: &["first", "last"],
        booleans: &["estimated"],
        ..table("spend", Kind::Owned, "owner, scope, key")
    },
    Table {
        only_sqlite: &["n", "text"],
        only_postgres: &["n", "words"],
        ..table("memories", Kind::Owned, "n")
    },
    table("events", Kind::Owned, "cursor"),
    table("answers", Kind::Owned, "owner, method, key"),
    table("audit", Kind::Owned, "seq"),
    table("devices", Kind::Owned, "owner, id"),
    table("device_tokens", Kind::Secret, "owner, device, role"),
    table("pairings", Kind::Owned, "id"),
    table("setup_codes", Kind::Secret, "owner, digest"),
    table("node_invokes", Kind::Owned, "id"),
    Table {
        in_sqlite: false,
        ..table("shares", Kind::Owned, "id")
    },
    table("tools", Kind::Installation, "name"),
    table("buckets", Kind::Installation, "name"),
];

/// The highest cursor that was given out: one row with a number. A table in SQLite, a sequence in PostgreSQL.
pub(super) const FEED: Table = table("feed", Kind::Installation, "id");

/// The text indexes of SQLite, with the tables they keep themselves in.
pub(super) const INDEXES_OF_SQLITE: &[&str] = &["messages_text", "memories_text"];

/// The table of that name.
pub(super) fn named(name: &str) -> Option<&'static Table> {
    if name == FEED.name {
        return Some(&FEED);
    }
    TABLES.iter().find(|table| table.name == name)
}

/// A column that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As the database names it.
    pub(super) kind: String,
    /// Whether a row may come without it.
    pub(super) is_optional: bool,
}

impl Table {
    /// Whether that database has it.
    pub(super) fn is_in(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Sqlite => self.in_sqlite,
            Dialect::Postgres => true,
        }
    }

    /// Whether that database makes the column anew.
    pub(super) fn makes(&self, dialect: Dialect, column: &str) -> bool {
        let made = match dialect {
            Dialect::Sqlite => self.only_sqlite,
            Dialect::Postgres => self.only_postgres,
        };
        made.contains(&column)
    }

    /// Whether that database has the column without storing it as such.
    pub(super) fn derives(&self, dialect: Dialect, column: &str) -> bool {
        self.derived(dialect)
            .iter()
            .any(|(name, _)| *name == column)
    }

    fn derived(&self, dialect: Dialect) -> &'static [(&'static str, &'static str)] {
        match dialect {
            Dialect::Sqlite => self.sqlite_derived,
            Dialect::Postgres => &[],
        }
    }

    /// The columns that are copied when the database has these.
    pub(super) fn columns(&self, dialect: Dialect, there: &[Column]) -> Vec<String> {
        let stored = there.iter().map(|column| column.name.as_str());
        stored
            .filter(|name| !self.makes(dialect, name))
            .chain(self.derived(dialect).iter().map(|(name, _)| *name))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// How a column is read.
    pub(super) fn expression(&self, dialect: Dialect, column: &str) -> String {
        let known = self.derived(dialect).iter().chain(self.normalized);
        known
            .filter(|(name, _)| *name == column)
            .map(|(_, expression)| (*expression).to_owned())
            .next()
            .unwrap_or_else(|| format!("it.\"{column}\""))
    }

    /// Where its rows come from, and in which order: what follows the expressions of a query.
    pub(super) fn rows(&self, dialect: Dialect) -> String {
        let (from, order) = match dialect {
            Dialect::Sqlite => (self.sqlite_from, self.sqlite_order),
            Dialect::Postgres => ("", self.postgres_order),
        };
        let order: Vec<String> = order.split(", ").map(|it| format!("it.{it}")).collect();
        let order = order.join(", ");
        if from.is_empty() {
            format!("from {} it order by {order}", self.name)
        } else {
            format!("from {from} order by {order}")
        }
    }
}
