"""The command line: which cases, against whom, then a table and a file under bench/results/."""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bench.case import Case, Measured, Options
from bench.cases import ALL
from bench.process import BenchError
from bench.table import table
from bench.variant import NAMES, Variant, available

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run; 0 when every run counts, 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--case", action="append", help="a case, or the beginning of its name; again for more")
    parser.add_argument("--variant", default=",".join(NAMES), help="who is run, of compiled,plain,upstream")
    parser.add_argument("--quick", action="store_true", help="small, for a first look (about two minutes)")
    parser.add_argument("--rounds", type=int, default=1, help="how often; each time in the opposite order")
    arguments = parser.parse_args()
    names = [name for name in arguments.variant.split(",") if name]
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown variant {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    cases = [case for case in ALL if not arguments.case or any(case.name.startswith(name) for name in arguments.case)]
    if not cases:
        parser.error(f"no such case; there are {', '.join(case.name for case in ALL)}")
    variants, missing = available(names)
    for what in missing:
        print(what, flush=True)
    if not variants:
        return 1
    sources = [variant.source for variant in variants if variant.source is not None]
    options = Options(arguments.quick, sources[0] if sources else RESULTS.parent.parent / "src")
    begun, machine = time.time(), facts()
    results: list[Measured] = []
    for number in range(arguments.rounds):
        for place, case in enumerate(cases):
            for variant in variants if (place + number) % 2 == 0 else variants[::-1]:
                results.append(_one(case, variant, options))
    print()
    print(table(cases, results))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("%Y-%m-%dT%H-%M-%S.json", time.gmtime(begun))
    runs = [{**asdict(result), "micros": result.micros} for result in results]
    path.write_text(
        json.dumps({"machine": machine, "quick": arguments.quick, "missing": missing, "runs": runs}, indent=1)
    )
    print(f"\n{machine['cpu']}, {machine['cores']} cores, load {machine['load']} at the start; {path}")
    return 1 if any(result.problem for result in results) else 0


def _one(case: Case, variant: Variant, options: Options) -> Measured:
    """A run, told in a line as it ends."""
    try:
        result = case.run(case, variant, options)
    except BenchError as error:
        result = Measured(case.name, variant.name, problem=str(error))
    figure = (
        f"{result.cpu / result.seconds:.2%} of a core" if case.idle and result.seconds else f"{result.micros:.2f} us"
    )
    told = f"FAILED: {result.problem}" if result.problem else f"{figure}, peak {result.peak:.0f} MiB"
    print(f"{case.name:28} {variant.name:9} {told}", flush=True)
    return result


def facts() -> dict[str, object]:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
