"""What b4 shows beside a mail that it reviews: the run's verdict as it concerns that mail (b4's check protocol)."""

from orchestrator.judge.reasons import builds
from orchestrator.model import Run, StepRecord
from orchestrator.publish import digest
from orchestrator.publish.clean import line
from orchestrator.publish.formats import mail

PASS, WARN, FAIL = "pass", "warn", "fail"

Result = dict[str, str]


def results(run: Run, message_id: str, where: str) -> list[Result]:
    """One result for a mail of the series, none for another; `where` is the run's report as a URL."""
    ids = [patch.message_id for patch in run.series.patches]
    cover = run.series.posting.message_id if run.series.posting else ""
    if not message_id or message_id not in (cover, *ids):
        return []
    number = ids.index(message_id) + 1 if message_id in ids else 0
    status, summary = judged(run, number)
    return [{"tool": "kdelta", "status": status, "summary": line(summary), "url": where, "details": mail.body(run)}]


def judged(run: Run, number: int) -> tuple[str, str]:
    """What the run says of patch `number`, or of the whole series for 0."""
    code = digest.exit_code(run)
    said = f"{digest.answer(run)}: {digest.gist(run)}"
    broken = builds.broken_steps(run.builds, run.steps)
    broke = _broke(broken)
    if number in broke:
        return FAIL, f"does not build after this patch: {broke[number].error}"
    blamed = {suspect.number for culprit in run.culprits for suspect in culprit.suspects}
    if code == 1 and number and blamed and number not in blamed:
        return WARN, f"not by this patch: {digest.blame(run, run.culprits[0])}; the series is {said}"
    first = next((step for step in broken if not step.unfinished), None)
    if code == 1 and number and first and not blamed:
        return WARN, f"it does not build after patch {first.number} ({first.subject}); the series is {said}"
    return {0: PASS, 1: FAIL}.get(code, WARN), said


def _broke(steps: list[StepRecord]) -> dict[int, StepRecord]:
    """The patches after which a tree that was whole does not build: what comes to a broken one is not blamed for it."""
    broken = {(step.arch, step.flavour, step.number): step for step in steps}
    first = {number: step for (*lane, number), step in broken.items() if (*lane, number - 1) not in broken}
    return {number: step for number, step in first.items() if not step.unfinished}
