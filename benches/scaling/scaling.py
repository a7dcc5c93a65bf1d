#!/usr/bin/env python3
"""What the statements of the store cost as clients and rows grow. See README.md beside this file.

Needs Python 3.9 or newer without any package, and PostgreSQL's psql and pgbench. The statements are read out of
crates/store/src/postgres at each run, so what is measured is what is built.
"""

import argparse
import json
import os
import re
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "crates/store/src/postgres"
LEASE = 3_600_000
APP, WORKER = "adjutant_app", "adjutant_worker"


# The statements

def literals(name):
    """Every string literal of a Rust file, unescaped, with `run_columns!()` inside `concat!` put in."""
    text = (SOURCE / name).read_text()
    text = re.sub(r'",\s*run_columns!\(\),\s*"', lambda _: run_columns().replace('"', '\\"'), text)
    found = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    return [it.replace('\\"', '"').replace("\\n", "\n") for it in found]


def run_columns():
    text = (SOURCE / "run.rs").read_text()
    return re.search(r'macro_rules! run_columns \{.*?"(.*?)"', text, re.S).group(1)


def statement(name, begins, **values):
    """The one statement of a file that begins so, with values in the place of its parameters."""
    found = [it for it in literals(name) if it.startswith(begins)]
    if not found:
        sys.exit(f"{name} has no statement that begins with: {begins}")
    sql = " ".join(re.sub(r"\s--[^\n]*", "", found[0]).split())
    return re.sub(r"\$(\d+)", lambda it: str(values["p" + it.group(1)]), sql)


def text(value):
    return "'" + value.replace("'", "''") + "'::text"


def identity(role, owner="", flushed=True):
    claims = json.dumps({"sub": owner, "role": role}, separators=(",", ":")) if owner else ""
    # pgbench must not take `:"` or `:name` for a variable, so the JSON is built where it is used.
    claims = f"json_build_object('sub', '{owner}', 'role', '{role}')::text" if claims else "''"
    return statement("tx.rs", "select set_config('request", p1=text(role), p2=claims, p3=str(flushed).lower())


def claim_statement():
    sql = statement("claim.rs", "with w as materialized", p1="null::bigint", p2="'{\"status\"\\:\"running\"}'::text",
                    p3=text("wrk_0"), p4=f"{LEASE}::bigint", p5="null::bigint")
    sql = sql.replace("\\:", ":")
    # Always a row, because pgbench takes none for an error.
    return sql.replace("from head left join taken on true",
                       "from (select 1) one left join head on true left join taken on true")


def feed_statements(owner, run="null::text", lock="4164067475"):
    insert = statement("tx.rs", "insert into events", p1=text(owner), p2="null::bigint", p3=run, p4=run,
                       p5=text("agent:main:main").replace(":main", "_main"),
                       p6=text('{"type"_"run_started"}'))
    wait = [f"select pg_advisory_xact_lock({lock})"] if lock else []
    return wait + [insert]


def one_trip(*parts):
    """Statements that travel together, as the store sends them."""
    return " \\; ".join(parts)


# Scripts for pgbench

def claim_script():
    """A claim as in claim.rs; then the run ends, and the next one of its session comes to the end of the line."""
    entry = ("insert into entries (run, seq, owner, at, kind, body) values (':c_id', (':c_place')::bigint, ':c_owner', 0,"
             " 'claimed', repeat('x', 120)) on conflict do nothing")
    return "\n".join([
        one_trip("begin", identity(WORKER), named(claim_statement(), "c_")) + " \\gset c_",
        "\\if :c_fence > 0",
        one_trip(identity(APP, ":c_owner"),
                 statement("message.rs", "with w as (select n, thread from messages where run",
                           p1=text(":c_id"), p2=text(":c_owner")),
                 entry,
                 "select seq, at, body from entries where run = ':c_id' order by seq",
                 *feed_statements(":c_owner", text(":c_id")), "commit") + ";",
        one_trip("begin", identity(APP, ":c_owner", flushed=False),
                 "update runs set status = 'finished', worker = null, finished_at = clock_ms() where id = ':c_id'",
                 "insert into runs (id, owner, agent, session, session_key, thread, priority, method, digest, status, detail,"
                 " head, ready_at, due_at, accepted_at) select 'run_' || upper(left(md5(random()::text), 26)), owner, agent,"
                 " session, session_key, thread, priority, method, digest, 'queued', detail, 1, clock_ms(), clock_ms(),"
                 " clock_ms() from runs where id = ':c_id'",
                 "commit") + ";",
        "\\else",
        "rollback;",
        "\\endif",
    ])


