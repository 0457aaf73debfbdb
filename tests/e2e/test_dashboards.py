import asyncio, contextlib, json
from pathlib import Path
import pytest
from tests.support import scenes, failing_scenes
from tests.support.dashboards import read_shown
from tests.support.small_disk import mount_small_disk, on_a_small_disk
from tests.support.watch import Watch, run_prometheus, poll, rules
from proxy.clock import elapsed_seconds


@on_a_small_disk
async def test_story(request, tmp_path: Path) -> None:
    t = elapsed_seconds()
    async with contextlib.AsyncExitStack() as stack:
        for n in "disk lively observing crowded ailing sealed asking crew gone canary".split():
            (tmp_path / n).mkdir()
        disk = stack.enter_context(mount_small_disk(tmp_path / "disk"))
        playing = [
            await stack.enter_async_context(each)
            for each in (
                scenes.run_lively(tmp_path / "lively"),
                scenes.run_observing(tmp_path / "observing"),
                scenes.run_crowded(tmp_path / "crowded"),
                failing_scenes.run_ailing(tmp_path / "ailing", disk),
                failing_scenes.run_sealed(tmp_path / "sealed"),
                failing_scenes.run_asking(tmp_path / "asking"),
                failing_scenes.run_crew(tmp_path / "crew"),
                failing_scenes.run_gone(tmp_path / "gone"),
                failing_scenes.run_canary(tmp_path / "canary"),
            )
        ]
        print("started", elapsed_seconds() - t)
        targets = {}
        for p in playing:
            targets.setdefault(p.job, {})[p.name] = p.admin
        url = await stack.enter_async_context(run_prometheus(tmp_path, targets))
        watch = Watch(url, [])

        async def up():
            return len([1 for m, v in await watch.query("up") if v == 1]) >= len(playing) - 1

        await poll(up, 60)
        print("scraped", elapsed_seconds() - t)
        for p in playing:
            t1 = elapsed_seconds()
            try:
                await p.play()
            except BaseException as e:
                import traceback

                traceback.print_exc()
            print(p.name, elapsed_seconds() - t1)
        await asyncio.sleep(4)
        out = {}
        for shown in read_shown():
            for p in playing:
                for q in shown.queries(p.name):
                    r = await watch.query(q)
                    out.setdefault(f"{shown.board}|{shown.title}", {}).setdefault(p.name, []).append(r)
        for rule in rules():
            if "alert" in rule:
                out["ALERT " + rule["alert"]] = await watch.query(rule["expr"])
        for p in playing:
            out["LEDGER " + p.name] = p.records()
            out["BUNDLES " + p.name] = p.records("bundle")
        Path("dump.json").write_text(json.dumps(out))
        print("done", elapsed_seconds() - t)
