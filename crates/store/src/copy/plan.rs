//! What is copied, in which order, and where the two databases differ.
//!
//! Columns are not listed here: they are read from the catalogue of the database and mapped by name. What is written down is
//! only what differs, so that a new column is copied by itself, and a new table or a column that one side does not have is
//! refused by name instead of lost (`tests/postgres/copy.rs` compares both catalogues with this table).

/// Whether a table's rows belong to an owner, and what may leave the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An owner's rows.
    Owned,
    /// An owner's rows by which devices are let in: salts and digests of tokens and codes.
    Secret,
    /// Of the installation, not of an owner.
    Installation,
}

/// A table as it is copied. Names of columns are those of PostgreSQL, which has one for everything.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name in both databases and in exported lines.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Order of its rows in SQLite: the order of birth where that counts.
    pub(crate) sqlite_order: &'static str,
    /// Order of its rows in PostgreSQL.
    pub(crate) postgres_order: &'static str,
    /// Columns that only SQLite has, and that are made anew there.
    pub(crate) only_sqlite: &'static [&'static str],
    /// Columns that only PostgreSQL has and that are made anew there.
    pub(crate) only_postgres: &'static [&'static str],
    /// Columns that SQLite does not store as such, and how they are had there: name, expression over `it`.
    pub(crate) sqlite_derived: &'static [(&'static str, &'static str)],
    /// What SQLite reads from; empty: the table, as `it`.
    pub(crate) sqlite_from: &'static str,
    /// Columns whose value is brought to one form by both: name, expression over `it`.
    pub(crate) normalized: &'static [(&'static str, &'static str)],
    /// Integers of SQLite that are booleans.
    pub(crate) booleans: &'static [&'static str],
    /// Whether SQLite has it at all.
    pub(crate) in_sqlite: bool,
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

/// Log positions per run in SQLite: `place` is the run's number times this, plus the position.
pub(crate) const LOG_PLACES: i64 = 1 << 20;

/// All of them, parents before children.
pub(crate) const TABLES: &[Table] = &[
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
            "(select coalesce(max(e.place) - it.n * 1048576, 0) from entries e
               where e.place > it.n * 1048576 and e.place < (it.n + 1) * 1048576)",
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
            ("seq", "it.place % 1048576"),
            ("owner", "r.owner"),
        ],
        // Left, so that an entry without a run is found instead of skipped.
        sqlite_from: "entries it left join runs r on r.n = it.place / 1048576",
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
pub(crate) const FEED: Table = table("feed", Kind::Installation, "id");

/// Tables of SQLite that are made anew or say who is alive, and are not copied.
pub(crate) const LEFT_IN_SQLITE: &[&str] = &["migrations", "searched", "feed", "workers"];
/// The text indexes of SQLite, with the tables they keep themselves in.
pub(crate) const INDEXES_OF_SQLITE: &[&str] = &["messages_text", "memories_text"];
/// Tables of PostgreSQL that are made anew or say who is alive, and are not copied.
pub(crate) const LEFT_IN_POSTGRES: &[&str] = &["migrations", "audit_end", "workers"];

/// The table of that name.
pub(crate) fn named(name: &str) -> Option<&'static Table> {
    if name == FEED.name {
        return Some(&FEED);
    }
    TABLES.iter().find(|table| table.name == name)
}

/// A column that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As the database names it.
    pub(crate) kind: String,
    /// Whether a row may come without it.
    pub(crate) is_optional: bool,
}

impl Table {
    /// The columns that are copied when SQLite has these.
    pub(crate) fn of_sqlite(&self, there: &[Column]) -> Vec<String> {
        let stored = there.iter().map(|column| column.name.as_str());
        stored
            .filter(|name| !self.only_sqlite.contains(name))
            .chain(self.sqlite_derived.iter().map(|(name, _)| *name))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// The columns that are copied when PostgreSQL has these.
    pub(crate) fn of_postgres(&self, there: &[Column]) -> Vec<String> {
        let stored = there.iter().map(|column| column.name.as_str());
        stored
            .filter(|name| !self.only_postgres.contains(name))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// How a column is read.
    pub(crate) fn expression(&self, column: &str, derived: &[(&str, &str)]) -> String {
        let known = derived.iter().chain(self.normalized);
        known
            .filter(|(name, _)| *name == column)
            .map(|(_, expression)| (*expression).to_owned())
            .next()
            .unwrap_or_else(|| format!("it.\"{column}\""))
    }
}