def named(sql, _prefix):
    """The claim's last select, with names that pgbench can keep."""
    head, tail = sql.rsplit("select head.status, taken.fence, taken.place, taken.*", 1)
    return (head + "select coalesce(taken.fence, 0) as fence, coalesce(taken.place, 0) as place, taken.id, taken.owner" + tail)


def event_script(lock):
    """The least transaction that brings an event: its entry, the lock, the event, the flush."""
    return "\n".join([
        "\\set o random(1, 999)",
        one_trip("begin", identity(APP, "owner:o"),
                 "insert into entries (run, seq, owner, at, kind, body) select 'run_F' || lpad(:o::text, 25, '0'),"
                 " (random() * 1e15)::bigint + 10, 'owner:o', 0, 'bench', repeat('x', 200)",
                 *feed_statements("owner:o", lock=lock), "commit") + ";",
    ])


def accept_script(owners):
    """The questions of an intake (accept.rs), with the locks that they take."""
    found = [it for it in literals("accept.rs") if it.lstrip().startswith("select")]
    ask = []
    for sql in found:
        if "run_aliases" in sql:
            values = {"p1": text("owner:o"), "p2": text("key")}
        elif sql.startswith("select count"):
            values = {"p1": "(select 'ses_' || lpad(:s::text, 26, '0'))", "p2": text("owner:o")}
        elif "from runs" in sql or "from sessions" in sql:
            values = {"p1": "(select 'ses_' || lpad(:s::text, 26, '0'))", "p2": text("owner:o")}
        else:
            values = {"p1": "(select 'thr_' || lpad(:s::text, 26, '0'))", "p2": text("owner:o")}
        ask.append(re.sub(r"\$(\d+)", lambda it: values["p" + it.group(1)], " ".join(sql.split())))
    return "\n".join([f"\\set s random(1, 10000)", f"\\set o :s % {owners}",
                      one_trip("begin", identity(APP, "owner:o"), *ask, "commit") + ";"])


def read_script(which):
    sql = {
        "due": lambda: statement("claim.rs", "select case when min(due_at)", p1="null::bigint"),
        "feed": lambda: "select cursor, owner, at, run, run_name, session, kind from events"
                        " where cursor > (select max(cursor) - 5 from events) order by cursor limit 500",
    }[which]()
    return one_trip("begin", identity(WORKER, flushed=False), sql, "commit") + ";"


# Running

