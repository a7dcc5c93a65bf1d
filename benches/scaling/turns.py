#!/usr/bin/env python3
"""What one turn of the real binary costs its PostgreSQL. See README.md beside this file.

Starts a gateway and worker processes on a throwaway database, sends messages that the offline responder answers, and prints
the differences of the server's own counters. Needs pg_stat_statements in shared_preload_libraries and in the database.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

TOKEN = "0123456789abcdef" * 3
COUNTERS = """
select json_build_object(
  'commits', (select xact_commit from pg_stat_database where datname = current_database()),
  'statements', (select coalesce(sum(calls), 0) from pg_stat_statements s join pg_database d on d.oid = s.dbid
                  where d.datname = current_database() and toplevel),
  'wal', pg_current_wal_insert_lsn() - '0/0'::pg_lsn,
  'records', (select wal_records from pg_stat_wal), 'images', (select wal_fpi from pg_stat_wal),
  'flushes', (select wal_sync from pg_stat_wal),
  'feed', (select coalesce(sum(calls), 0) from pg_stat_statements where query like 'select cursor, owner, at%cursor > $1 order%'),
  'claims', (select coalesce(sum(calls), 0) from pg_stat_statements where query like 'with w as materialized%'),
  'notifies', (select coalesce(sum(calls), 0) from pg_stat_statements where query like 'select pg_notify%'),
  'locks', (select coalesce(sum(calls), 0) from pg_stat_statements where query like 'select pg_advisory_xact_lock%'),
  'events', (select count(*) from adjutant.events), 'entries', (select count(*) from adjutant.entries),
  'messages', (select count(*) from adjutant.messages), 'runs', (select count(*) from adjutant.runs where status = 'finished'),
  'bytes', (select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'adjutant' and c.relkind = 'r'))
"""


def psql(it, sql):
    return subprocess.run(["psql", "-h", it.host, "-p", str(it.port), "-U", it.admin, "-d", it.database, "-XAtq", "-c", sql],
                          check=True, capture_output=True, text=True).stdout


def counters(it):
    time.sleep(1.5)  # the server's own counters are a second late
    return dict(json.loads(psql(it, COUNTERS)), cpu=server_cpu(int(psql(it, "select pg_read_file('postmaster.pid')").split()[0])))


def server_cpu(postmaster):
    """Milliseconds of processor time of the server, of what it started and of what of that has ended. Linux, this machine."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(stat.parent.name), stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if pid == postmaster:
            ticks += sum(map(int, rest[11:15]))
        elif int(rest[1]) == postmaster:
            ticks += int(rest[11]) + int(rest[12])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


class Gateway:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def call(self, method, **params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self.connection.request("POST", "/rpc", body, {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"})
        answer = json.loads(self.connection.getresponse().read())
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']}")
        return answer["result"]


def start(it, folder, *arguments):
    env = dict(os.environ, ADJUTANT_HOME=folder, ADJUTANT_STORE__DATABASE_URL="env:ADJUTANT_DATABASE_URL",
               ADJUTANT_DATABASE_URL=it.url, ADJUTANT_GATEWAY_TOKEN=TOKEN, ADJUTANT_PROVIDERS__DEFAULT="offline/rules",
               ADJUTANT_GATEWAY__RATE__REQUESTS_PER_MINUTE="1000000", ADJUTANT_GATEWAY__RATE__BURST="1000000")
    return subprocess.Popen([it.program, *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sessions(it, tag, n, turns):
    def one(i):
        gateway = Gateway(it.listen)
        for turn in range(turns):
            key = f"{tag}-{i}-{turn}"
            gateway.call("chat.send", sessionKey=f"agent:main:{tag}-{i}", message=it.message, idempotencyKey=key)
            gateway.call("agent.wait", runId=key, timeoutMs=60000)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(it, workers, n):
    tag = f"t{time.time_ns()}"
    sessions(it, tag, n, 2)
    before, at = counters(it), time.monotonic()
    sessions(it, tag + "b", n, max(1, it.turns // n))
    took = time.monotonic() - at
    after = counters(it)
    turns = after["runs"] - before["runs"]
    per = {key: (after[key] - before[key]) / turns for key in after}
    print(f"| {workers} | {n} | {turns / took:.0f} | {per['statements']:.0f} | {per['commits']:.0f} |"
          f" {per['feed']:.1f} | {per['claims']:.1f} | {per['locks']:.1f} | {per['notifies']:.1f} | {per['flushes']:.1f} |"
          f" {per['wal'] / 1024:.1f} | {per['events']:.1f} | {per['entries']:.1f} | {per['messages']:.1f} |"
          f" {per['bytes'] / 1024:.1f} | {per['cpu']:.1f} |", flush=True)


def idle(it):
    print(time.strftime("%Y-%m-%d %H:%M"), "nothing to do; per second")
    print("| worker processes | transactions | statements | claims asked | feed reads | notifications | WAL bytes |")
    print("|" + "--:|" * 7, flush=True)
    for workers in map(int, it.workers.split(",")):
        with tempfile.TemporaryDirectory() as folder, processes(it, folder, workers):
            time.sleep(8)
            before = counters(it)
            time.sleep(it.idle)
            after = counters(it)
            per = {key: (after[key] - before[key]) / (it.idle + 1.5) for key in after}
            print(f"| {workers} | {per['commits']:.1f} | {per['statements']:.1f} | {per['claims']:.1f} | {per['feed']:.1f} |"
                  f" {per['notifies']:.1f} | {per['wal']:.0f} |", flush=True)


@contextlib.contextmanager
def processes(it, folder, workers):
    """A gateway and workers, 0: those inside the gateway."""
    started = [start(it, f"{folder}/g", "gateway", "run", "--port", str(it.listen), *([] if workers == 0 else ["--workers", "0"]))]
    started += [start(it, f"{folder}/w{i}", "worker", "run") for i in range(workers)]
    try:
        yield
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/adjutant")
    parser.add_argument("--url", required=True, help="of the database, as the program gets it")
    parser.add_argument("--host", default=os.environ.get("PGHOST", "/tmp"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("PGPORT", "5432")))
    parser.add_argument("--database", default="adjutant")
    parser.add_argument("--admin", default="postgres")
    parser.add_argument("--listen", type=int, default=18997)
    parser.add_argument("--workers", default="0,1,2,4,8", help="worker processes; 0: the two inside the gateway")
    parser.add_argument("--sessions", default="1,8,32")
    parser.add_argument("--turns", type=int, default=320, help="turns of one measurement, all sessions together")
    parser.add_argument("--message", default="list the files")
    parser.add_argument("--idle", type=int, default=0, help="instead: so many seconds of processes that have nothing to do")
    it = parser.parse_args()
    if it.idle:
        return idle(it)
    print(time.strftime("%Y-%m-%d %H:%M"), f"load {os.getloadavg()[0]:.1f}; {it.message!r}; per turn")
    print("| worker processes | sessions | turns/s | statements | transactions | of them feed reads | claims asked | feed locks | notifications"
          " | flushes | WAL KB | events | entries | messages | table KB | database CPU ms |")
    print("|" + "--:|" * 16, flush=True)
    for workers in map(int, it.workers.split(",")):
        with tempfile.TemporaryDirectory() as folder, processes(it, folder, workers):
            time.sleep(3)
            for n in map(int, it.sessions.split(",")):
                measure(it, workers, n)


if __name__ == "__main__":
    main()
