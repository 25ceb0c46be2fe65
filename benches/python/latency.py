"""What one read of a skill costs from Python: in process, over HTTP, and for a driver that runs the same transaction.

Starts a server on an embedded database and asks from this process: one call at a time, from 64 threads, and from 1,000
tasks. All of them have as many connections to the database. Prints medians of five rounds, and how far a thread of
nothing but Python gets meanwhile. `--memory N` calls N times instead and prints how the memory of this process grows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import httpx
import kijko

ROUNDS = 5
CALLS = 4000
THREADS = 64
TASKS = 1000
CONNECTIONS = 16
# As the core opens a transaction: in one round trip, with the context of an organisation.
BEGIN = (
    "BEGIN; SET LOCAL ROLE kijko_tenant; SET LOCAL app.current_org_id = '{org}'; SET LOCAL app.current_user_id = '{user}'"
)


def microseconds(work: Callable[[], None]) -> float:
    """Of one call, the median of the rounds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) / CALLS * 1e6)
    return statistics.median(taken)


def waiting(ask: Callable[[], object]) -> tuple[float, float]:
    """One by one, and from many threads."""

    def some(calls: int) -> None:
        for _ in range(calls):
            ask()

    with ThreadPoolExecutor(THREADS) as threads:
        alone = microseconds(lambda: some(CALLS))
        return alone, microseconds(lambda: all(threads.map(some, [CALLS // THREADS] * THREADS)))


def awaiting(loop: asyncio.AbstractEventLoop, ask: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """One by one, and from many tasks."""

    async def some(calls: int) -> None:
        for _ in range(calls):
            await ask()

    async def work(tasks: int) -> None:
        await asyncio.gather(*(some(CALLS // tasks) for _ in range(tasks)))

    alone = microseconds(lambda: loop.run_until_complete(work(1)))
    return alone, microseconds(lambda: loop.run_until_complete(work(TASKS)))


class Bystander:
    """A thread that counts, in nothing but Python; `progress` is its share of what it counts undisturbed."""

    def __init__(self) -> None:
        self._count = 0
        threading.Thread(target=self._go_on, daemon=True).start()
        self._alone = self._rate(time.sleep, 1.0)

    def _go_on(self) -> None:
        while True:
            self._count += 1

    def _rate(self, work: Callable[..., object], *arguments: object) -> float:
        begun, started = self._count, time.perf_counter()
        work(*arguments)
        return (self._count - begun) / (time.perf_counter() - started)

    def progress(self, work: Callable[[], object]) -> float:
        return self._rate(work) / self._alone


def server(data_dir: Path) -> tuple[subprocess.Popen[str], str]:
    port = "8765"
    settings = {
        "KIJKO_DATA_DIR": str(data_dir),
        "HOST": "127.0.0.1",
        "PORT": port,
        "LOG_LEVEL": "warn",
        "RATE_LIMITS_ENABLED": "false",
        "DB_MAX_CONNECTIONS": str(CONNECTIONS),
    }
    program = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release" / "kijko-http"
    process = subprocess.Popen([program], env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(f"{url}/health")
            return process, url
        except httpx.ConnectError:
            time.sleep(0.05)


def memory() -> float:
    """Megabytes that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def watch_memory(org: kijko.Organization, skill: kijko.Skill, calls: int) -> None:
    for _ in range(1000):
        org.skills.get(skill.id)
    for part in range(11):
        print(f"{calls * part // 10:>9} calls  {memory():6.1f} MB", flush=True)
        if part < 10:
            for _ in range(calls // 10):
                org.skills.get(skill.id)


async def connected(socket: Path) -> asyncpg.Pool:
    """As many connections as the core has; given back without the round trip of asyncpg's own reset."""

    async def no_reset(connection: asyncpg.Connection) -> None:
        pass

    return await asyncpg.create_pool(
        host=str(socket), user="kijko_app", database="kijko", min_size=CONNECTIONS, max_size=CONNECTIONS, reset=no_reset
    )


def compare(data_dir: Path, client: kijko.Client) -> None:
    process, url = server(data_dir)
    try:
        body = {"email": "ada@example.com", "password": "testpass123", "first_name": "Ada", "last_name": "L"}
        token = httpx.post(f"{url}/api/v1/auth/signup", json=body).json()["access_token"]
        org = client.organization(token=token)
        skill = org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        limits = httpx.Limits(max_connections=THREADS)
        http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, limits=limits, timeout=60
        )
        path = f"/api/v1/skills/{skill.id}"
        # Its pool looks at everybody who waits, again and again; so nobody waits there.
        turns = asyncio.Semaphore(THREADS)

        async def over_http() -> None:
            async with turns:
                (await http.get(path)).raise_for_status()

        socket = next((data_dir / "postgres" / "run").glob(".s.PGSQL.*"))
        pool = loop.run_until_complete(connected(socket.parent))
        begin = BEGIN.format(org=org.id, user=skill.user_id)

        async def driver() -> None:
            async with pool.acquire() as connection:
                await connection.execute(begin)
                await connection.fetchrow("SELECT * FROM skills WHERE id = $1", skill.id)
                await connection.execute("ROLLBACK")

        rows = [
            (f"kijko, waiting; {THREADS} threads", waiting(lambda: org.skills.get(skill.id))),
            (f"kijko, awaiting; {TASKS} tasks", awaiting(loop, lambda: org.aio.skills.get(skill.id))),
            (f"httpx, to kijko-http; {TASKS} tasks", awaiting(loop, over_http)),
            (f"asyncpg, the same transaction; {TASKS} tasks", awaiting(loop, driver)),
        ]
        print(f"{'µs per read of a skill':45} {'one by one':>12} {'at once':>12}")
        for name, (alone, many) in rows:
            print(f"{name:45} {alone:12.0f} {many:12.0f}")
        bystander = Bystander()
        progress = bystander.progress(lambda: waiting(lambda: org.skills.get(skill.id)))
        print(f"a thread of nothing but Python gets {progress:.0%} as far while the first of these runs")
        loop.run_until_complete(http.aclose())
        loop.run_until_complete(pool.close())
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--memory", type=int, metavar="N", help="call so often and watch the memory")
    wanted = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kijko-bench-"))
    folder.chmod(0o755)
    with kijko.embedded(folder / "data", db_max_connections=CONNECTIONS) as client:
        if wanted.memory:
            org = client.organization("Bench", operator="bench", reason="watching the memory")
            watch_memory(org, org.skills.create(name="S", prompt_template="Summarise this: {{text}}"), wanted.memory)
        else:
            compare(folder / "data", client)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