class Database:
    def __init__(self, arguments):
        self.flags = ["-h", arguments.host, "-p", str(arguments.port)]
        self.name, self.admin = arguments.database, arguments.admin

    def sql(self, sql, *flags):
        done = subprocess.run(["psql", *self.flags, "-U", self.admin, "-d", self.name, "-XAtq", "-v", "ON_ERROR_STOP=1",
                               *flags, "-c", sql], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout.strip()

    def fill(self, owners, queued, finished, events, parked=0, blocked=0, stale=False):
        sizes = dict(owners=owners, queued=queued, finished=finished, events=events, parked=parked, blocked=blocked,
                     stale=str(stale).lower())
        flags = [it for key, value in sizes.items() for it in ("-v", f"{key}={value}")]
        subprocess.run(["psql", *self.flags, "-U", self.admin, "-d", self.name, "-Xq", "-v", "ON_ERROR_STOP=1", *flags,
                        "-f", HERE / "fill.sql"], check=True)

    def bench(self, script, clients, seconds, login="adjutant_login"):
        """Transactions a second, mean latency in ms, mean ms of the first statement."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script + "\n")
            file.flush()
            done = subprocess.run(["pgbench", *self.flags, "-U", login, "-n", "-M", "simple", "-r", "-c", str(clients), "-j",
                                   str(min(clients, 2)), "-T", str(seconds), "-f", file.name, self.name],
                                  capture_output=True, text=True)
        out = done.stdout
        tps = re.search(r"tps = ([\d.]+)", out)
        if done.returncode or "aborted" in done.stderr or not tps:
            sys.exit(f"pgbench: {done.stderr[-2000:]}\n{script}")
        first = re.search(r"^\s+([\d.]+)\s+\d+\s+begin", out, re.M)
        return float(tps.group(1)), float(re.search(r"latency average = ([\d.]+)", out).group(1)), \
            float(first.group(1)) if first else 0.0


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "--:|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(it) for it in row) + " |")
    print(flush=True)


def by_clients(db, scripts, clients, seconds, rounds):
    """The median of several rounds, in which every script has its turn."""
    rows = []
    for n in clients:
        taken = [[] for _ in scripts]
        for _ in range(rounds):
            for i, script in enumerate(scripts):
                taken[i].append(db.bench(script, n, seconds)[:2])
        middles = [sorted(it)[len(it) // 2] for it in taken]
        rows.append([n] + [cell for tps, latency in middles for cell in (round(tps), f"{latency:.2f}")])
    return rows


def claim(db, it):
    print("Claims by rows. One row: runs queued and finished each; the claim's first round trip, and the whole of it with the"
          " transaction that ends the run and brings the next.")
    for n in it.rows:
        db.fill(max(10, n // 10), n, n, n)
        rows = []
        for clients in it.clients:
            taken = sorted(db.bench(claim_script(), clients, it.seconds) for _ in range(it.rounds))
            tps, latency, first = taken[len(taken) // 2]
            rows.append([f"{n:,}", clients, round(tps), f"{latency:.2f}", f"{first:.2f}"])
        table(["rows", "clients", "claims/s", "ms in all", "ms of the claim"], rows)


def event(db, it):
    db.fill(1000, 1000, 1000, 1000)
    print("Events by clients: transactions a second and their latency in ms, with the one lock, with a lock of sixteen, without.")
    scripts = [event_script("4164067475"), event_script("4164067475 + 1 + :o % 16"), event_script(None)]
    table(["clients", "one lock /s", "ms", "sixteen /s", "ms", "none /s", "ms"], by_clients(db, scripts, it.clients, it.seconds, it.rounds))


def intake(db, it):
    print("The questions of an intake, by queued runs (of all owners), one client.")
    rows = []
    for n in it.rows:
        db.fill(1000, n, n, 1000)
        tps, latency, _ = db.bench(accept_script(1000), 1, it.seconds)
        rows.append([f"{n:,}", round(tps), f"{latency:.2f}"])
    table(["queued", "/s", "ms"], rows)


def held(db, it):
    print("Claims while nobody may clean up: one transaction holds a snapshot, as a long dump does. Four clients.")
    rows = []
    for is_held in (False, True):
        db.fill(1000, 100_000, 100_000, 100)
        holder = subprocess.Popen(["psql", *db.flags, "-U", db.admin, "-d", db.name, "-Xq", "-c", "begin isolation level"
                                   " repeatable read", "-c", "select count(*) from adjutant.runs", "-c", "select pg_sleep(600)"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if is_held else None
        time.sleep(1)
        total = 0
        for _ in range(5):
            tps, _latency, first = db.bench(claim_script(), 4, it.seconds)
            total += tps * it.seconds
            rows.append(["yes" if is_held else "no", f"{total:,.0f}", f"{first:.2f}", pages_of_claim(db)])
        if holder:
            db.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'")
            holder.wait()
            db.sql("vacuum adjutant.runs")
            rows.append(["gone, and vacuumed", f"{total:,.0f}", f"{db.bench(claim_script(), 4, it.seconds)[2]:.2f}",
                         pages_of_claim(db)])
    table(["snapshot held", "claims so far", "ms of the claim", "pages of a claim"], rows)


def pages_of_claim(db):
    return timed(db, WORKER, "", claim_statement())[1]


class Listeners:
    """Connections that listen and read what they hear, in the protocol of the server, so that no driver is needed."""

    def __init__(self, db, n):
        self.sockets, self.heard, self.goes_on = [self.connect(db) for _ in range(n)], 0, True
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    @staticmethod
    def connect(db):
        it = socket.socket(socket.AF_UNIX)
        it.connect(f"{db.flags[1]}/.s.PGSQL.{db.flags[3]}")
        words = f"user\0{db.admin}\0database\0{db.name}\0\0".encode()
        it.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
        ask = b"listen adjutant\0"
        it.sendall(b"Q" + struct.pack("!i", len(ask) + 4) + ask)
        it.setblocking(False)
        return it

    def read(self):
        with selectors.DefaultSelector() as selector:
            for it in self.sockets:
                selector.register(it, selectors.EVENT_READ)
            while self.goes_on:
                for key, _ in selector.select(0.1):
                    self.heard += key.fileobj.recv(1 << 16).count(b"adjutant\0")

    def close(self):
        self.goes_on = False
        self.thread.join()
        for it in self.sockets:
            it.close()
        return self.heard


def notify(db, it):
    print("Notifications by listeners, four clients that do nothing else.")
    rows = []
    for n in it.listeners:
        listeners = Listeners(db, n)
        time.sleep(1)
        before, tps = listeners.heard, 0
        taken = sorted(db.bench("select pg_notify('adjutant', '{\"from\"_\"bdf1334080cdc13b94a108f899a2655c\",\"fed\"_true}');",
                                4, it.seconds)[:2] for _ in range(it.rounds))
        time.sleep(1)
        tps, latency = taken[len(taken) // 2]
        heard = (listeners.close() - before) / (it.rounds * it.seconds)
        rows.append([n, round(tps), f"{latency:.2f}", f"{heard:,.0f}"])
    table(["listeners", "notifications/s", "ms", "heard/s"], rows)


def planned(db, it):
    print("The claim, undone, as it is sent, and out of a function that keeps its plan. One client.")
    db.fill(1000, 10_000, 10_000, 100)
    db.sql("create or replace function adjutant.bench_claim() returns bigint language plpgsql set search_path = adjutant as"
           " $$ declare it record; begin " + claim_statement().rsplit("select head.status", 1)[0] + "select taken.fence into it from (select 1) one left join head on true"
           " left join taken on true; return it.fence; end $$; grant execute on function adjutant.bench_claim() to "
           + WORKER)
    rows = []
    ways = {"as it is": claim_statement(), "function": "select adjutant.bench_claim()"}
    taken = {name: [] for name in ways}
    for _ in range(it.rounds):
        for name, sql in ways.items():
            db.sql("vacuum adjutant.runs")
            taken[name].append(db.bench(one_trip("begin", identity(WORKER), sql, "rollback") + ";", 1, it.seconds)[:2])
    for name, found in taken.items():
        tps, latency = sorted(found)[len(found) // 2]
        rows.append([name, round(tps), f"{latency:.2f}"])
    db.sql("drop function adjutant.bench_claim()")
    table(["", "/s", "ms"], rows)


def timed(db, role, owner, sql):
    """Milliseconds of the second of two executions that are undone, its pages, and its plan."""
    plan = db.sql("; ".join(["begin", identity(role, owner)] + ["explain (analyze, buffers, costs off) " + sql] + ["rollback"]))
    plan = "\n".join(line for line in plan.splitlines() if line.count("|") < 5)
    pages = re.search(r"Buffers: shared ([^\n]*)", plan)
    pages = sum(int(n) for n in re.findall(r"(?:hit|read)=(\d+)", pages.group(1))) if pages else 0
    return float(re.search(r"Execution Time: ([\d.]+)", plan).group(1)), pages, plan


def plans(db, it):
    print("One execution of each statement: milliseconds (pages).")
    statements = {
        "claim": (WORKER, "", claim_statement()),
        "next due": (WORKER, "", statement("claim.rs", "select case when min(due_at)", p1="null::bigint")),
        "counts of an intake": (APP, "owner7", statement("accept.rs", "select count(*) filter",
                                                         p1=text("ses_" + "7".zfill(26)), p2=text("owner7"))),
        "depth of the queue": (WORKER, "", statement("index.rs", "select count(*) filter (where status = 'queued'), count(*)")),
        "newest of an owner": (APP, "owner7", "select coalesce(max(cursor), 0) from events where owner = 'owner7'"),
        "feed from a cursor": (WORKER, "", "select cursor, owner, at, run, run_name, session, kind from events"
                               " where cursor > (select last_value - 5 from events_cursor) order by cursor limit 500"
                               .replace("(select last_value - 5 from events_cursor)", "$last$")),
        "old events": (WORKER, "", statement("tidy.rs", "delete from events", p1="null::bigint", p2="7776000000000", p3="1000")),
    }
    cases = [(f"{n:,}", dict(owners=1000, queued=n, finished=n, events=n)) for n in it.rows]
    cases += [(f"{n:,} of one owner", dict(owners=1, queued=100, finished=n, events=n)) for n in it.rows]
    cases += [(f"{n:,} queued and finished of one owner", dict(owners=1, queued=n, finished=n, events=100)) for n in it.rows]
    small = dict(owners=1000, queued=10_000, finished=10_000, events=100)
    cases += [(f"{n:,} parked", dict(small, parked=n)) for n in it.rows]
    cases += [(f"{n:,} parked, old statistics", dict(small, parked=n, stale=True)) for n in it.rows]
    cases += [(f"{n:,} blocked in front", dict(small, blocked=n)) for n in it.rows if n <= 100_000]
    rows = []
    for name, sizes in cases:
        db.fill(**sizes)
        last = db.sql("select coalesce(max(cursor), 0) - 5 from adjutant.events")
        row = [name]
        for what, (role, owner, sql) in statements.items():
            owner = "owner0" if owner and sizes["owners"] == 1 else owner
            sql = sql.replace("owner7", owner or "owner7").replace("$last$", last)
            timed(db, role, owner, sql)
            took, pages, plan = timed(db, role, owner, sql)
            row.append(f"{took:.2f} ({pages})")
            if it.verbose:
                print(f"-- {name}: {what}", plan, sep="\n", file=sys.stderr, flush=True)
        rows.append(row)
        print(" · ".join(row), file=sys.stderr, flush=True)
    table(["rows", *statements], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["claim", "event", "intake", "plans", "held", "notify", "planned", "scripts"])
    parser.add_argument("--host", default=os.environ.get("PGHOST", "/tmp"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("PGPORT", "5432")))
    parser.add_argument("--database", default="scaling")
    parser.add_argument("--admin", default="postgres", help="a superuser of that throwaway server")
    parser.add_argument("--clients", type=lambda it: [int(n) for n in it.split(",")], default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--rows", type=lambda it: [int(n) for n in it.split(",")], default=[100, 10_000, 1_000_000])
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is shown")
    parser.add_argument("--listeners", type=lambda it: [int(n) for n in it.split(",")], default=[0, 1, 10, 50, 150])
    parser.add_argument("--verbose", action="store_true", help="whole plans")
    it = parser.parse_args()
    if it.what == "scripts":
        print(claim_script(), event_script("1"), accept_script(10), sep="\n\n")
        return
    print(time.strftime("%Y-%m-%d %H:%M"), f"load {os.getloadavg()[0]:.1f}", *sys.argv[1:], flush=True)
    {"claim": claim, "event": event, "intake": intake, "plans": plans, "held": held, "notify": notify, "planned": planned}[it.what](Database(it), it)


if __name__ == "__main__":
    main()
