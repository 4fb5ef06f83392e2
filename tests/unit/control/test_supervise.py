"""Background tasks go on after a bug."""

import asyncio

from limpet.control.supervise import supervise


def test_a_bug_is_told_and_the_work_begins_again():
    said, runs, is_back = [], [], asyncio.Event()

    async def work():
        runs.append(1)
        if len(runs) == 1:
            raise KeyError("web")
        is_back.set()
        await asyncio.Event().wait()

    async def story():
        task = asyncio.create_task(supervise(work, said.append, pause_s=0))
        await is_back.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    (line,) = said
    assert "KeyError('web')" in line
    assert "in work, line" in line
