"""What one read of a skill costs from Python: in process, over HTTP, and for a driver that runs the same transaction.

Starts a server on an embedded database and asks from this process, one call at a time and many at once. Prints medians
of five rounds. `--memory N` calls N times instead and prints how the memory of this process grows.
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
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
import kijko

ROUNDS = 5
CALLS = 2000
AT_ONCE = 32
# The same statement in the same context as the core's, which is one more round trip than a bare read.
CONTEXT = "SET LOCAL ROLE kijko_tenant; SET LOCAL app.current_org_id = '{org}'; SET LOCAL app.current_user_id = '{user}'"


def microseconds(work: Callable[[], None]) -> float:
    """Of one call, the median of the rounds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) / CALLS * 1e6)
    return statistics.median(taken)


def one_by_one(loop: asyncio.AbstractEventLoop, ask: Callable[[], Awaitable[object]]) -> float:
    async def work() -> None:
        for _ in range(CALLS):
            await ask()

    return microseconds(lambda: loop.run_until_complete(work()))


def at_once(loop: asyncio.AbstractEventLoop, ask: Callable[[], Awaitable[object]]) -> float:
    async def some() -> None:
        for _ in range(CALLS // AT_ONCE):
            await ask()

    async def work() -> None:
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    return microseconds(lambda: loop.run_until_complete(work()))


def server(data_dir: Path) -> tuple[subprocess.Popen[str], str]:
    port = "8765"
    settings = {"KIJKO_DATA_DIR": str(data_dir), "PORT": port, "HOST": "127.0.0.1", "RATE_LIMITS_ENABLED": "false"}
    process = subprocess.Popen(["target/release/kijko-http"], env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
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


def compare(data_dir: Path, client: kijko.Client) -> None:
    process, url = server(data_dir)
    try:
        body = {"email": "ada@example.com", "password": "testpass123", "first_name": "Ada", "last_name": "L"}
        token = httpx.post(f"{url}/api/v1/auth/signup", json=body).json()["access_token"]
        org = client.organization(token=token)
        skill = org.skills.create(name="Summary", prompt_template="Summarise in one line: {{text}}")
        loop = asyncio.new_event_loop()
        http = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"})
        path = f"/api/v1/skills/{skill.id}"
        socket = next((data_dir / "postgres" / "run").glob(".s.PGSQL.*"))
        pool = loop.run_until_complete(
            asyncpg.create_pool(host=str(socket.parent), user="kijko_app", database="kijko", min_size=4, max_size=20)
        )
        context = CONTEXT.format(org=org.id, user=skill.user_id)

        async def driver() -> None:
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(context)
                await connection.fetchrow("SELECT * FROM skills WHERE id = $1", skill.id)

        rows = [
            ("kijko, waiting", microseconds(lambda: [org.skills.get(skill.id) for _ in range(CALLS)] and None), None),
            ("kijko, awaiting", *both(loop, lambda: org.aio.skills.get(skill.id))),
            ("httpx, to kijko-http", *both(loop, lambda: http.get(path))),
            ("asyncpg, the same transaction", *both(loop, driver)),
        ]
        print(f"{'µs per read of a skill':32} {'one by one':>12} {f'{AT_ONCE} at once':>12}")
        for name, alone, many in rows:
            print(f"{name:32} {alone:12.0f} {'' if many is None else f'{many:.0f}':>12}")
        loop.run_until_complete(http.aclose())
        loop.run_until_complete(pool.close())
    finally:
        process.terminate()
        process.wait()


def both(loop: asyncio.AbstractEventLoop, ask: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    return one_by_one(loop, ask), at_once(loop, ask)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--memory", type=int, metavar="N", help="call so often and watch the memory")
    wanted = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kijko-bench-"))
    folder.chmod(0o755)
    with kijko.embedded(folder / "data") as client:
        if wanted.memory:
            org = client.organization("Bench", operator="bench", reason="watching the memory")
            watch_memory(org, org.skills.create(name="S", prompt_template="Summarise this: {{text}}"), wanted.memory)
        else:
            compare(folder / "data", client)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
