//! Rows as lines, to a file or to stdout.

use std::io::{self, BufWriter, Write};

use adjutant_cli::{DbExport, DbExported, Existing, Exit, Failure, Seen};
use adjutant_ports::clock::Clock as _;
use adjutant_store::copy::{self, Counts, Database, Selection};

use super::failure;
use crate::doors::SystemClock;
use crate::scrap::Scrap;

/// Something that counts what goes through.
struct Counting<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes = self.bytes.saturating_add(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

pub(super) async fn export(
    from: &Database,
    options: DbExport,
    seen: Seen<'_>,
) -> Result<DbExported, Failure> {
    let selection = if options.tables.is_empty() {
        Selection::Data
    } else {
        Selection::Tables(options.tables)
    };
    let Some(out) = options.out else {
        let mut to = Counting {
            out: BufWriter::new(io::stdout()),
            bytes: 0,
        };
        let rows = write(from, &selection, &mut to, seen).await?;
        return Ok(DbExported {
            out: None,
            rows,
            bytes: to.bytes,
        });
    };
    let path = std::path::absolute(&out).map_err(|error| Failure::io(out.display(), &error))?;
    if path.exists() && options.existing == Existing::Keep {
        return Err(Failure::new(
            Exit::Conflict,
            "CONFLICT",
            format!("`{}` exists", path.display()),
        )
        .with_hint("name another file, or replace it with `--force`"));
    }
    if path.is_dir() {
        return Err(Failure::usage(format!("`{}` is a folder", path.display()))
            .with_hint("name a file in it"));
    }
    let partial = Scrap::beside(&path, "partial");
    let wrong = |error: io::Error| Failure::io(path.display(), &error);
    // Only its owner may read it: it holds every word.
    let mut to = Counting {
        out: BufWriter::new(partial.create().map_err(wrong)?),
        bytes: 0,
    };
    let rows = write(from, &selection, &mut to, seen).await?;
    let bytes = to.bytes;
    let file = to
        .out
        .into_inner()
        .map_err(|error| wrong(error.into_error()))?;
    partial.put_in_place(&file, &path).map_err(wrong)?;
    Ok(DbExported {
        out: Some(path),
        rows,
        bytes,
    })
}

async fn write(
    from: &Database,
    selection: &Selection,
    to: &mut (dyn Write + Send),
    seen: Seen<'_>,
) -> Result<Counts, Failure> {
    let now = SystemClock::new().now();
    copy::export(from, selection, now, to, &|moved| {
        seen(moved.table, moved.rows);
    })
    .await
    .map_err(|error| failure(&error))
}
