"""The results as text: a line a run, with the ratio to the upstream Collector in the same case."""

from collections.abc import Sequence
from statistics import median

from bench.case import Case, Measured

_HEAD = f"{'case':28} {'run':9} {'records':>9} {'CPU us':>8} {'records/s':>10} {'peak MiB':>9} {'of upstream':>12}"


def table(cases: Sequence[Case], results: Sequence[Measured]) -> str:
    """All runs; several of the same kind are shown by their median."""
    lines = [_HEAD, "-" * len(_HEAD)]
    for case in cases:
        names = dict.fromkeys(result.variant for result in results if result.case == case.name)
        for name in names:
            runs = [result for result in results if result.case == case.name and result.variant == name]
            good = [result for result in runs if not result.problem]
            if len(good) < len(runs):
                problem = next(result.problem for result in runs if result.problem).splitlines()[0]
                lines.append(f"{case.name:28} {name:9} FAILED: {problem}")
                continue
            peers = [r for r in results if r.case == case.name and r.variant == "upstream" and not r.problem]
            lines.append(_idle(case, good, peers) if case.idle else _busy(case, good, peers))
    return "\n".join(lines)


def _busy(case: Case, runs: Sequence[Measured], peers: Sequence[Measured]) -> str:
    micros = median(run.micros for run in runs)
    rate = median(run.arrived / run.seconds for run in runs)
    return (
        f"{case.name:28} {runs[0].variant:9} {runs[0].arrived:9} {micros:8.2f} {rate:10.0f} "
        f"{max(run.peak for run in runs):9.0f} {_ratio(case, runs, peers):>12}"
    )


def _idle(case: Case, runs: Sequence[Measured], peers: Sequence[Measured]) -> str:
    share = median(run.cpu / run.seconds for run in runs)
    return (
        f"{case.name:28} {runs[0].variant:9} {runs[0].arrived:9} {share:8.2%} {'of a core':>10} "
        f"{max(run.peak for run in runs):9.0f} {_ratio(case, runs, peers):>12}"
    )


def _ratio(case: Case, runs: Sequence[Measured], peers: Sequence[Measured]) -> str:
    if not peers or runs[0].variant == "upstream":
        return ""
    if case.idle:
        ratio = median(r.cpu / r.seconds for r in runs) / median(r.cpu / r.seconds for r in peers)
    else:
        ratio = median(run.micros for run in runs) / median(run.micros for run in peers)
    verdict = "" if not case.target else " ok" if ratio <= case.target else f" >{case.target:.3g}"
    return f"{ratio:.3f}{verdict}"
